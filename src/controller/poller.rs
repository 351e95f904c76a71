//! Asks repositories what is new: one conversation for each repository and
//! credentials, whatever the number of applications.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rand::Rng;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Announced,
    news::{AT_ONCE, BREAK, FEW, HEAD_START, Moved, untouched},
    signatures::{Signatures, Signed, Verify, Wanted},
};
use crate::{
    cluster::OwnerKey,
    source::{
        Commit, CommitId, Credentials, Fetched, Limits, Mirror, Repositories, RepositoryUrl, Resolved, Revision,
        SourceError, SubmodulePolicy, Submodules, TagId,
    },
};

/// Reasons that another version of the Secret may take away.
const REFUSED: &[&str] = &["AuthenticationFailed", "HostKeyRefused"];

/// What the poller tells an application.
#[derive(Debug, Clone)]
pub struct HeadEvent {
    /// What was asked for, so that news of an older setting is known as such.
    pub asked: Asked,
    /// What came of it.
    pub found: Result<Found, Failure>,
    /// Whether so many share the repository that most commits concern others.
    pub of_many: bool,
}

/// A commit that was fetched.
#[derive(Debug, Clone)]
pub struct Found {
    /// The repository to read it from.
    pub mirror: Mirror,
    /// The commit.
    pub commit: Commit,
    /// Name of the branch or tag that it was found by.
    pub reference: Option<String>,
    /// The annotated tag, where the reference is one.
    pub tag: Option<TagId>,
    /// Who signed it, where the application wants it signed.
    pub signed: Option<Signed>,
    /// Its submodules, where the application wants them.
    pub submodules: Submodules,
    /// What happened to the branch, where it did not simply move ahead.
    pub forced_from: Option<CommitId>,
    /// How long the fetch took.
    pub took: Duration,
}

impl Found {
    /// What the revision was resolved to.
    pub(super) fn resolved(&self) -> Resolved {
        Resolved { commit: self.commit.id.clone(), reference: self.reference.clone(), tag: self.tag.clone() }
    }
}

/// Why nothing was found; the message holds no credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In the form of a condition's reason.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// The commit, where one was found that may not be deployed.
    pub commit: Option<Box<Commit>>,
}

impl Failure {
    pub(super) fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into(), commit: None }
    }

    pub(super) fn of(error: &SourceError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

/// What an application asks of which repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// URL of the repository as the Application has it.
    pub url: String,
    /// Name of the Secret with credentials, of the application's namespace.
    pub secret: Option<String>,
    /// Branch, tag, range or commit.
    pub revision: Option<String>,
    /// What must be signed, and by whom.
    pub verify: Option<Verify>,
    /// The directories whose submodules are read; none are if it is not given.
    pub submodules: Option<Vec<String>>,
}

/// Reads the credentials for a repository.
pub trait CredentialStore: Send + Sync + 'static {
    /// The data of a Secret.
    fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<BTreeMap<String, Vec<u8>>, String>> + Send;
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct RepositoryKey {
    url: String,
    secret: Option<(String, String)>,
}

struct Subscription {
    asked: Asked,
    wanted: Wanted,
    interval: Duration,
    /// The directory of its manifests.
    path: String,
    tell: mpsc::Sender<HeadEvent>,
    told: Option<Result<CommitId, Failure>>,
}

/// A question for one revision, answered once.
struct Question {
    wanted: Wanted,
    answer: oneshot::Sender<Result<Found, Failure>>,
}

#[derive(Default)]
struct Repository {
    subscriptions: HashMap<OwnerKey, Subscription>,
    questions: Vec<Question>,
}

struct Conversation {
    state: Mutex<Repository>,
    wake: Notify,
    stop: CancellationToken,
}

/// Asks repositories what is new.
pub struct Poller<S> {
    repositories: Arc<Repositories>,
    secrets: Arc<S>,
    policy: SubmodulePolicy,
    conversations: Mutex<BTreeMap<RepositoryKey, Arc<Conversation>>>,
    subscribed: Mutex<HashMap<OwnerKey, RepositoryKey>>,
    stop: CancellationToken,
}

impl<S: CredentialStore> Poller<S> {
    /// A poller over the mirrors of a directory; it ends with the token.
    pub fn new(repositories: Repositories, secrets: Arc<S>, policy: SubmodulePolicy, stop: CancellationToken) -> Self {
        Self {
            repositories: Arc::new(repositories),
            secrets,
            policy,
            conversations: Mutex::default(),
            subscribed: Mutex::default(),
            stop,
        }
    }

    /// From now on tells an application what its revision resolves to: at
    /// once, then whenever that changes.
    pub fn subscribe(
        &self,
        owner: &OwnerKey,
        asked: Asked,
        path: &str,
        interval: Duration,
        tell: mpsc::Sender<HeadEvent>,
    ) {
        let key = key_of(owner, &asked);
        self.leave_unless(owner, &key);
        // The last one who leaves ends a conversation: nobody may join it then.
        let mut conversations = lock(&self.conversations);
        let conversation = self.conversation(&mut conversations, &key);
        {
            let mut state = lock(&conversation.state);
            let told = state.subscriptions.remove(owner).filter(|old| old.asked == asked).and_then(|old| old.told);
            let wanted = Wanted::of(owner.namespace(), &asked);
            let path = path.to_owned();
            state.subscriptions.insert(owner.clone(), Subscription { asked, wanted, interval, path, tell, told });
        }
        drop(conversations);
        lock(&self.subscribed).insert(owner.clone(), key);
        conversation.wake.notify_one();
    }

    /// Asks the repository of an application at once, whatever its interval.
    pub fn look_now(&self, owner: &OwnerKey) {
        let key = lock(&self.subscribed).get(owner).cloned();
        if let Some(conversation) = key.and_then(|key| lock(&self.conversations).get(&key).cloned()) {
            conversation.wake.notify_one();
        }
    }

    /// Asks the repositories that a webhook names, whatever their interval;
    /// how many of those that applications read they are.
    pub fn look_now_at(&self, announced: &[Announced]) -> usize {
        let conversations = lock(&self.conversations);
        let meant = conversations.iter().filter(|(key, _)| announced.iter().any(|one| one.is_at(&key.url)));
        meant.map(|(_, conversation)| conversation.wake.notify_one()).count()
    }

    /// Tells an application nothing any more.
    pub fn unsubscribe(&self, owner: &OwnerKey) {
        let Some(key) = lock(&self.subscribed).remove(owner) else { return };
        self.leave(owner, &key);
    }

    /// Finds another revision of the repository that an application is
    /// subscribed to. Where its head must be signed, so must that revision, by
    /// the keys that its Secret has now.
    ///
    /// # Errors
    /// The revision or the repository cannot be read, or it is not signed.
    pub async fn find(&self, owner: &OwnerKey, revision: Option<&str>) -> Result<Found, Failure> {
        let (answer, answered) = oneshot::channel();
        let conversation = {
            let key = lock(&self.subscribed).get(owner).cloned();
            key.and_then(|key| lock(&self.conversations).get(&key).cloned())
        };
        let gone = || Failure::new("NotSubscribed", "the repository is not being read");
        let conversation = conversation.ok_or_else(gone)?;
        {
            let mut state = lock(&conversation.state);
            let asked = &state.subscriptions.get(owner).ok_or_else(gone)?.asked;
            let asked = Asked { revision: revision.map(str::to_owned), ..asked.clone() };
            let wanted = Wanted::of(owner.namespace(), &asked);
            state.questions.push(Question { wanted, answer });
        }
        conversation.wake.notify_one();
        answered.await.map_err(|_| gone())?
    }

    fn conversation(
        &self,
        conversations: &mut BTreeMap<RepositoryKey, Arc<Conversation>>,
        key: &RepositoryKey,
    ) -> Arc<Conversation> {
        if let Some(conversation) = conversations.get(key) {
            return conversation.clone();
        }
        let conversation =
            Arc::new(Conversation { state: Mutex::default(), wake: Notify::new(), stop: self.stop.child_token() });
        conversations.insert(key.clone(), conversation.clone());
        let talk = Talk {
            key: key.clone(),
            conversation: conversation.clone(),
            repositories: self.repositories.clone(),
            secrets: self.secrets.clone(),
            policy: self.policy.clone(),
            credentials: None,
            signatures: Signatures::new(self.secrets.clone()),
        };
        tokio::spawn(talk.run());
        conversation
    }

    fn leave_unless(&self, owner: &OwnerKey, key: &RepositoryKey) {
        let old = lock(&self.subscribed).get(owner).cloned();
        if let Some(old) = old.filter(|old| old != key) {
            self.leave(owner, &old);
        }
    }

    fn leave(&self, owner: &OwnerKey, key: &RepositoryKey) {
        let mut conversations = lock(&self.conversations);
        let Some(conversation) = conversations.get(key).cloned() else { return };
        let empty = {
            let mut state = lock(&conversation.state);
            state.subscriptions.remove(owner);
            state.subscriptions.is_empty()
        };
        if empty {
            conversation.stop.cancel();
            conversations.remove(key);
        }
    }
}

/// One repository's task.
struct Talk<S> {
    key: RepositoryKey,
    conversation: Arc<Conversation>,
    repositories: Arc<Repositories>,
    secrets: Arc<S>,
    policy: SubmodulePolicy,
    credentials: Option<Credentials>,
    signatures: Signatures<S>,
}

impl<S: CredentialStore> Talk<S> {
    async fn run(mut self) {
        let stop = self.conversation.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look() => {}
            }
            let pause = self.pause();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.conversation.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// The shortest interval of the subscribers with up to 10 % of jitter, so
    /// that many repositories are not asked at the same moment.
    fn pause(&self) -> Duration {
        let state = lock(&self.conversation.state);
        let interval = state.subscriptions.values().map(|subscription| subscription.interval).min();
        let interval = interval.unwrap_or(Duration::from_secs(60)).max(Duration::from_millis(200));
        interval.mul_f64(rand::rng().random_range(0.9..1.1))
    }

    async fn look(&mut self) {
        let (mut wanted, questions) = {
            let mut state = lock(&self.conversation.state);
            let wanted: Vec<Wanted> =
                state.subscriptions.values().map(|subscription| subscription.wanted.clone()).collect();
            (wanted, std::mem::take(&mut state.questions))
        };
        wanted.sort();
        wanted.dedup();
        let found = self.find_wanted(&wanted).await;
        let later = self.tell(&found).await;
        for question in questions {
            let wanted = question.wanted;
            let answer = self.find_all(vec![wanted.revision.clone()]).await.pop();
            let answer = match answer.unwrap_or_else(|| Err(internal("no answer"))) {
                Ok(found) => self.signatures.check_anew(&wanted, found).await,
                Err(failure) => Err(failure),
            };
            let answer = self.with_submodules(&wanted, answer).await;
            // Whoever asked may have gone meanwhile.
            let _ = question.answer.send(answer);
        }
        self.tell_later(&found, &later).await;
    }

    /// Finds what is wanted, as far as it is signed as it must be.
    async fn find_wanted(&mut self, wanted: &[Wanted]) -> BTreeMap<Wanted, Result<Found, Failure>> {
        // Several may want one revision, signed in different ways.
        let mut revisions: Vec<Option<String>> = wanted.iter().map(|wanted| wanted.revision.clone()).collect();
        revisions.dedup();
        let mut found = self.find_all(revisions.clone()).await;
        if found.iter().any(|result| matches!(result, Err(failure) if REFUSED.contains(&failure.reason.as_str()))) {
            // The Secret may hold newer credentials by now.
            self.credentials = None;
            found = self.find_all(revisions.clone()).await;
        }
        let found: BTreeMap<Option<String>, Result<Found, Failure>> = revisions.into_iter().zip(found).collect();
        self.signatures.keep(wanted);
        let mut checked = BTreeMap::new();
        for wanted in wanted {
            let result = match found.get(&wanted.revision).cloned() {
                Some(Ok(found)) => self.signatures.check(wanted, found).await,
                Some(Err(failure)) => Err(failure),
                None => Err(internal("no answer")),
            };
            let result = self.with_submodules(wanted, result).await;
            checked.insert(wanted.clone(), result);
        }
        checked
    }

    /// What was found with its submodules, where they are wanted: after its
    /// signature counted, which vouches for them too.
    async fn with_submodules(&mut self, wanted: &Wanted, found: Result<Found, Failure>) -> Result<Found, Failure> {
        let (found, paths) = match (found, wanted.submodules.clone()) {
            (Ok(found), Some(paths)) => (found, paths),
            (found, _) => return found,
        };
        let (repositories, policy, cancel) =
            (self.repositories.clone(), self.policy.clone(), self.conversation.stop.clone());
        let (mirror, commit) = (found.mirror.clone(), found.commit.id.clone());
        let work = tokio::task::spawn_blocking(move || {
            let limits = Limits::default();
            repositories.submodules(&mirror, &commit, &paths, &policy, &limits, &cancel)
        });
        let submodules = work.await.map_err(|error| internal(&error.to_string()))?;
        let submodules = submodules.map_err(|error| Failure::of(&error))?;
        Ok(Found { submodules, ..found })
    }

    /// Tells what is news; gives those, of many, whom it does not concern and who
    /// are to be told later.
    async fn tell(&self, found: &BTreeMap<Wanted, Result<Found, Failure>>) -> Vec<OwnerKey> {
        let later = self.untouched(found).await;
        self.tell_those(found, |owner| !later.contains(owner));
        later.into_iter().collect()
    }

    async fn untouched(&self, found: &BTreeMap<Wanted, Result<Found, Failure>>) -> BTreeSet<OwnerKey> {
        let mut moved = Vec::new();
        let mut mirror = None;
        for (owner, subscription) in &lock(&self.conversation.state).subscriptions {
            if let (Some(Ok(from)), Some(Ok(found))) = (&subscription.told, found.get(&subscription.wanted))
                && *from != found.commit.id
            {
                mirror.get_or_insert_with(|| found.mirror.clone());
                let (owner, path) = (owner.clone(), subscription.path.clone());
                moved.push(Moved { owner, path, from: from.clone(), to: found.commit.id.clone() });
            }
        }
        let Some(mirror) = mirror.filter(|_| moved.len() > AT_ONCE) else { return BTreeSet::new() };
        tokio::task::spawn_blocking(move || untouched(&mirror, moved)).await.unwrap_or_default()
    }

    /// Tells the others, a few at a time. Whoever wakes the conversation has it
    /// at once: those who are left are told after the next look.
    async fn tell_later(&self, found: &BTreeMap<Wanted, Result<Found, Failure>>, later: &[OwnerKey]) {
        if later.is_empty() {
            return;
        }
        tokio::time::sleep(HEAD_START).await;
        for few in later.chunks(FEW) {
            self.tell_those(found, |owner| few.contains(owner));
            tokio::select! {
                () = tokio::time::sleep(BREAK) => {}
                () = self.conversation.wake.notified() => {
                    self.conversation.wake.notify_one();
                    return;
                }
            }
        }
    }

    fn tell_those(&self, found: &BTreeMap<Wanted, Result<Found, Failure>>, wanted: impl Fn(&OwnerKey) -> bool) {
        let mut state = lock(&self.conversation.state);
        let of_many = state.subscriptions.len() > AT_ONCE;
        for (_, subscription) in state.subscriptions.iter_mut().filter(|(owner, _)| wanted(owner)) {
            let Some(result) = found.get(&subscription.wanted) else { continue };
            let told = result.as_ref().map(|found| found.commit.id.clone()).map_err(Clone::clone);
            if subscription.told.as_ref() == Some(&told) {
                continue;
            }
            let event = HeadEvent { asked: subscription.asked.clone(), found: result.clone(), of_many };
            // A full inbox means that older news is waiting: it is told again
            // at the next look.
            if subscription.tell.try_send(event).is_ok() {
                subscription.told = Some(told);
            }
        }
    }

    async fn find_all(&mut self, revisions: Vec<Option<String>>) -> Vec<Result<Found, Failure>> {
        let fail = |failure: Failure| revisions.iter().map(|_| Err(failure.clone())).collect();
        let url = match RepositoryUrl::parse(&self.key.url, &self.policy.urls) {
            Ok(url) => url,
            Err(error) => return fail(Failure::new("UrlRefused", error.to_string())),
        };
        let credentials = match self.credentials().await {
            Ok(credentials) => credentials,
            Err(failure) => return fail(failure),
        };
        let repositories = self.repositories.clone();
        let cancel = self.conversation.stop.clone();
        let count = revisions.len();
        let work = tokio::task::spawn_blocking(move || find(&repositories, &url, &credentials, &revisions, &cancel));
        work.await.unwrap_or_else(|error| (0..count).map(|_| Err(internal(&error.to_string()))).collect())
    }

    async fn credentials(&mut self) -> Result<Credentials, Failure> {
        if let Some(credentials) = &self.credentials {
            return Ok(credentials.clone());
        }
        let credentials = match &self.key.secret {
            None => Credentials::none(),
            Some((namespace, name)) => {
                let refuse = |message: String| {
                    Failure::new("CredentialsUnusable", format!("Secret {namespace}/{name}: {message}"))
                };
                let data = self.secrets.secret(namespace, name).await.map_err(refuse)?;
                Credentials::from_secret(&data).map_err(|error| refuse(error.to_string()))?
            }
        };
        self.credentials = Some(credentials.clone());
        Ok(credentials)
    }
}

/// Resolves all revisions by one listing, and fetches what is not here yet.
fn find(
    repositories: &Repositories,
    url: &RepositoryUrl,
    credentials: &Credentials,
    revisions: &[Option<String>],
    cancel: &CancellationToken,
) -> Vec<Result<Found, Failure>> {
    let limits = Limits::default();
    let parsed: Vec<_> = revisions.iter().map(|revision| Revision::of(revision.as_deref())).collect();
    let asked: Vec<Revision> = parsed.iter().filter_map(|revision| revision.as_ref().ok().cloned()).collect();
    let mirror = match repositories.mirror(url, credentials) {
        Ok(mirror) => mirror,
        Err(error) => return revisions.iter().map(|_| Err(Failure::of(&error))).collect(),
    };
    let mut fetched = fetch_all(&mirror, &asked, &limits, cancel);
    let mut next = fetched.iter_mut();
    parsed
        .into_iter()
        .map(|revision| match revision {
            Err(error) => Err(Failure::new("RevisionRefused", error.to_string())),
            Ok(_) => next.next().and_then(Option::take).unwrap_or_else(|| Err(internal("no answer"))),
        })
        .collect()
}

/// One conversation for a single revision. For several, one that lists them
/// all, and another only for what is not here yet.
fn fetch_all(
    mirror: &Mirror,
    revisions: &[Revision],
    limits: &Limits,
    cancel: &CancellationToken,
) -> Vec<Option<Result<Found, Failure>>> {
    if let [revision] = revisions {
        return vec![Some(fetch(mirror, revision, limits, cancel))];
    }
    let began = Instant::now();
    let listed = match mirror.poll(revisions, limits, cancel) {
        Ok(listed) => listed,
        Err(error) => return revisions.iter().map(|_| Some(Err(Failure::of(&error)))).collect(),
    };
    let one = |(revision, resolved): (&Revision, Result<Resolved, SourceError>)| {
        let resolved = resolved.map_err(|error| Failure::of(&error))?;
        match mirror.commit(&resolved.commit) {
            Ok(commit) if mirror.holds(&resolved) => Ok(found(mirror, commit, resolved, None, began)),
            _ => fetch(mirror, revision, limits, cancel),
        }
    };
    revisions.iter().zip(listed).map(|pair| Some(one(pair))).collect()
}

fn fetch(mirror: &Mirror, revision: &Revision, limits: &Limits, cancel: &CancellationToken) -> Result<Found, Failure> {
    let began = Instant::now();
    let Fetched { resolved, moved, .. } =
        mirror.fetch(revision, limits, cancel).map_err(|error| Failure::of(&error))?;
    let commit = mirror.commit(&resolved.commit).map_err(|error| Failure::of(&error))?;
    let forced_from = moved.filter(|moved| moved.is_forced()).map(|moved| moved.from);
    Ok(found(mirror, commit, resolved, forced_from, began))
}

fn found(mirror: &Mirror, commit: Commit, resolved: Resolved, forced_from: Option<CommitId>, began: Instant) -> Found {
    let (mirror, Resolved { reference, tag, .. }) = (mirror.clone(), resolved);
    Found {
        mirror,
        commit,
        reference,
        tag,
        signed: None,
        submodules: Submodules::default(),
        forced_from,
        took: began.elapsed(),
    }
}

fn internal(message: &str) -> Failure {
    Failure::new("Internal", format!("the repository could not be read: {message}"))
}

fn key_of(owner: &OwnerKey, asked: &Asked) -> RepositoryKey {
    let secret = asked.secret.as_ref().map(|name| (owner.namespace().to_owned(), name.clone()));
    RepositoryKey { url: asked.url.clone(), secret }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
