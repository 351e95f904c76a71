//! What goes wrong on the command line, in words for a person: what happened,
//! and what to do next.

use std::{fmt, io};

use crate::{
    cluster::{ClusterError, error::chain, store::StoreError},
    manifest::escape_control,
};

/// What kind of error it is: it decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line was wrong.
    Usage,
    /// It was refused, or did not succeed.
    Failed,
    /// Whoever read the output went away: nothing to be said.
    Quiet,
    /// The person ended it.
    Interrupted,
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError {
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// What happened; may have several lines.
    pub error: String,
    /// What to do next, the most likely first.
    pub hints: Vec<String>,
}

impl CommandError {
    /// It was refused, or did not succeed.
    pub fn failed(error: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failed, error: error.into(), hints: Vec::new() }
    }

    /// The command line was wrong.
    pub fn usage(error: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, error: error.into(), hints: Vec::new() }
    }

    /// The person ended it; what was asked for goes on.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Interrupted, error: message.into(), hints: Vec::new() }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The exit code: 0 fine, 1 refused or failed, 2 wrong use; 130 as shells
    /// have it for a command that was ended by Ctrl-C.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Quiet => 0,
            ErrorKind::Failed => 1,
            ErrorKind::Usage => 2,
            ErrorKind::Interrupted => 130,
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == ErrorKind::Quiet {
            return Ok(());
        }
        let label = if self.kind == ErrorKind::Interrupted { "" } else { "error: " };
        writeln!(f, "{label}{}", indented(&self.error, "  "))?;
        self.hints.iter().try_for_each(|hint| writeln!(f, "hint: {}", indented(hint, "      ")))
    }
}

/// Escaped, with all lines but the first indented.
fn indented(text: &str, indent: &str) -> String {
    escape_control(text.trim_end()).replace('\n', &format!("\n{indent}"))
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { kind: ErrorKind::Quiet, error: String::new(), hints: Vec::new() };
        }
        Self::failed(format!("the output could not be written: {error}"))
    }
}

impl From<ClusterError> for CommandError {
    fn from(error: ClusterError) -> Self {
        let message = chain(&error);
        match &error {
            ClusterError::Kubeconfig { .. } | ClusterError::NotConfigured(_) => Self::failed(message).hint(
                "name a kubeconfig by --kubeconfig or the variable KUBECONFIG; `kubectl config view` shows what is configured",
            ),
            ClusterError::Context { .. } => {
                Self::failed(message).hint("`kubectl config get-contexts` lists the contexts that there are")
            }
            _ => Self::failed(message),
        }
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let message = chain(&error);
        if error.is_forbidden() {
            return Self::failed(message).hint("an administrator of the namespace can give you this right");
        }
        Self::failed(message)
    }
}

/// What was tried, for messages: `list Applications in namespace team-a`.
pub struct Tried<'a> {
    /// The verb, as RBAC has it.
    pub verb: &'a str,
    /// The kind, plural: `Applications`.
    pub what: &'a str,
    /// The plural name of the API: `applications`.
    pub resource: &'a str,
    /// The namespace; none for all.
    pub namespace: Option<&'a str>,
    /// The API server, if it is known.
    pub server: &'a str,
}

impl Tried<'_> {
    fn place(&self) -> String {
        self.namespace.map_or("all namespaces".to_owned(), |namespace| format!("namespace {namespace}"))
    }

    /// An error of the API server in words for a person.
    pub fn failed(&self, error: &kube::Error) -> CommandError {
        let place = self.place();
        match error {
            kube::Error::Api(status) => self.answered(status.code, &status.message, &place),
            kube::Error::Service(_) | kube::Error::HyperError(_) => {
                CommandError::failed(format!("the API server {} cannot be reached: {}", self.server, chain(error)))
                    .hint("is it the right cluster? `kubectl config current-context` says which one is asked; --context names another")
            }
            other => CommandError::failed(format!("cannot {} {} in {place}: {}", self.verb, self.what, chain(other))),
        }
    }

    /// It took too long.
    pub fn timed_out(&self, seconds: u64) -> CommandError {
        CommandError::failed(format!("the API server {} did not answer within {seconds} seconds", self.server))
            .hint("is it the right cluster? `kubectl config current-context` says which one is asked; --context names another")
    }

    fn answered(&self, code: u16, message: &str, place: &str) -> CommandError {
        match code {
            401 => CommandError::failed(format!("the API server {} does not accept your credentials", self.server))
                .hint("log in to the cluster again, or name another context with --context"),
            403 => CommandError::failed(format!("you may not {} {} in {place}\n{message}", self.verb, self.what)).hint(
                format!(
                    "an administrator can give you this right: a Role with the verb {} on {}",
                    self.verb, self.resource
                ),
            ),
            404 if self.is_kind_absent(message) => {
                CommandError::failed(format!("the cluster does not know {}: Bowline is not installed there", self.what))
                    .hint("install its definitions: kubectl apply --server-side -f manifests/crds.yaml")
                    .hint("or ask another cluster: --context NAME")
            }
            404 => CommandError::failed(message.to_owned()),
            _ => CommandError::failed(format!("cannot {} {} in {place}: {message}", self.verb, self.what)),
        }
    }

    /// A path that is not served is answered in other words than an object
    /// that does not exist.
    fn is_kind_absent(&self, message: &str) -> bool {
        message.contains("could not find the requested resource") || message.contains("404 page not found")
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use rstest::rstest;

    use super::*;

    fn answer(code: u16, reason: &str, message: &str) -> String {
        let mut status = Status::failure(message, reason);
        status.code = code;
        let tried = Tried {
            verb: "list",
            what: "Applications",
            resource: "applications.bowline.dev",
            namespace: Some("team-a"),
            server: "https://127.0.0.1:6443",
        };
        tried.failed(&kube::Error::Api(Box::new(status))).to_string()
    }

    #[test]
    fn a_forbidden_request_names_the_right_that_is_missing() {
        let text = answer(403, "Forbidden", "applications.bowline.dev is forbidden: User \"ada\" cannot list");
        insta::assert_snapshot!(text, @r#"
        error: you may not list Applications in namespace team-a
          applications.bowline.dev is forbidden: User "ada" cannot list
        hint: an administrator can give you this right: a Role with the verb list on applications.bowline.dev
        "#);
    }

    #[test]
    fn a_cluster_without_bowline_is_told_from_an_application_that_does_not_exist() {
        insta::assert_snapshot!(answer(404, "NotFound", "the server could not find the requested resource"), @r"
        error: the cluster does not know Applications: Bowline is not installed there
        hint: install its definitions: kubectl apply --server-side -f manifests/crds.yaml
        hint: or ask another cluster: --context NAME
        ");
        assert_eq!(answer(404, "NotFound", "\"x\" not found"), "error: \"x\" not found\n");
    }

    #[test]
    fn what_a_server_says_cannot_steer_the_terminal() {
        let text = answer(409, "Conflict", "\u{1b}[2Jgone");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[rstest]
    #[case(CommandError::failed("x"), 1)]
    #[case(CommandError::usage("x"), 2)]
    #[case(io::Error::from(io::ErrorKind::BrokenPipe).into(), 0)]
    #[case(CommandError::interrupted("x"), 130)]
    fn the_kind_of_an_error_is_its_exit_code(#[case] error: CommandError, #[case] code: u8) {
        assert_eq!(error.exit_code(), code);
    }
}
