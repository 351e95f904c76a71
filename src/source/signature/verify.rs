//! Who signed what a revision means.

use jiff::Timestamp;

use super::{
    Problem, TrustedKeys,
    signed::{self, Signed},
};
use crate::source::{error::SourceError, id::CommitId, mirror::Mirror, objects, references::Resolved, url::visible};

/// How many digits of a commit are said.
const SHORT: usize = 7;

/// Which object must be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignedObject {
    /// The commit.
    Commit,
    /// The annotated tag that names the commit.
    Tag,
    /// Both.
    TagAndCommit,
}

impl Mirror {
    /// Who signed a fetched revision, in words: kind, fingerprint and name of
    /// the key, such as `SSH SHA256:… (ann@example.com)`.
    ///
    /// # Errors
    /// [`SourceError::SignatureRefused`] where what must be signed is not, or
    /// not by a key that is trusted and counts `now`; others where an object
    /// cannot be read.
    pub fn signer(
        &self,
        resolved: &Resolved,
        wanted: SignedObject,
        keys: &TrustedKeys,
        now: Timestamp,
    ) -> Result<String, SourceError> {
        let of_commit = || self.commit_signer(&resolved.commit, keys, now);
        let of_tag = || self.tag_signer(resolved, keys, now);
        match wanted {
            SignedObject::Commit => of_commit(),
            SignedObject::Tag => of_tag(),
            SignedObject::TagAndCommit => Ok(format!("{}; {}", of_commit()?, of_tag()?)),
        }
    }

    fn commit_signer(&self, commit: &CommitId, keys: &TrustedKeys, now: Timestamp) -> Result<String, SourceError> {
        let object = self.raw(commit, |repository| {
            let id = commit.oid().ok_or_else(|| git2::Error::from_str("it is a SHA-256 name"))?;
            objects::raw_commit(repository, id)
        })?;
        let signed = signed::commit(&object);
        let said = signed::time(&signed.payload, "committer");
        let name = format!("commit {}", commit.as_str().chars().take(SHORT).collect::<String>());
        check(&name, "git commit -S", &signed, said, keys, now)
    }

    fn tag_signer(&self, resolved: &Resolved, keys: &TrustedKeys, now: Timestamp) -> Result<String, SourceError> {
        let refused = |message: String| SourceError::SignatureRefused { message };
        let commit: String = resolved.commit.as_str().chars().take(SHORT).collect();
        let reference = resolved.reference.as_deref();
        let Some(tag) = reference.and_then(|reference| reference.strip_prefix("refs/tags/")) else {
            let found =
                reference.map_or_else(|| "a commit".to_owned(), |reference| format!("`{}`", visible(reference)));
            return Err(refused(format!(
                "commit {commit} was found by {found} and not by a tag, and source.verify wants a signed tag; set \
                 source.revision to a tag or a range of versions"
            )));
        };
        let name = format!("tag {}", visible(tag));
        let Some(id) = &resolved.tag else {
            return Err(refused(format!(
                "{name} is a lightweight tag, which cannot be signed, and source.verify wants a signed tag; make it \
                 with `git tag -s`"
            )));
        };
        let object = self.raw(&resolved.commit, |repository| objects::raw_tag(repository, id.oid()?))?;
        let signed = signed::tag(&object);
        let header = |name: &str| signed::header(&signed.payload, name);
        // A reference could lead to the signed tag of another version, and a
        // server could say that a tag stands for another commit.
        if header("tag") != Some(tag) {
            let other = visible(header("tag").unwrap_or_default());
            return Err(refused(format!("{name} holds the tag object of `{other}`; make and sign it anew")));
        }
        if header("type") != Some("commit") || header("object") != Some(resolved.commit.as_str()) {
            return Err(refused(format!("{name} does not name commit {commit} itself; make it of the commit")));
        }
        let said = signed::time(&signed.payload, "tagger");
        let signer = check(&name, "git tag -s", &signed, said, keys, now)?;
        Ok(format!("{name} by {signer}"))
    }
}

/// Who signed an object, or why it is refused, in words.
fn check(
    name: &str,
    sign_by: &str,
    signed: &Signed,
    said: Option<i64>,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<String, SourceError> {
    let secret = keys.name();
    let refused = |message: String| SourceError::SignatureRefused { message };
    let signature = match signed.signatures.as_slice() {
        [] => return Err(refused(format!("{name} is not signed; sign it by a key of {secret} (`{sign_by}`)"))),
        [one] => one,
        _ => return Err(refused(format!("{name} has more than one signature, and one is expected; sign it anew"))),
    };
    let said = said.and_then(|seconds| Timestamp::from_second(seconds).ok());
    keys.verify(&signed.payload, signature, said, now).map_err(|problem| {
        refused(match problem {
            Problem::Unreadable(because) => format!("the signature of {name} cannot be read: {because}"),
            Problem::Stranger(signer) => format!(
                "{name} is signed by {signer}, which is none of the keys of {secret}; put the key there if its owner is \
                 trusted, or have {name} signed by another"
            ),
            Problem::Refused { signer, because } => {
                format!("{name} is signed by {signer}, which does not count: {because}")
            }
            Problem::Altered(signer) => format!(
                "the signature of {name}, which names {signer}, does not fit: the content was changed after it was \
                 signed, or another key made it; find out where it comes from, and sign it anew"
            ),
        })
    })
}
