//! What people ask for.

use super::{Answer, Ask, Begin, Content, Decision, HeadView, Request, Resolution, View, is_live, is_rejected};
use crate::api::{Cause, Phase, RequestPhase};

/// The next thing that a request asks for, if one does.
pub(super) fn answer(view: &View<'_>) -> Option<Decision> {
    view.requests.iter().find_map(|request| one(view, request))
}

fn one(view: &View<'_>, request: &Request) -> Option<Decision> {
    if let Some(release) = view.history.made_by_request(&request.uid) {
        return ended(request, release);
    }
    if let Some(message) = &request.inadmissible {
        return Some(refuse(request, message.clone()));
    }
    if request.created_at + view.settings.request_expiry <= view.now {
        let minutes = view.settings.request_expiry.as_mins();
        return Some(refuse(request, format!("it was not carried out within {minutes} minutes: make a new one")));
    }
    if view.settings.observe_only && !request.dry_run {
        return Some(refuse(request, "the controller runs with --observe-only and writes nothing"));
    }
    match &request.ask {
        Ask::Sync { .. } => sync(view, request),
        Ask::Rollback { from, to, .. } => rollback(view, request, *from, *to),
    }
}

/// A request whose release exists follows it.
fn ended(request: &Request, release: &crate::api::Release) -> Option<Decision> {
    let outcome = release.status.as_ref()?.outcome.as_ref()?;
    let phase = if outcome.phase == Phase::Healthy { RequestPhase::Succeeded } else { RequestPhase::Failed };
    let number = release.spec.number;
    let message = match outcome.phase {
        Phase::Healthy => format!("release {number} is Healthy"),
        Phase::Superseded => format!("release {number} was superseded: {}", outcome.message),
        _ => format!("release {number} failed: {}", outcome.message),
    };
    Some(Decision::Answer(Answer { request: request.uid.clone(), phase, message, release: Some(number) }))
}

fn sync(view: &View<'_>, request: &Request) -> Option<Decision> {
    let Ask::Sync { looked, accept, from_release, allow_prune } = &request.ask else { return None };
    if let Some(number) = from_release {
        return Some(match (request.dry_run, view.history.get(*number)) {
            (false, _) => refuse(request, "fromRelease is for dry runs: use a RollbackRequest"),
            (true, None) => refuse(request, format!("release {number} is not kept")),
            (true, Some(_)) => dry_run(request, Content::Release(*number)),
        });
    }
    match looked {
        Resolution::Pending => return Some(Decision::Look { request: request.uid.clone() }),
        Resolution::Looking => return None,
        Resolution::Failed(message) => return Some(refuse(request, message.clone())),
        Resolution::Found if request.dry_run => return Some(dry_run(request, Content::Head)),
        Resolution::Found => {}
    }
    let (content, guards) = match view.head {
        // The head is on its way: an event will bring it.
        HeadView::Unknown => return None,
        HeadView::Broken { message, .. } => return Some(refuse(request, message.clone())),
        HeadView::Rendered { content, guards, .. } => (content, guards),
    };
    if view.suspended {
        return Some(refuse(request, "the application is suspended: resume it first"));
    }
    let rejected = is_rejected(view, content);
    match accept {
        Some(accepted) if *accepted != content.bundle => {
            return Some(refuse(
                request,
                format!(
                    "the head renders {} by now, not the accepted {}",
                    content.bundle.short(12),
                    accepted.short(12)
                ),
            ));
        }
        None if rejected => {
            return Some(refuse(
                request,
                "the head renders content that was rolled back: to let it in again, accept it (bowline sync --accept)",
            ));
        }
        Some(_) | None => {}
    }
    if let (Some(guard), None) = (guards.first(), allow_prune) {
        return Some(refuse(request, guard.to_string()));
    }
    if let Some(running) = view.history.running() {
        if running.spec.bundle == content.bundle {
            // It is what is being done; the request ends with it.
            return follow(view, request, running.spec.number);
        }
        return Some(make_way(view, running.spec.number, "a person asked for a sync"));
    }
    if let Some(newest) = view.history.current()
        && newest.spec.bundle == content.bundle
        && request.told
    {
        // What was asked for was on its way when it was asked, and has ended.
        return ended(request, newest);
    }
    let live = view.history.applied().map(|release| release.spec.number);
    if is_live(view) && view.live.drifted.is_empty() && view.live.gone.is_empty() {
        let message = format!("already in sync with {} (nothing to do)", content.commit.short);
        let phase = RequestPhase::Succeeded;
        return Some(Decision::Answer(Answer { request: request.uid.clone(), phase, message, release: live }));
    }
    Some(Decision::Begin(Begin {
        cause: Cause::Request,
        content: Content::Head,
        request: Some(request.uid.clone()),
        accepts: rejected,
        reason: String::new(),
    }))
}

/// A request for what is already being done ends when that ends; until then it
/// has nothing to say.
fn follow(view: &View<'_>, request: &Request, number: u64) -> Option<Decision> {
    let release = view.history.get(number)?;
    if request.told {
        return ended(request, release);
    }
    let message = format!("release {number} is on its way with this content already");
    let phase = RequestPhase::Running;
    Some(Decision::Answer(Answer { request: request.uid.clone(), phase, message, release: Some(number) }))
}

fn rollback(view: &View<'_>, request: &Request, from: u64, to: Option<u64>) -> Option<Decision> {
    let Some(current) = view.history.current() else {
        return Some(refuse(request, "there is no release to go back from"));
    };
    if current.spec.number != from {
        let now = current.spec.number;
        return Some(refuse(
            request,
            format!("release {from} is no longer current, release {now} is: look again and make a new request"),
        ));
    }
    let target = match to {
        Some(number) => view.history.get(number).ok_or_else(|| {
            let kept: Vec<String> = view.history.releases().iter().map(|release| release.spec.number.to_string()).collect();
            format!("release {number} is not kept; kept are {}", kept.join(", "))
        }),
        None => view.history.rollback_target(from).ok_or_else(|| {
            "there is no earlier release that was healthy with other content: name one (bowline rollback APP RELEASE)".to_owned()
        }),
    };
    let target = match target {
        Ok(target) => target.spec.number,
        Err(message) => return Some(refuse(request, message)),
    };
    if target == from {
        return Some(refuse(request, format!("release {from} is the current one")));
    }
    if request.dry_run {
        return Some(dry_run(request, Content::Release(target)));
    }
    if let Some(running) = view.history.running() {
        return Some(make_way(view, running.spec.number, "a person asked for a rollback"));
    }
    Some(Decision::Begin(Begin {
        cause: Cause::Rollback,
        content: Content::Release(target),
        request: Some(request.uid.clone()),
        accepts: false,
        reason: String::new(),
    }))
}

fn dry_run(request: &Request, content: Content) -> Decision {
    Decision::DryRun { request: request.uid.clone(), content }
}

fn make_way(view: &View<'_>, release: u64, message: &str) -> Decision {
    super::running::make_way(view, release, message.to_owned())
}

fn refuse(request: &Request, message: impl Into<String>) -> Decision {
    Decision::Answer(Answer {
        request: request.uid.clone(),
        phase: RequestPhase::Refused,
        message: message.into(),
        release: None,
    })
}
