//! The spans of an actor's work: one trace for what is on its way from a commit
//! to the cluster.
//!
//! ```text
//! deploy, rollback   from the commit, or the beginning of the release, to its end
//! ├─ fetch, render   told of when they are over: only then is it known that there is something to tell
//! ├─ plan
//! ├─ apply           a stage of the plan
//! │  └─ write, prune     the objects of one kind (cluster::apply)
//! └─ wait            for health, for a gate, for others, until the next try
//! repair, delete     a trace of their own
//! ```
//!
//! A span of work is open while the work is done, and the first one while its
//! release runs: none is open while the application rests. Where nobody exports
//! them they cost nothing.

use std::time::{Duration, Instant};

use tracing::{Id, Span, field::Empty, info_span};

use super::{
    Actor,
    content::{Looked, problem_words},
    outcome,
};
use crate::{
    api::{Cause, Phase, Release},
    cluster::{OwnerKey, apply::ActionResult},
    controller::decide::Stage,
    plan::{Action, Plan},
    telemetry::SPANS,
};

/// A span with what all of them have.
macro_rules! span {
    ($parent:expr, $owner:expr, $name:literal $(, $key:literal = $value:expr)*) => {
        info_span!(
            target: SPANS,
            parent: $parent,
            $name,
            "bowline.application.namespace" = $owner.namespace(),
            "bowline.application.name" = $owner.name(),
            "error.type" = Empty,
            "otel.status_description" = Empty
            $(, $key = $value)*
        )
    };
}

/// The trace of what is under way, and of the head that comes next.
#[derive(Debug)]
pub(super) struct Trace {
    owner: OwnerKey,
    fetched: Option<Fetched>,
    /// The commit that no release brings yet.
    coming: Option<(String, Span)>,
    running: Option<Span>,
    /// Whether what runs is no release.
    alone: bool,
    wait: Option<(&'static str, Span)>,
}

/// A fetch that was over at a moment.
#[derive(Debug)]
struct Fetched {
    at: Instant,
    took: Duration,
}

impl Trace {
    pub(super) fn of(owner: &OwnerKey) -> Self {
        Self { owner: owner.clone(), fetched: None, coming: None, running: None, alone: false, wait: None }
    }

    /// A commit was fetched.
    pub(super) fn fetched(&mut self, took: Duration) {
        self.fetched = Some(Fetched { at: Instant::now(), took });
    }

    /// The commit changes nothing here: there is nothing to tell.
    fn unchanged(&mut self) {
        self.fetched = None;
    }

    /// A commit was rendered just now, or could not be, for a reason.
    fn rendered(&mut self, commit: &str, took: Duration, came: Result<usize, (&str, &str)>) {
        let fetched = self.fetched.take().map(|fetched| (fetched.at.elapsed() + fetched.took, fetched.took));
        let root = match self.coming.take() {
            Some((of, root)) if of == commit => root,
            _ => self.root("deploy", commit, fetched.map_or(took, |(ago, _)| ago)),
        };
        if let Some((ago, took)) = fetched {
            let (ago, took) = (microseconds(ago), microseconds(took));
            span!(root.id(), self.owner, "fetch", "bowline.earlier" = ago, "bowline.took" = took);
        }
        let earlier = microseconds(took);
        let render = span!(
            root.id(),
            self.owner,
            "render",
            "vcs.ref.head.revision" = commit,
            "bowline.objects" = Empty,
            "bowline.earlier" = earlier
        );
        match came {
            Ok(objects) => {
                render.record("bowline.objects", number(objects));
            }
            Err((reason, message)) => {
                fail(&render, reason, message);
                fail(&root, reason, message);
            }
        }
        self.coming = Some((commit.to_owned(), root));
    }

    /// A release is taken up, at its beginning or after a restart.
    pub(super) fn taken_up(&mut self, release: &Release) {
        let spec = &release.spec;
        let goes_back = matches!(spec.cause, Cause::Rollback | Cause::AutomaticRollback);
        let root = match self.coming.take() {
            Some((commit, root)) if commit == spec.commit.id && !goes_back => root,
            _ => self.root(if goes_back { "rollback" } else { "deploy" }, &spec.commit.id, Duration::ZERO),
        };
        root.record("bowline.release.number", i64::try_from(spec.number).unwrap_or(i64::MAX));
        root.record("bowline.release.cause", spec.cause.as_str());
        (self.running, self.alone, self.wait) = (Some(root), false, None);
    }

    /// The release that was taken up has ended.
    pub(super) fn ended(&mut self, phase: Phase, message: &str) {
        self.wait = None;
        let Some(root) = self.running.take() else { return };
        root.record("bowline.release.outcome", phase.as_str());
        if phase == Phase::Failed {
            fail(&root, phase.as_str(), message);
        }
    }

    /// Work begins that belongs to no release, unless one is running.
    pub(super) fn alone(&mut self, name: &'static str) {
        if self.running.is_none() {
            self.running = Some(span!(None::<Id>, self.owner, "work", "otel.name" = name));
            self.alone = true;
        }
    }

    /// Such work has ended.
    pub(super) fn alone_ended(&mut self) {
        if std::mem::take(&mut self.alone) {
            self.running = None;
        }
    }

    /// Such work did not succeed.
    pub(super) fn alone_failed(&self, reason: &str, message: &str) {
        if let Some(root) = self.running.as_ref().filter(|_| self.alone) {
            fail(root, reason, message);
        }
    }

    /// A plan is made.
    pub(super) fn plan(&self) -> Span {
        span!(self.parent(), self.owner, "plan", "bowline.plan.writes" = Empty)
    }

    /// Writes are carried out: those of a stage, or of a repair.
    pub(super) fn apply(&self, actions: &[&Action]) -> Span {
        let stage = actions.first().map_or(0, |action| i64::from(action.stage));
        span!(
            self.parent(),
            self.owner,
            "apply",
            "bowline.plan.stage" = stage,
            "bowline.objects" = number(actions.len()),
            "bowline.objects.written" = Empty
        )
    }

    /// The application rests although a release is running: from now on it
    /// waits.
    fn waits(&mut self, stage: &Stage) {
        let what = match stage {
            Stage::Applied => "health",
            Stage::Planned { .. } => "gate",
            Stage::Retry { .. } => "retry",
            Stage::Unplanned | Stage::Failed { .. } => "others",
        };
        if self.running.is_some() && self.wait.as_ref().is_none_or(|(known, _)| *known != what) {
            self.wait = Some((what, span!(self.parent(), self.owner, "wait", "bowline.wait.for" = what)));
        }
    }

    /// What a release waited for is there, or over.
    pub(super) fn works(&mut self) {
        self.wait = None;
    }

    /// The application rests, and no release is running: none came of the head.
    fn rests(&mut self) {
        (self.coming, self.running, self.wait) = (None, None, None);
    }

    fn parent(&self) -> Option<Id> {
        self.running.as_ref().and_then(Span::id)
    }

    /// The first span of a trace, which began a while ago.
    fn root(&self, name: &'static str, commit: &str, earlier: Duration) -> Span {
        span!(
            None::<Id>,
            self.owner,
            "deploy",
            "otel.name" = name,
            "vcs.ref.head.revision" = commit,
            "bowline.release.number" = Empty,
            "bowline.release.cause" = Empty,
            "bowline.release.outcome" = Empty,
            "bowline.earlier" = microseconds(earlier)
        )
    }
}

impl Actor {
    /// Tells of a look at a commit that took so long; `content_is_known` where
    /// it was rendered anew without a new commit and came to the same.
    pub(super) fn trace_render(&mut self, commit: &str, took: Duration, looked: &Looked, content_is_known: bool) {
        let trace = &mut self.known.trace;
        match looked {
            Looked::Same => trace.unchanged(),
            Looked::Rendered(..) if content_is_known => trace.unchanged(),
            Looked::Rendered(_, render) => trace.rendered(commit, took, Ok(render.manifests.len())),
            Looked::Unreadable(error) => {
                trace.rendered(commit, took, Err((error.reason(), error.to_string().as_str())))
            }
            Looked::Undiscovered { reason, message } => trace.rendered(commit, took, Err((*reason, message.as_str()))),
            Looked::Failed(_, problems, _) => {
                trace.rendered(commit, took, Err(("RenderFailed", problem_words(commit, problems).as_str())));
            }
        }
    }

    /// The application comes to a rest.
    pub(super) fn trace_rest(&mut self) {
        match &self.known.attempt {
            Some(attempt) => self.known.trace.waits(&attempt.stage),
            None => self.known.trace.rests(),
        }
    }
}

/// What a plan came to.
pub(super) fn planned(span: &Span, plan: &Plan) {
    span.record("bowline.plan.writes", number(plan.writes().count()));
    if let Some(refusal) = plan.refusals.first() {
        fail(span, refusal.reason.as_str(), &refusal.to_string());
    }
}

/// What writes came to.
pub(super) fn applied(span: &Span, results: &[ActionResult]) {
    let written = results.iter().filter(|result| outcome::wrote(&result.outcome)).count();
    span.record("bowline.objects.written", number(written));
    if let Some(failed) = results.iter().find(|result| !result.outcome.is_done()) {
        fail(span, "ApplyFailed", &format!("{}: {}", failed.id, outcome::message(&failed.outcome)));
    }
}

fn fail(span: &Span, reason: &str, message: &str) {
    span.record("error.type", reason);
    span.record("otel.status_description", message);
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        collections::BTreeMap,
        fmt,
        sync::{Arc, Mutex},
    };

    use tracing::{
        Subscriber,
        field::{Field, Visit},
        span::{Attributes, Record},
    };
    use tracing_subscriber::{
        Layer,
        layer::{Context, SubscriberExt as _},
    };

    use super::*;
    use crate::telemetry::{EARLIER, TOOK};

    struct Recorded {
        id: Id,
        parent: Option<Id>,
        fields: BTreeMap<&'static str, String>,
        name: &'static str,
        open: bool,
    }

    impl Visit for Recorded {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.fields.insert(field.name(), format!("{value:?}"));
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            self.fields.insert(field.name(), value.to_owned());
        }
    }

    /// Notes all spans.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<Recorded>>>);

    impl<S: Subscriber> Layer<S> for Recorder {
        fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
            let (name, parent) = (attributes.metadata().name(), attributes.parent().cloned());
            let mut recorded = Recorded { id: id.clone(), parent, fields: BTreeMap::new(), name, open: true };
            attributes.record(&mut recorded);
            self.0.lock().unwrap().push(recorded);
        }

        fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
            let mut spans = self.0.lock().unwrap();
            values.record(spans.iter_mut().rev().find(|span| span.id == *id).unwrap());
        }

        fn on_close(&self, id: Id, _: Context<'_, S>) {
            self.0.lock().unwrap().iter_mut().rev().find(|span| span.id == id).unwrap().open = false;
        }
    }

    /// The spans of some work as a story: each with what it says, below the one
    /// that it belongs to.
    fn story(work: impl FnOnce(&mut Trace)) -> String {
        let recorder = Recorder::default();
        let mut trace = Trace::of(&OwnerKey::new("team-a", "shop"));
        let mut story = String::new();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(recorder.clone()), || {
            work(&mut trace);
            for span in recorder.0.lock().unwrap().iter() {
                assert_eq!(span.fields["bowline.application.namespace"], "team-a");
                assert_eq!(span.fields["bowline.application.name"], "shop");
                let left_out = |name: &str| name.starts_with("bowline.application") || name == EARLIER || name == TOOK;
                let said = span.fields.iter().filter(|(name, _)| !left_out(name));
                let said: String = said.map(|(name, value)| format!(" {name}={value}")).collect();
                let below = if span.parent.is_some() { "  " } else { "" };
                story += &format!("{below}{}{said}{}\n", span.name, if span.open { " (open)" } else { "" });
            }
        });
        story
    }

    fn release(number: u64, cause: Cause, commit: &str) -> Release {
        let spec = serde_json::from_value(serde_json::json!({
            "application": "shop", "number": number, "cause": cause, "commit": { "id": commit, "short": commit },
            "bundle": crate::manifest::BundleDigest(crate::manifest::Digest::of(b"b")),
            "inputs": crate::manifest::InputDigest(crate::manifest::Digest::of(b"i")),
            "counts": {}, "createdAt": jiff::Timestamp::UNIX_EPOCH,
        }));
        Release::new(&format!("shop-{number}"), spec.unwrap())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_brings_a_commit_to_the_cluster_is_one_trace_that_ends_with_its_release() {
        let told = story(|trace| {
            trace.fetched(SECOND);
            trace.rendered("c1", SECOND, Ok(3));
            trace.taken_up(&release(1, Cause::Push, "c1"));
            drop(trace.plan());
            drop(trace.apply(&[]));
            trace.waits(&Stage::Applied);
            trace.waits(&Stage::Applied);
            trace.works();
            trace.ended(Phase::Healthy, "");
        });
        insta::assert_snapshot!(told, @r"
        deploy bowline.release.cause=Push bowline.release.number=1 bowline.release.outcome=Healthy otel.name=deploy vcs.ref.head.revision=c1
          fetch
          render bowline.objects=3 vcs.ref.head.revision=c1
          plan
          apply bowline.objects=0 bowline.plan.stage=0
          wait bowline.wait.for=health
        ");
    }

    #[test]
    fn a_release_that_fails_and_the_one_that_takes_it_back_are_two_traces() {
        let told = story(|trace| {
            trace.rendered("c2", SECOND, Ok(3));
            trace.taken_up(&release(2, Cause::Push, "c2"));
            trace.ended(Phase::Failed, "not healthy in 5m");
            trace.taken_up(&release(3, Cause::AutomaticRollback, "c1"));
            drop(trace.plan());
        });
        insta::assert_snapshot!(told, @r"
        deploy bowline.release.cause=Push bowline.release.number=2 bowline.release.outcome=Failed error.type=Failed otel.name=deploy otel.status_description=not healthy in 5m vcs.ref.head.revision=c2
          render bowline.objects=3 vcs.ref.head.revision=c2
        deploy bowline.release.cause=AutomaticRollback bowline.release.number=3 otel.name=rollback vcs.ref.head.revision=c1 (open)
          plan
        ");
    }

    #[test]
    fn a_newer_commit_waits_with_its_trace_for_the_end_of_the_release_before() {
        let told = story(|trace| {
            trace.rendered("c1", SECOND, Ok(3));
            trace.taken_up(&release(1, Cause::Push, "c1"));
            trace.rendered("c2", SECOND, Ok(3));
            trace.ended(Phase::Superseded, "c2 is newer");
            trace.taken_up(&release(2, Cause::Push, "c2"));
        });
        insta::assert_snapshot!(told, @r"
        deploy bowline.release.cause=Push bowline.release.number=1 bowline.release.outcome=Superseded otel.name=deploy vcs.ref.head.revision=c1
          render bowline.objects=3 vcs.ref.head.revision=c1
        deploy bowline.release.cause=Push bowline.release.number=2 otel.name=deploy vcs.ref.head.revision=c2 (open)
          render bowline.objects=3 vcs.ref.head.revision=c2
        ");
    }

    #[test]
    fn no_span_is_open_while_nothing_is_under_way() {
        let told = story(|trace| {
            trace.fetched(SECOND);
            trace.unchanged();
            trace.rendered("c1", SECOND, Err(("RenderFailed", "line 3: no kind")));
            trace.rests();
            trace.alone("repair");
            drop(trace.plan());
            trace.alone_failed("RepairFailed", "forbidden");
            trace.alone_ended();
        });
        insta::assert_snapshot!(told, @r"
        deploy error.type=RenderFailed otel.name=deploy otel.status_description=line 3: no kind vcs.ref.head.revision=c1
          render error.type=RenderFailed otel.status_description=line 3: no kind vcs.ref.head.revision=c1
        work error.type=RepairFailed otel.name=repair otel.status_description=forbidden
          plan
        ");
    }

    #[test]
    fn what_was_over_before_it_was_told_says_when_it_was() {
        let recorder = Recorder::default();
        let mut trace = Trace::of(&OwnerKey::new("team-a", "shop"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(recorder.clone()), || {
            trace.fetched(2 * SECOND);
            trace.rendered("c1", SECOND, Ok(1));
        });
        let spans = recorder.0.lock().unwrap();
        let seconds = |at: usize, name| spans[at].fields[name].parse::<i64>().unwrap() / 1_000_000;
        assert_eq!((spans[1].name, seconds(1, EARLIER), seconds(1, TOOK)), ("fetch", 2, 2));
        assert_eq!((spans[2].name, seconds(2, EARLIER)), ("render", 1));
        assert_eq!(seconds(0, EARLIER), 2, "the trace begins with the fetch");
    }
}
