//! Why Git did not give what was asked.

use std::time::Duration;

use super::{
    credentials::CredentialsRefused,
    id::{CommitId, NotAnId},
    revision::RevisionRefused,
    url::UrlRefused,
};

/// Why Git did not give what was asked. Messages hold the redacted URL, never
/// a credential, and no control character of what a repository sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The address is refused.
    #[error(transparent)]
    UrlRefused(#[from] UrlRefused),
    /// The server sends elsewhere.
    #[error("{url} redirects to another host: {message}; set source.repoURL to the address that it redirects to")]
    Redirected {
        /// The repository.
        url: String,
        /// What the library said.
        message: String,
    },
    /// The Secret cannot be used.
    #[error(transparent)]
    CredentialsRefused(#[from] CredentialsRefused),
    /// Credentials would travel unencrypted.
    #[error(
        "credentials are not sent to {url} unencrypted; use its https address, or let the operator allow plain http"
    )]
    CredentialsOverPlainHttp {
        /// The repository.
        url: String,
    },
    /// The text is not a revision.
    #[error(transparent)]
    RevisionRefused(#[from] RevisionRefused),
    /// The text is not a commit.
    #[error(transparent)]
    NotAnId(#[from] NotAnId),
    /// What must be signed is not, or not by a key that counts.
    #[error("{message}")]
    SignatureRefused {
        /// Which object, what is wrong with it, and what to do.
        message: String,
    },
    /// The server refuses the credentials, or wants some.
    #[error("authentication failed at {url}: {advice}")]
    AuthenticationFailed {
        /// The repository.
        url: String,
        /// What to do.
        advice: String,
    },
    /// The host does not show a key that is trusted.
    #[error("{url}: the host is not trusted: {message}")]
    HostKeyRefused {
        /// The repository.
        url: String,
        /// Why, and what to do.
        message: String,
    },
    /// There is no such repository, or it may not be seen.
    #[error("there is no repository at {url}, or these credentials may not see it: {message}")]
    NotFound {
        /// The repository.
        url: String,
        /// What the library said.
        message: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{revision} does not exist at {url}; {known}")]
    RevisionNotFound {
        /// The repository.
        url: String,
        /// What was asked.
        revision: String,
        /// What there is instead.
        known: String,
    },
    /// The name is both a branch and a tag.
    #[error(
        "`{name}` is both a branch ({branch}) and a tag ({tag}) at {url}; write refs/heads/{name} or refs/tags/{name}"
    )]
    RevisionAmbiguous {
        /// The repository.
        url: String,
        /// The name.
        name: String,
        /// Where the branch is.
        branch: CommitId,
        /// Where the tag is.
        tag: CommitId,
    },
    /// The path does not exist at the commit, or is not a directory.
    #[error("path `{path}` {problem} at commit {commit}{near}")]
    PathNotFound {
        /// The path.
        path: String,
        /// What is wrong.
        problem: String,
        /// The commit.
        commit: CommitId,
        /// Names that are near, as a clause; may be empty.
        near: String,
    },
    /// The tree holds what is not read.
    #[error("the tree of commit {commit} is refused: {}", list(.problems))]
    TreeRefused {
        /// The commit.
        commit: CommitId,
        /// What is wrong, each with its path; the first few.
        problems: Vec<String>,
    },
    /// A submodule is not read.
    #[error("the submodule `{path}` at commit {commit} is refused: {because}")]
    SubmoduleRefused {
        /// Its path.
        path: String,
        /// The commit that has it.
        commit: CommitId,
        /// Why, and what to do.
        because: String,
    },
    /// A limit was passed.
    #[error("{subject} is too large: {message}")]
    TooLarge {
        /// What: a repository, or a path at a commit.
        subject: String,
        /// Which limit, and what to do.
        message: String,
    },
    /// The server was silent, or the whole took too long.
    #[error("{url} did not answer in time: {message}")]
    Timeout {
        /// The repository.
        url: String,
        /// What was waited for.
        message: String,
    },
    /// Another fetch of the repository did not end in time.
    #[error("another fetch of {url} did not end within {}", seconds(.waited))]
    Busy {
        /// The repository.
        url: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The caller gave up.
    #[error("fetching {url} was cancelled")]
    Cancelled {
        /// The repository.
        url: String,
    },
    /// The server's certificate is not trusted, or the handshake failed.
    #[error("no trusted connection to {url}: {message}")]
    TlsFailed {
        /// The repository.
        url: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The server cannot be reached, or fails.
    #[error("{url} cannot be reached: {message}")]
    Unreachable {
        /// The repository.
        url: String,
        /// What the library said.
        message: String,
    },
    /// The cache's disk is full.
    #[error(
        "the disk of the Git cache is full while fetching {url}: {message}; free space or give the cache a larger volume"
    )]
    DiskFull {
        /// The repository.
        url: String,
        /// What the system said.
        message: String,
    },
    /// The cache's directory cannot be used.
    #[error("the Git cache at {path} cannot be used: {message}")]
    CacheUnusable {
        /// The directory.
        path: String,
        /// What the system said.
        message: String,
    },
    /// Objects are missing or wrong, here or there.
    #[error("objects of {url} are missing or damaged: {message}")]
    RepositoryDamaged {
        /// The repository.
        url: String,
        /// What the library said.
        message: String,
    },
    /// The repository holds an object that Git cannot read.
    #[error("{url} holds what is no valid Git object: {message}")]
    Malformed {
        /// The repository.
        url: String,
        /// What the library said.
        message: String,
    },
    /// The repository is of a kind that cannot be read.
    #[error("{url} is a SHA-256 repository, and only SHA-1 repositories can be read: {message}")]
    Unsupported {
        /// The repository.
        url: String,
        /// What the library said.
        message: String,
    },
    /// The commit is not in the mirror.
    #[error("commit {commit} of {url} is not in the cache; fetch it first")]
    CommitNotFetched {
        /// The repository.
        url: String,
        /// The commit.
        commit: CommitId,
    },
    /// Git failed in another way.
    #[error("Git failed at {url}: {message}")]
    GitFailed {
        /// The repository.
        url: String,
        /// What the library said.
        message: String,
    },
}

impl SourceError {
    /// One word for conditions, events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UrlRefused(_) | Self::Redirected { .. } => "UrlRefused",
            Self::CredentialsRefused(_) | Self::CredentialsOverPlainHttp { .. } => "CredentialsRefused",
            Self::RevisionRefused(_) | Self::NotAnId(_) => "RevisionRefused",
            Self::SignatureRefused { .. } => "SignatureRefused",
            Self::AuthenticationFailed { .. } => "AuthenticationFailed",
            Self::HostKeyRefused { .. } => "HostKeyRefused",
            Self::NotFound { .. } => "NotFound",
            Self::RevisionNotFound { .. } => "RevisionNotFound",
            Self::RevisionAmbiguous { .. } => "RevisionAmbiguous",
            Self::PathNotFound { .. } => "PathNotFound",
            Self::TreeRefused { .. } => "TreeRefused",
            Self::SubmoduleRefused { .. } => "SubmoduleRefused",
            Self::TooLarge { .. } => "TooLarge",
            Self::Timeout { .. } | Self::Busy { .. } => "Timeout",
            Self::Cancelled { .. } => "Cancelled",
            Self::TlsFailed { .. } => "TlsFailed",
            Self::Unreachable { .. } => "Unreachable",
            Self::DiskFull { .. } => "DiskFull",
            Self::CacheUnusable { .. } => "CacheUnusable",
            Self::RepositoryDamaged { .. } | Self::CommitNotFetched { .. } => "RepositoryDamaged",
            Self::Unsupported { .. } => "RepositoryUnsupported",
            Self::Malformed { .. } => "RepositoryMalformed",
            Self::GitFailed { .. } => "GitFailed",
        }
    }

    /// Whether the same call may succeed later without a change of what was
    /// asked. The others wait for a change: in the Application, its Secret or
    /// the repository.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::Busy { .. }
                | Self::Cancelled { .. }
                | Self::Unreachable { .. }
                | Self::DiskFull { .. }
                | Self::CacheUnusable { .. }
                | Self::RepositoryDamaged { .. }
                | Self::CommitNotFetched { .. }
                | Self::GitFailed { .. }
        )
    }
}

fn list(problems: &[String]) -> String {
    problems.join("; ")
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs())
}
