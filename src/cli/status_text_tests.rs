//! What `status` says in each state, and that nothing steers a terminal.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::{
    super::testing::{NOW, Releases, ago, application, bundle, head, plain, ready, with_status},
    *,
};
use crate::{
    api::{ApplicationRef, CurrentRelease, HoldStatus, ObjectCounts, ObjectFailure, Pin, ReleaseAfter, SuspensionSpec},
    health::HealthStatus,
};

fn facts(application: Application, releases: Vec<Release>) -> Facts {
    Facts {
        application,
        history: History::new(releases),
        suspensions: Vec::new(),
        objects: Vec::new(),
        unread: Vec::new(),
        program: "bowline",
    }
}

fn text(facts: &Facts) -> String {
    plain(&status_text(facts, NOW))
}

fn newest(releases: &[Release]) -> Option<CurrentRelease> {
    let release = releases.last()?;
    Some(CurrentRelease {
        number: release.spec.number,
        phase: history::phase(release),
        commit: release.spec.commit.id.clone(),
        bundle: release.spec.bundle.clone(),
        applied: None,
        to_apply: None,
    })
}

fn counts(drifted: u32) -> Option<ObjectCounts> {
    Some(ObjectCounts { total: 42, in_sync: 42 - drifted, drifted, healthy: 42 })
}

#[test]
fn in_sync_it_says_what_runs_and_for_how_long() {
    let releases = Releases::of("shop").release(190, |_| {}).ended(Phase::Healthy, 8, "").from(1);
    let application = with_status("shop", |status| {
        status.release = newest(&releases);
        status.objects = counts(0);
    });
    insta::assert_snapshot!(text(&facts(application, releases)), @r#"
    shop is synced with main 4f1c2d9 ("Scale web to 4"): release 1, Healthy for 3m.

      Head    main 4f1c2d9: "Scale web to 4", grace, 4m ago
      Objects 42 in sync, 0 drifted
    "#);
}

#[test]
fn held_it_says_who_rejected_what_and_how_to_let_it_in() {
    let releases = Releases::of("billing")
        .release(90_000, |spec| spec.commit.subject = "Raise worker count".into())
        .ended(Phase::Healthy, 8, "")
        .release(9_000, |spec| spec.commit.subject = "New queue client".into())
        .ended(Phase::Healthy, 8, "")
        .release(7_300, |spec| {
            spec.cause = Cause::Rollback;
            spec.rollback_to = Some(1);
            spec.commit.subject = "Raise worker count".into();
            spec.commit.short = "51e0c3a".into();
            spec.requested_by = "ada".into();
            spec.reason = "queue backs up".into();
        })
        .ended(Phase::Healthy, 4, "")
        .status(|status| {
            status.after = Some(ReleaseAfter {
                repairs: 3,
                last_repair: "ConfigMap worker-env, field data.BATCH, changed by kubectl-edit".into(),
                last_repair_at: Some(ago(660)),
                ..ReleaseAfter::default()
            });
        })
        .from(1);
    let application = with_status("billing", |status| {
        status.sync = Some(SyncStatus::Held);
        status.release = newest(&releases);
        status.head = Some(head("main d0c4f17", "Tidy up"));
        status.hold = Some(HoldStatus {
            bundle: bundle("main d0c4f17"),
            rejected_release: 2,
            rejected_by: 3,
            by: "ada".into(),
            reason: "queue backs up".into(),
        });
        status.objects = counts(0);
        status.note = "0000002 was rolled back by ada: \"queue backs up\"".into();
    });
    insta::assert_snapshot!(text(&facts(application, releases)), @r#"
    billing is held at release 3 (the content of release 1: commit 51e0c3a, "Raise worker count"), Healthy for 2h.

      Why     release 2 (0000002, "New queue client", grace@example.com) was rolled back by ada 2h ago: "queue backs up"
      Head    main d0c4f17: "Tidy up", grace, 4m ago
              it renders the content of release 2 (bundle 1bba88d9…), so it stays out
      Next    goes on by itself when main renders different content
              to let this content in again:   bowline sync billing --accept
      Objects 42 in sync, 0 drifted; 3 repaired since release 3 (last 11m ago: ConfigMap worker-env, field data.BATCH, changed by kubectl-edit)
    "#);
}

#[test]
fn syncing_it_says_what_it_waits_for_and_what_happens_at_the_deadline() {
    let releases = Releases::of("search")
        .release(520_000, |spec| spec.commit.short = "v1.8.2".into())
        .ended(Phase::Healthy, 8, "")
        .release(12, |spec| {
            spec.commit.short = "v1.8.3".into();
            spec.commit.subject = "Faster index".into();
        })
        .phase(Phase::Waiting)
        .from(1);
    let application = with_status("search", |status| {
        status.sync = Some(SyncStatus::Syncing);
        status.health = Some(HealthStatus::Progressing);
        status.release = newest(&releases);
        status.note = "waiting for StatefulSet search/index: 1 of 3 replicas ready".into();
    });
    let mut facts = facts(application, releases);
    facts.objects = vec![Unhealthy {
        object: "StatefulSet search/index".into(),
        health: Some(HealthStatus::Progressing),
        message: "1 of 3 replicas ready".into(),
        pods: vec![PodProblem {
            name: "index-1".into(),
            health: Health::new(HealthStatus::Degraded, "container index: CrashLoopBackOff, exit code 2, 3 restarts"),
            last_line: Some("config: unknown key 'shardz'".into()),
        }],
    }];
    facts.unread = vec!["logs: pods/log is forbidden".into()];
    insta::assert_snapshot!(text(&facts), @r#"
    search is syncing release 2 (v1.8.3, "Faster index"), 12s of 5m.

      Head    main 4f1c2d9: "Scale web to 4", grace, 4m ago

      Waiting for
        StatefulSet search/index   1 of 3 replicas ready
          Pod index-1              container index: CrashLoopBackOff, exit code 2, 3 restarts
                                   last line: "config: unknown key 'shardz'"
      If it is not healthy in 4m48s it goes back to release 1 (v1.8.2, Healthy for 6d).
      not read: logs: pods/log is forbidden
    "#);
}

#[test]
fn failed_it_says_each_object_that_failed_and_what_to_do() {
    let message = "Service team-b/web: spec.clusterIP is immutable";
    let releases = Releases::of("legacy")
        .release(600, |_| {})
        .ended(Phase::Healthy, 8, "")
        .release(540, |_| {})
        .ended(Phase::Failed, 1, message)
        .status(|status| {
            let outcome = status.outcome.as_mut();
            let failure = |object: &str, message: &str| ObjectFailure {
                object: object.into(),
                health: None,
                message: message.into(),
            };
            if let Some(outcome) = outcome {
                outcome.failures = vec![
                    failure("Service team-b/web", "spec.clusterIP is immutable"),
                    failure("ConfigMap team-b/env", "data.X must be text"),
                ];
            }
        })
        .from(1);
    let application = with_status("legacy", |status| {
        status.sync = Some(SyncStatus::Failed);
        status.release = newest(&releases);
        status.note = message.into();
        status.next = "fix it in Git; to try again as it is: bowline sync legacy".into();
    });
    insta::assert_snapshot!(text(&facts(application, releases)), @r#"
    legacy failed: release 2 (0000002, "Change 2") ended 8m ago.

      Why     Service team-b/web: spec.clusterIP is immutable
              ConfigMap team-b/env: data.X must be text
      Head    main 4f1c2d9: "Scale web to 4", grace, 4m ago
      Next    fix it in Git; to try again as it is: bowline sync legacy
    "#);
}

#[test]
fn a_render_that_fails_says_where_and_leaves_what_runs_alone() {
    let releases = Releases::of("shop").release(7_000, |_| {}).ended(Phase::Healthy, 8, "").from(1);
    let message = "web.yaml:3:5: a value is missing";
    let application = with_status("shop", |status| {
        status.sync = Some(SyncStatus::Failed);
        status.release = newest(&releases);
        status.note = message.into();
        status.next = "what runs is left alone; fix it in Git".into();
        let mut rendered = ready("False", 5);
        rendered.type_ = "Rendered".into();
        rendered.message = message.into();
        status.conditions.push(rendered);
    });
    insta::assert_snapshot!(text(&facts(application, releases)), @r#"
    shop cannot be synced with its head; release 1 runs, Healthy for 1h.

      Why     web.yaml:3:5: a value is missing
      Head    main 4f1c2d9: "Scale web to 4", grace, 4m ago
      Next    what runs is left alone; fix it in Git
    "#);
}

#[test]
fn suspended_it_says_by_whom_why_and_until_when() {
    let releases = Releases::of("shop").release(7_000, |_| {}).ended(Phase::Healthy, 8, "").from(1);
    let application = with_status("shop", |status| {
        status.sync = Some(SyncStatus::Suspended);
        status.release = newest(&releases);
        status.note = "suspended by ada: maintenance".into();
    });
    let mut facts = facts(application, releases);
    let mut suspension = Suspension::new(
        "shop-x",
        SuspensionSpec {
            application_ref: ApplicationRef { name: "shop".into() },
            reason: "maintenance".into(),
            until: Some(NOW + SignedDuration::from_mins(90)),
            requested_by: "ada".into(),
        },
    );
    suspension.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(ago(300)));
    facts.suspensions = vec![suspension];
    insta::assert_snapshot!(text(&facts), @r#"
    shop is suspended; release 1 runs, Healthy for 1h.

      Stopped by ada 5m ago: "maintenance", for 1h30m more
      Head    main 4f1c2d9: "Scale web to 4", grace, 4m ago
      Next    to go on:   bowline resume shop
    "#);
}

#[test]
fn out_of_sync_and_pinned_it_says_what_it_waits_for() {
    let releases = Releases::of("shop").release(7_000, |_| {}).ended(Phase::Healthy, 8, "").from(1);
    let application = with_status("shop", |status| {
        status.sync = Some(SyncStatus::OutOfSync);
        status.release = newest(&releases);
        status.note = "commit 4f1c2d9 waits for a person (sync.mode is Manual)".into();
        status.next = "to apply it: bowline sync shop".into();
        status.pin = Some(Pin { revision: "v1.2".into(), commit: "c".into(), head_then: "h".into(), by: "ada".into() });
        status.objects = counts(2);
    });
    insta::assert_snapshot!(text(&facts(application, releases)), @r#"
    shop is out of sync with main 4f1c2d9 ("Scale web to 4"); release 1 runs, Healthy for 1h.

      Why     commit 4f1c2d9 waits for a person (sync.mode is Manual)
      Pinned  ada asked for v1.2; it stays until the head changes
      Head    main 4f1c2d9: "Scale web to 4", grace, 4m ago
      Next    to apply it: bowline sync shop
      Objects 40 in sync, 2 drifted
    "#);
}

#[test]
fn an_automatic_rollback_is_told_with_what_broke() {
    let releases = Releases::of("shop")
        .release(90_000, |_| {})
        .ended(Phase::Healthy, 8, "")
        .release(900, |_| {})
        .ended(Phase::Failed, 300, "not healthy in 5m: Deployment team-a/web: 0 of 3 replicas available")
        .release(600, |spec| {
            spec.cause = Cause::AutomaticRollback;
            spec.rollback_to = Some(1);
            spec.reason = "not healthy in 5m: Deployment team-a/web: 0 of 3 replicas available".into();
        })
        .ended(Phase::Healthy, 5, "")
        .from(1);
    let application = with_status("shop", |status| {
        status.sync = Some(SyncStatus::Held);
        status.release = newest(&releases);
        status.hold = Some(HoldStatus {
            bundle: bundle("main 4f1c2d9"),
            rejected_release: 2,
            rejected_by: 3,
            by: String::new(),
            reason: "not healthy in 5m".into(),
        });
    });
    insta::assert_snapshot!(text(&facts(application, releases)), @r#"
    shop is held at release 3 (the content of release 1: commit 0000003, "Change 3"), Healthy for 9m.

      Why     release 2 (0000002, "Change 2", grace@example.com) was taken back automatically 10m ago: not healthy in 5m: Deployment team-a/web: 0 of 3 replicas available
      Head    main 4f1c2d9: "Scale web to 4", grace, 4m ago
              it renders the content of release 2 (bundle 4a59a91f…), so it stays out
      Next    goes on by itself when main renders different content
              to let this content in again:   bowline sync shop --accept
    "#);
}

#[test]
fn without_a_status_it_asks_for_the_controller() {
    let text = text(&facts(application("team-a", "new"), Vec::new()));
    assert_eq!(text, "new has not been looked at by a controller yet; is one running?\n");
}

#[test]
fn being_deleted_comes_before_everything() {
    let mut deleted = with_status("shop", |_| {});
    deleted.metadata.deletion_timestamp = deleted.metadata.creation_timestamp.clone();
    assert!(text(&facts(deleted, Vec::new())).starts_with("shop is being deleted.\n"));
}

#[test]
fn an_answer_fits_without_the_history() {
    let application = with_status("billing", |status| {
        status.sync = Some(SyncStatus::Held);
        status.hold = Some(HoldStatus {
            bundle: bundle("b"),
            rejected_release: 2,
            rejected_by: 3,
            by: "ada".into(),
            reason: "queue backs up".into(),
        });
    });
    let text = text(&facts(application, Vec::new()));
    assert!(text.starts_with("billing is held.\n") && text.contains("release 2 was rejected by release 3"), "{text}");
}

proptest! {
    #[test]
    fn any_status_makes_lines_that_cannot_steer_a_terminal(
        text in any::<String>(),
        sync in proptest::sample::select(SyncStatus::ALL),
        number in 0_u64..5,
        seconds in -100_000_i64..100_000,
        counts in any::<(u32, u32, u32)>(),
        ended in any::<bool>(),
    ) {
        let told = text.clone();
        let mut releases = Releases::of("shop").release(seconds, |spec| {
            spec.commit.short.clone_from(&told);
            spec.commit.subject.clone_from(&told);
            spec.commit.author.clone_from(&told);
            spec.reason.clone_from(&told);
            spec.requested_by.clone_from(&told);
        });
        if ended {
            releases = releases.ended(Phase::Failed, seconds, &told);
        }
        let application = with_status("shop", |status| {
            status.sync = Some(sync);
            status.note.clone_from(&told);
            status.next.clone_from(&told);
            status.head = Some(head(&told, &told));
            status.hold = Some(HoldStatus { bundle: bundle(&told), rejected_release: number, rejected_by: 1, by: told.clone(), reason: told.clone() });
            status.pin = Some(Pin { revision: told.clone(), commit: told.clone(), head_then: told.clone(), by: told.clone() });
            status.objects = Some(ObjectCounts { total: counts.0, in_sync: counts.1, drifted: counts.2, healthy: counts.0 / 2 });
            status.release = Some(CurrentRelease { number, phase: Phase::Applying, commit: told.clone(), bundle: bundle("b"), applied: Some(counts.0), to_apply: None });
        });
        let mut facts = facts(application, releases.from(1));
        facts.objects = vec![Unhealthy {
            object: told.clone(),
            health: Some(HealthStatus::Degraded),
            message: told.clone(),
            pods: vec![PodProblem { name: told.clone(), health: Health::new(HealthStatus::Degraded, told.clone()), last_line: Some(told) }],
        }];
        facts.unread = vec![text];
        let painted = status_text(&facts, NOW);
        let shown = plain(&painted);
        prop_assert!(!shown.contains(|character: char| character.is_control() && character != '\n'), "{:?}", shown);
        let newest_first: Vec<&Release> = facts.history.releases().iter().rev().collect();
        let table = plain(&history::table(&newest_first, true, NOW));
        prop_assert!(!table.contains(|character: char| character.is_control() && character != '\n'), "{:?}", table);
        let line = plain(&super::super::get::table(std::slice::from_ref(&facts.application), true, true, NOW));
        prop_assert_eq!(line.lines().count(), 2);
    }
}
