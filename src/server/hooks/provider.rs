//! How each provider signs its webhooks, and where they name repositories.
//!
//! | provider | signature | event |
//! | --- | --- | --- |
//! | [GitHub](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries) | `X-Hub-Signature-256: sha256=HEX` | `X-GitHub-Event` |
//! | [GitLab](https://docs.gitlab.com/user/project/integrations/webhooks/) | `X-Gitlab-Token: SECRET` | `X-Gitlab-Event` |
//! | [Gitea](https://docs.gitea.com/usage/webhooks), [Forgejo](https://forgejo.org/docs/latest/user/webhooks/) | `X-Gitea-Signature: HEX` | `X-Gitea-Event` |
//! | [Bitbucket](https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/) | `X-Hub-Signature: sha256=HEX` | `X-Event-Key` |
//! | generic | `X-Bowline-Signature-256: sha256=HEX` | |
//!
//! HEX is the HMAC-SHA256 of the body with the secret as its key.

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::secrets::Secret;
use crate::controller::Announced;

/// Who sends webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    GitHub,
    GitLab,
    Gitea,
    Bitbucket,
    Generic,
}

/// What a webhook tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Something was pushed to a repository; its names.
    Push(Vec<Announced>),
    /// A test of the way here.
    Ping,
    /// Anything else.
    Other,
}

impl Provider {
    pub(super) const ALL: [Self; 5] = [Self::GitHub, Self::GitLab, Self::Gitea, Self::Bitbucket, Self::Generic];

    /// The name in the path and of the file with its secrets.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Bitbucket => "bitbucket",
            Self::Generic => "generic",
        }
    }

    /// The provider of a name. Forgejo is Gitea by another name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = if name == "forgejo" { "gitea" } else { name };
        Self::ALL.into_iter().find(|provider| provider.as_str() == name)
    }

    /// Whether one of the secrets signed this body.
    pub(super) fn verifies(self, headers: &HeaderMap, body: &[u8], secrets: &[Secret]) -> bool {
        let any_signed = |signature: &[u8]| secrets.iter().any(|secret| is_signed(secret, body, signature));
        match self {
            Self::GitHub => prefixed(headers, "x-hub-signature-256").is_some_and(|signature| any_signed(&signature)),
            Self::Bitbucket => prefixed(headers, "x-hub-signature").is_some_and(|signature| any_signed(&signature)),
            Self::Generic => prefixed(headers, "x-bowline-signature-256").is_some_and(|it| any_signed(&it)),
            Self::Gitea => ["x-forgejo-signature", "x-gitea-signature", "x-gogs-signature"]
                .into_iter()
                .find_map(|name| bytes_of_hex(text(headers, name)?))
                .is_some_and(|signature| any_signed(&signature)),
            Self::GitLab => headers
                .get("x-gitlab-token")
                .is_some_and(|token| secrets.iter().any(|secret| is_secret(secret, token.as_bytes()))),
        }
    }

    /// What a verified webhook tells.
    ///
    /// # Errors
    /// What is wrong with it, for the person who set it up.
    pub(super) fn event(self, headers: &HeaderMap, body: &[u8]) -> Result<Event, String> {
        let form = text(headers, "content-type").is_some_and(|kind| kind.starts_with("application/x-www-form"));
        if form {
            return Err("the body is a form; set the webhook's content type to application/json".to_owned());
        }
        let name = self.event_name(headers)?;
        match (self, name) {
            (Self::GitHub, "ping") | (Self::Bitbucket, "diagnostics:ping") => return Ok(Event::Ping),
            (Self::GitHub | Self::Gitea, "push" | "create" | "delete")
            | (Self::GitLab, "Push Hook" | "Tag Push Hook" | "System Hook")
            | (Self::Bitbucket, "repo:push" | "repo:refs_changed")
            | (Self::Generic, _) => {}
            _ => return Ok(Event::Other),
        }
        let payload: Value = serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
        if name == "System Hook"
            && !matches!(payload["event_name"].as_str(), Some("push" | "tag_push" | "repository_update"))
        {
            return Ok(Event::Other);
        }
        let announced = self.repositories(&payload);
        if announced.is_empty() {
            return Err(format!("the body names no repository: {}", self.where_it_is_named()));
        }
        Ok(Event::Push(announced))
    }

    fn event_name(self, headers: &HeaderMap) -> Result<&str, String> {
        let names: &[&str] = match self {
            Self::GitHub => &["x-github-event"],
            Self::GitLab => &["x-gitlab-event"],
            Self::Gitea => &["x-forgejo-event", "x-gitea-event", "x-gogs-event"],
            Self::Bitbucket => &["x-event-key"],
            Self::Generic => return Ok(""),
        };
        let event = names.iter().find_map(|name| text(headers, name));
        event.ok_or_else(|| format!("the header {} is missing", names[names.len().min(2) - 1]))
    }

    fn repositories(self, payload: &Value) -> Vec<Announced> {
        let urls = |paths: &[&str]| -> Vec<Announced> {
            let found = paths.iter().filter_map(|path| payload.pointer(path)?.as_str());
            found.filter(|url| !url.is_empty()).map(|url| Announced::Url(url.to_owned())).collect()
        };
        match self {
            Self::GitHub | Self::Gitea => {
                urls(&["/repository/clone_url", "/repository/ssh_url", "/repository/html_url"])
            }
            Self::GitLab => urls(&[
                "/project/git_http_url",
                "/project/git_ssh_url",
                "/project/web_url",
                "/repository/git_http_url",
                "/repository/git_ssh_url",
            ]),
            Self::Bitbucket => bitbucket(payload, urls(&["/repository/links/html/href"])),
            Self::Generic => {
                let many = payload["repositories"].as_array().map(Vec::as_slice).unwrap_or_default();
                let more = many.iter().filter_map(Value::as_str).map(|url| Announced::Url(url.to_owned()));
                urls(&["/repository"]).into_iter().chain(more).collect()
            }
        }
    }

    fn where_it_is_named(self) -> &'static str {
        match self {
            Self::GitHub | Self::Gitea => "repository.clone_url",
            Self::GitLab => "project.git_http_url",
            Self::Bitbucket => "repository.links.html.href, or repository.project.key and repository.slug",
            Self::Generic => r#"it is to be {"repository": "URL"} or {"repositories": ["URL"]}"#,
        }
    }
}

/// Bitbucket Data Center sends no URL of its own accord, but the key of a
/// project and the name in it, which its URLs end in.
fn bitbucket(payload: &Value, mut announced: Vec<Announced>) -> Vec<Announced> {
    let repository = &payload["repository"];
    let clones = repository["links"]["clone"].as_array().map(Vec::as_slice).unwrap_or_default();
    let clones = clones.iter().filter_map(|link| link["href"].as_str());
    announced.extend(clones.map(|url| Announced::Url(url.to_owned())));
    if announced.is_empty()
        && let (Some(key), Some(slug)) = (repository["project"]["key"].as_str(), repository["slug"].as_str())
        && !key.is_empty()
        && !slug.is_empty()
    {
        announced.push(Announced::Path(format!("{key}/{slug}")));
    }
    announced
}

/// A header as text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The signature of a header that reads `sha256=HEX`.
fn prefixed(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    bytes_of_hex(text(headers, name)?.strip_prefix("sha256=")?)
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Whether a body has this signature, compared in constant time.
fn is_signed(secret: &Secret, body: &[u8], signature: &[u8]) -> bool {
    // HMAC takes keys of any length, so this never fails.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.bytes()) else { return false };
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

/// Whether a token is the secret. What is compared are digests under the
/// secret itself, so that the time tells neither how much of it was right nor
/// how long it is.
fn is_secret(secret: &Secret, token: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.bytes()) else { return false };
    mac.update(secret.bytes());
    is_signed(secret, token, &mac.finalize().into_bytes())
}
