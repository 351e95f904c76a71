//! Bases of other repositories, for the kustomizations that name them: fetched
//! as the Application's own repository is, from where the operator allows.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    render::{Base, BaseReference, NoBase},
    source::{
        CommitId, Credentials, Limits, Mirror, Place, Repositories, RepositoryUrl, Revision, SourceError, Submodules,
        TreeLimits, UrlPolicy,
    },
};

/// How long fetching all bases of a render may take: its application waits.
pub const BASES_DEADLINE: Duration = Duration::from_secs(30);
/// How long an answer is good for others that name the same base.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// How many answers are kept before all are forgotten.
const ANSWERS: usize = 1_000;

/// Where bases may come from.
#[derive(Debug, Clone, Default)]
pub struct BasePolicy {
    /// Which addresses are allowed at all.
    pub urls: UrlPolicy,
    /// Where the operator allows bases to be.
    pub allowed: Vec<Place>,
    /// Whether only a commit may be named: what is signed must settle all that
    /// it comes to.
    pub only_commits: bool,
}

/// A repository as some credentials see it, and a revision of it.
type Question = (PathBuf, Option<String>);
/// What came of asking, and when. Who asks meanwhile waits for it.
type Answer = Arc<Mutex<Option<(Instant, Result<CommitId, SourceError>)>>>;

/// The bases of all applications: however many name one, its repository is
/// asked once.
#[derive(Debug)]
pub struct Bases {
    repositories: Repositories,
    answers: Mutex<HashMap<Question, Answer>>,
}

impl Bases {
    /// Those that are fetched into a cache.
    pub fn of(repositories: Repositories) -> Self {
        Self { repositories, answers: Mutex::default() }
    }

    /// The repository of a base, at what its revision means now. It is shown the
    /// credentials of the repository that names it where both are on one server.
    /// Blocks.
    ///
    /// # Errors
    /// It may not be loaded, or cannot be fetched now, or by then.
    pub fn base(
        &self,
        named_by: Option<&Mirror>,
        reference: &BaseReference,
        policy: &BasePolicy,
        until: Instant,
        cancel: &CancellationToken,
    ) -> Result<Base, NoBase> {
        may_load(reference, policy)?;
        let fetched = || -> Result<Base, SourceError> {
            let url = RepositoryUrl::parse(&reference.repository, &policy.urls)?;
            let mirror = match named_by {
                Some(other) => self.repositories.named_by(other, &url)?,
                None => self.repositories.mirror(&url, &Credentials::none())?,
            };
            let commit = self.commit(&mirror, reference, until, cancel)?;
            let files = mirror.files(&commit, &TreeLimits::default(), &Submodules::default())?;
            Ok(Base { files: Arc::new(files) })
        };
        fetched().map_err(|error| match error {
            SourceError::RevisionRefused(_) => {
                refused(format!("cannot be loaded: {error}"), "name a branch, a tag or a commit")
            }
            error => NoBase::Unavailable(format!("{reference} cannot be fetched: {error}")),
        })
    }

    fn commit(
        &self,
        mirror: &Mirror,
        reference: &BaseReference,
        until: Instant,
        cancel: &CancellationToken,
    ) -> Result<CommitId, SourceError> {
        let revision = Revision::of(reference.revision.as_deref())?;
        let answer = {
            let mut answers = lock(&self.answers);
            if answers.len() >= ANSWERS {
                answers.clear();
            }
            answers.entry((mirror.directory().to_owned(), reference.revision.clone())).or_default().clone()
        };
        let mut answer = lock(&answer);
        if let Some((at, known)) = &*answer
            && at.elapsed() < GOOD_FOR
        {
            return known.clone();
        }
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let limits = Limits { deadline: left, ..Limits::default() };
        let commit = mirror.fetch(&revision, &limits, cancel).map(|fetched| fetched.resolved.commit);
        // Who had no time left says nothing of the repository to others.
        if commit.is_ok() || Instant::now() < until {
            *answer = Some((Instant::now(), commit.clone()));
        }
        commit
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a base may be loaded at all.
///
/// # Errors
/// It may not: why, and what to do.
pub fn may_load(reference: &BaseReference, policy: &BasePolicy) -> Result<(), NoBase> {
    let url = RepositoryUrl::parse(&reference.repository, &policy.urls)
        .map_err(|error| refused(format!("is not loaded: {error}"), "name it by https or ssh, without credentials"))?;
    if !policy.allowed.iter().any(|place| place.holds(&url)) {
        let places: Vec<String> = policy.allowed.iter().map(ToString::to_string).collect();
        let allowed = match places.as_slice() {
            [] => "the operator allows no bases of other repositories".to_owned(),
            places => format!("the operator allows bases of {} only", places.join(", ")),
        };
        let hint = "copy it into the repository, or have its place allowed (--allow-bases)";
        return Err(refused(format!("is not loaded: {allowed}"), hint));
    }
    if policy.only_commits && !reference.is_pinned() {
        let because =
            "is not loaded: source.verify is set, and no signature vouches for what is not named by its commit";
        return Err(refused(because.to_owned(), "name the commit, with all its digits: ?ref=<commit>"));
    }
    Ok(())
}

fn refused(because: String, hint: &str) -> NoBase {
    NoBase::Refused { because, hint: hint.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::none_allowed(
        &[], false, "https://h.example/team/base//web?ref=v1",
        Some("is not loaded: the operator allows no bases of other repositories")
    )]
    #[case::elsewhere(
        &["h.example/team", "*.cdn.example"], false, "https://h.example/other/base//web",
        Some("is not loaded: the operator allows bases of h.example/team, *.cdn.example only")
    )]
    #[case::allowed(&["h.example/team"], false, "https://h.example/team/base//web", None)]
    #[case::with_a_credential(
        &["h.example"], false, "https://ghp-secret@h.example/team/base//web",
        Some("is not loaded: the repository URL https://***@h.example/team/base is refused: it contains credentials; \
              remove them from the URL, rotate them if they were ever committed, and put them as username and password \
              into a Secret named by secretRef")
    )]
    #[case::of_this_machine(
        &["h.example"], false, "file:///srv/base//web",
        Some("is not loaded: the repository URL file:///srv/base is refused: file URLs are not allowed by the operator \
              of this installation")
    )]
    #[case::moving_and_not_signed(
        &["h.example"], true, "https://h.example/team/base//web?ref=v1",
        Some("is not loaded: source.verify is set, and no signature vouches for what is not named by its commit")
    )]
    #[case::settled_by_the_signed_commit(
        &["h.example"], true, "https://h.example/team/base//web?ref=a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", None
    )]
    fn a_base_may_be_loaded_from_where_the_operator_allows(
        #[case] allowed: &[&str],
        #[case] only_commits: bool,
        #[case] written: &str,
        #[case] refusal: Option<&str>,
    ) {
        let allowed = allowed.iter().map(|place| place.parse().unwrap()).collect();
        let policy = BasePolicy { allowed, only_commits, ..BasePolicy::default() };
        let found = may_load(&BaseReference::parse(written).unwrap(), &policy);
        let because = found.err().map(|refused| match refused {
            NoBase::Refused { because, .. } => because,
            NoBase::Unavailable(message) => message,
        });
        assert_eq!(because.as_deref(), refusal);
    }
}
