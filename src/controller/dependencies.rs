//! Which applications depend on which, from what the watch of Bowline's own
//! resources says. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::decide::{Dependencies, Dependency, Unready, circle};
use crate::{
    api::{Application, SyncStatus},
    cluster::OwnerKey,
};

/// How many digits of a commit people read.
const SHORT_ID: usize = 7;

/// How the applications stand that one depends on. `head` is the commit that
/// this one's branch is at; `find` gives an Application of its namespace.
pub fn dependencies(
    application: &Application,
    head: Option<&str>,
    find: impl Fn(&str) -> Option<Arc<Application>>,
) -> Dependencies {
    let names = &application.spec.depends_on;
    if names.is_empty() {
        return Dependencies::Met;
    }
    let own = application.metadata.name.as_deref().unwrap_or_default();
    let depends_on = |name: &str| match (name == own, find(name)) {
        (true, _) => names.clone(),
        (false, Some(found)) => found.spec.depends_on.clone(),
        (false, None) => Vec::new(),
    };
    if let Some(path) = circle(own, depends_on) {
        return Dependencies::Circle(path);
    }
    let waiting: Vec<Dependency> = names
        .iter()
        .filter_map(|name| {
            let why = unready(application, head, find(name).as_deref())?;
            Some(Dependency { name: name.clone(), why })
        })
        .collect();
    if waiting.is_empty() { Dependencies::Met } else { Dependencies::Waiting(waiting) }
}

/// Why an application is waited for; none if it is ready.
fn unready(of: &Application, head: Option<&str>, dependency: Option<&Application>) -> Option<Unready> {
    let Some(dependency) = dependency else { return Some(Unready::Missing) };
    if dependency.metadata.deletion_timestamp.is_some() {
        return Some(Unready::Leaving);
    }
    let looked_at =
        |status: &&crate::api::ApplicationStatus| status.observed_generation == dependency.metadata.generation;
    let Some(status) = dependency.status.as_ref().filter(looked_at) else { return Some(Unready::NotLookedAt) };
    let (Some(sync), Some(health)) = (status.sync, status.health) else { return Some(Unready::NotLookedAt) };
    let (one, other) = (&of.spec.source, &dependency.spec.source);
    let same_branch = one.repo_url == other.repo_url && one.revision == other.revision;
    // A pin stands in for the head; that it was looked at is said by the head
    // of the time of the pin.
    let pinned = status.pin.as_ref().map(|pin| pin.head_then.as_str());
    let seen = pinned.or_else(|| status.head.as_ref().map(|head| head.commit.as_str()));
    if let Some(head) = head.filter(|head| same_branch && seen != Some(head)) {
        return Some(Unready::Behind { commit: head.chars().take(SHORT_ID).collect() });
    }
    let ready = sync == SyncStatus::Synced && health.lets_a_release_be_healthy();
    (!ready).then_some(Unready::NotReady { sync, health })
}

/// Who is to be woken when an application changes: those that depend on it.
#[derive(Debug, Default)]
pub struct Dependents {
    depends_on: BTreeMap<OwnerKey, BTreeSet<OwnerKey>>,
    dependents: BTreeMap<OwnerKey, BTreeSet<OwnerKey>>,
}

impl Dependents {
    /// Notes what an application depends on; nothing where it is gone.
    pub fn set(&mut self, application: &OwnerKey, depends_on: &[String]) {
        let wanted: BTreeSet<OwnerKey> =
            depends_on.iter().map(|name| OwnerKey::new(application.namespace(), name)).collect();
        let before = match wanted.is_empty() {
            true => self.depends_on.remove(application),
            false => self.depends_on.insert(application.clone(), wanted.clone()),
        };
        for gone in before.unwrap_or_default().difference(&wanted) {
            if let Some(dependents) = self.dependents.get_mut(gone) {
                dependents.remove(application);
                if dependents.is_empty() {
                    self.dependents.remove(gone);
                }
            }
        }
        for dependency in wanted {
            self.dependents.entry(dependency).or_default().insert(application.clone());
        }
    }

    /// Those that depend on an application, whether it exists or not.
    pub fn of(&self, application: &OwnerKey) -> impl Iterator<Item = &OwnerKey> {
        self.dependents.get(application).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::{
        api::{ApplicationSpec, ApplicationStatus, Head, Pin, Source},
        health::HealthStatus,
    };

    fn application(name: &str, depends_on: &[&str], adjust: impl FnOnce(&mut Application)) -> Application {
        let source: Source =
            serde_json::from_value(serde_json::json!({"repoURL": "https://git.example/shop.git"})).unwrap();
        let spec = ApplicationSpec {
            source,
            render: Default::default(),
            destination: Default::default(),
            sync: Default::default(),
            rollback: Default::default(),
            notify: None,
            depends_on: depends_on.iter().map(ToString::to_string).collect(),
            health: Default::default(),
            suspend: false,
            deletion_policy: crate::api::DeletionPolicy::Orphan,
        };
        let mut application = Application::new(name, spec);
        application.metadata.generation = Some(2);
        adjust(&mut application);
        application
    }

    fn head(commit: &str) -> Option<Head> {
        Some(Head {
            short: commit.into(),
            commit: commit.into(),
            subject: String::new(),
            author: String::new(),
            committed_at: None,
            bundle: None,
            inputs: None,
        })
    }

    fn ready(application: &mut Application) {
        application.status = Some(ApplicationStatus {
            observed_generation: Some(2),
            sync: Some(SyncStatus::Synced),
            health: Some(HealthStatus::Healthy),
            head: head("c2"),
            ..ApplicationStatus::default()
        });
    }

    fn status(application: &mut Application) -> &mut ApplicationStatus {
        ready(application);
        application.status.get_or_insert_default()
    }

    #[rstest]
    #[case::ready(ready, None)]
    #[case::paused_on_purpose(|one: &mut Application| status(one).health = Some(HealthStatus::Suspended), None)]
    #[case::never_looked_at(|_: &mut Application| {}, Some(Unready::NotLookedAt))]
    #[case::edited_since(|one: &mut Application| { ready(one); one.metadata.generation = Some(3); }, Some(Unready::NotLookedAt))]
    #[case::syncing(
        |one: &mut Application| status(one).sync = Some(SyncStatus::Syncing),
        Some(Unready::NotReady { sync: SyncStatus::Syncing, health: HealthStatus::Healthy })
    )]
    #[case::held(
        |one: &mut Application| status(one).sync = Some(SyncStatus::Held),
        Some(Unready::NotReady { sync: SyncStatus::Held, health: HealthStatus::Healthy })
    )]
    #[case::degraded(
        |one: &mut Application| status(one).health = Some(HealthStatus::Degraded),
        Some(Unready::NotReady { sync: SyncStatus::Synced, health: HealthStatus::Degraded })
    )]
    #[case::missing_objects(
        |one: &mut Application| status(one).health = Some(HealthStatus::Missing),
        Some(Unready::NotReady { sync: SyncStatus::Synced, health: HealthStatus::Missing })
    )]
    #[case::at_an_older_commit(|one: &mut Application| status(one).head = head("c1"), Some(Unready::Behind { commit: "c2".into() }))]
    #[case::at_an_older_commit_of_another_branch(
        |one: &mut Application| { status(one).head = head("c1"); one.spec.source.revision = Some("other".into()); },
        None
    )]
    #[case::pinned_by_a_person(
        |one: &mut Application| {
            ready(one);
            let pin = Pin { revision: "c0".into(), commit: "c0".into(), head_then: "c2".into(), by: String::new() };
            if let Some(status) = &mut one.status { status.head = head("c0"); status.pin = Some(pin); }
        },
        None
    )]
    #[case::leaving(
        |one: &mut Application| {
            ready(one);
            one.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        },
        Some(Unready::Leaving)
    )]
    fn an_application_is_waited_for_until_it_is_ready_at_its_own_head(
        #[case] adjust: fn(&mut Application),
        #[case] expected: Option<Unready>,
    ) {
        let database = Arc::new(application("database", &[], adjust));
        let shop = application("shop", &["database"], |_| {});
        let found = dependencies(&shop, Some("c2"), |name| (name == "database").then(|| database.clone()));
        let expected = expected
            .map_or(Dependencies::Met, |why| Dependencies::Waiting(vec![Dependency { name: "database".into(), why }]));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_does_not_exist_is_waited_for_and_a_circle_outranks_it() {
        let shop = application("shop", &["nowhere", "database"], |_| {});
        let missing = |name: &str| Dependency { name: name.into(), why: Unready::Missing };
        assert_eq!(
            dependencies(&shop, None, |_| None),
            Dependencies::Waiting(vec![missing("nowhere"), missing("database")])
        );
        let database = Arc::new(application("database", &["shop"], |_| {}));
        let found = dependencies(&shop, None, |name| (name == "database").then(|| database.clone()));
        assert_eq!(found, Dependencies::Circle(["shop", "database", "shop"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn who_depends_on_an_application_is_known_before_it_exists_and_after_it_is_gone() {
        let key = |name: &str| OwnerKey::new("team", name);
        let names = |dependents: &Dependents, of: &str| -> Vec<String> {
            dependents.of(&key(of)).map(|key| key.name().to_owned()).collect()
        };
        let mut dependents = Dependents::default();
        dependents.set(&key("shop"), &["database".into(), "cache".into()]);
        dependents.set(&key("billing"), &["database".into()]);
        assert_eq!(names(&dependents, "database"), ["billing", "shop"]);
        dependents.set(&key("shop"), &["cache".into()]);
        dependents.set(&key("billing"), &[]);
        assert!(names(&dependents, "database").is_empty());
        assert_eq!(names(&dependents, "cache"), ["shop"]);
        assert!(dependents.of(&OwnerKey::new("other", "cache")).next().is_none(), "of the same namespace alone");
    }
}
