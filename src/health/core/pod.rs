//! Pods: phase, containers, scheduling.
//!
//! States and reasons: <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>.

use serde_json::Value;

use crate::health::{Health, HealthStatus, conditions, fields};

/// Judges a pod.
pub(super) fn pod(object: &Value) -> Health {
    let status_message = || {
        let reason = fields::text(object, "status.reason");
        let message = fields::text(object, "status.message");
        match (reason, message) {
            (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
            (one, other) => one.or(other).map(str::to_owned),
        }
    };
    match fields::text(object, "status.phase") {
        Some("Succeeded") => Health::healthy(),
        Some("Failed") => {
            let reason = status_message().or_else(|| failure(object)).unwrap_or_else(|| "failed".to_owned());
            Health::degraded(reason)
        }
        Some("Unknown") => Health::new(
            HealthStatus::Unknown,
            status_message().unwrap_or_else(|| "its node does not tell its state".to_owned()),
        ),
        Some("Running") => running(object),
        _ => pending(object),
    }
}

/// What is wrong with a pod, for the reason of the workload behind it; `None`
/// for a pod that is well.
pub(in crate::health) fn pod_problem(object: &Value) -> Option<Health> {
    if fields::at(object, "metadata.deletionTimestamp").is_some_and(|at| !at.is_null()) {
        return None;
    }
    let health = pod(object);
    matches!(health.status, HealthStatus::Degraded | HealthStatus::Progressing).then_some(health)
}

fn pending(object: &Value) -> Health {
    if let Some(reason) = failure(object) {
        return Health::degraded(reason);
    }
    if let Some(condition) = conditions::find(object, "PodScheduled").filter(conditions::Condition::fails) {
        return Health::progressing(match condition.reason {
            "SchedulingGated" => "is held back by a scheduling gate".to_owned(),
            _ => format!("cannot be scheduled: {}", condition.why()),
        });
    }
    let waiting = containers(object).find_map(|container| container.waits());
    Health::progressing(waiting.unwrap_or_else(|| "is pending".to_owned()))
}

fn running(object: &Value) -> Health {
    if let Some(reason) = failure(object) {
        return Health::degraded(reason);
    }
    // A pod that is not started again runs to its end, as a Job does.
    if matches!(fields::text(object, "spec.restartPolicy"), Some("Never" | "OnFailure")) {
        return Health::progressing("runs to its end, and has not ended yet");
    }
    let all_ready = || {
        let mut apps = containers(object).filter(|container| !container.setup).peekable();
        apps.peek().is_some() && apps.all(|container| container.ready())
    };
    match conditions::find(object, "Ready") {
        Some(condition) if condition.holds() => return Health::healthy(),
        None if all_ready() => return Health::healthy(),
        _ => {}
    }
    if let Some(waits) = containers(object).find_map(|container| container.waits()) {
        return Health::progressing(waits);
    }
    if let Some(container) = containers(object).find(|container| !container.setup && !container.ready()) {
        return Health::progressing(format!("{}: not ready", container.name()));
    }
    match conditions::find(object, "Ready") {
        Some(condition) if !condition.why().is_empty() => {
            Health::progressing(format!("not ready: {}", condition.why()))
        }
        _ => Health::progressing("not ready"),
    }
}

/// The first container that failed, or cannot start.
fn failure(object: &Value) -> Option<String> {
    let restarts = !matches!(fields::text(object, "spec.restartPolicy"), Some("Never" | "OnFailure"));
    containers(object).find_map(|container| container.failure(restarts))
}

/// One container of a pod with what it is.
#[derive(Clone, Copy)]
struct Container<'a> {
    status: &'a Value,
    /// Listed under the init containers.
    init: bool,
    /// An init container that ends before the others start; a sidecar is an
    /// init container that does not.
    setup: bool,
}

fn containers(object: &Value) -> impl Iterator<Item = Container<'_>> {
    let sidecar = |name: Option<&str>| {
        fields::list(object, "spec.initContainers")
            .iter()
            .filter(|container| fields::text(container, "restartPolicy") == Some("Always"))
            .any(|container| fields::text(container, "name") == name)
    };
    let init = fields::list(object, "status.initContainerStatuses").iter().map(move |status| Container {
        status,
        init: true,
        setup: !sidecar(fields::text(status, "name")),
    });
    let app = fields::list(object, "status.containerStatuses").iter().map(|status| Container {
        status,
        init: false,
        setup: false,
    });
    init.chain(app)
}

impl Container<'_> {
    fn name(&self) -> String {
        let name = fields::text(self.status, "name").unwrap_or("without a name");
        if self.init { format!("init container {name}") } else { format!("container {name}") }
    }

    fn ready(&self) -> bool {
        fields::flag(self.status, "ready")
    }

    /// What a container that has not started waits for, where it may get there.
    fn waits(&self) -> Option<String> {
        let waiting = fields::at(self.status, "state.waiting")?;
        let reason = fields::text(waiting, "reason")?;
        // A container behind init containers says nothing of its own.
        if reason == "PodInitializing" {
            return None;
        }
        Some(match fields::text(waiting, "message") {
            Some(message) => format!("{}: {reason}: {message}", self.name()),
            None => format!("{}: {reason}", self.name()),
        })
    }

    /// Why a container failed or cannot start. `restarts`: every container of
    /// the pod is started again, whatever its exit code.
    fn failure(&self, restarts: bool) -> Option<String> {
        let name = self.name();
        if let Some(waiting) = fields::at(self.status, "state.waiting").filter(|state| !state.is_null()) {
            let reason = fields::text(waiting, "reason")?;
            if !is_terminal(reason) {
                return None;
            }
            let exit = fields::at(self.status, "lastState.terminated").map(ended).unwrap_or_default();
            return Some(match (fields::text(waiting, "message"), exit.as_str()) {
                // The message of a crash loop is only its delay.
                (_, exit) if reason == "CrashLoopBackOff" && !exit.is_empty() => format!("{name}: {reason}, {exit}"),
                (Some(message), _) => format!("{name}: {reason}: {message}"),
                (None, "") => format!("{name}: {reason}"),
                (None, exit) => format!("{name}: {reason}, {exit}"),
            });
        }
        if let Some(terminated) = fields::at(self.status, "state.terminated").filter(|state| !state.is_null()) {
            let code = fields::number(terminated, "exitCode").unwrap_or(0);
            if code != 0 || (restarts && !self.setup && fields::text(terminated, "reason") == Some("Error")) {
                return Some(format!("{name}: {}", ended(terminated)));
            }
            return None;
        }
        // It crashed before, was started again and is not ready: it fails now.
        let last = fields::at(self.status, "lastState.terminated")?;
        let code = fields::number(last, "exitCode").unwrap_or(0);
        if restarts && !self.setup && !self.ready() && code != 0 {
            let times = fields::count(fields::number(self.status, "restartCount").unwrap_or(1), "restart");
            return Some(format!("{name}: not ready after {times}; {} before", ended(last)));
        }
        None
    }
}

/// `exit code 1`, `exit code 137 (OOMKilled)`, with the message it left.
fn ended(terminated: &Value) -> String {
    let code = fields::number(terminated, "exitCode").unwrap_or(0);
    let mut text = format!("exit code {code}");
    if let Some(reason) =
        fields::text(terminated, "reason").filter(|&reason| reason != "Error" && reason != "Completed")
    {
        text.push_str(" (");
        text.push_str(reason);
        text.push(')');
    }
    if let Some(message) = fields::text(terminated, "message") {
        text.push_str(": ");
        text.push_str(message.trim());
    }
    text
}

/// Whether a container that waits for this reason does not get there by
/// itself. The kubelet's own reasons are `CrashLoopBackOff`,
/// `ImagePullBackOff`, `ErrImagePull`, `ErrImageNeverPull`,
/// `InvalidImageName`, `ImageInspectError`, `CreateContainerConfigError`,
/// `CreateContainerError`, `RunContainerError`, `PostStartHookError`; runtimes
/// add more of the same shape.
fn is_terminal(reason: &str) -> bool {
    reason.starts_with("Err")
        || reason.starts_with("Invalid")
        || reason.ends_with("Error")
        || reason.ends_with("BackOff")
        || reason.ends_with("Failed")
        || reason == "RegistryUnavailable"
        || reason == "ContainerCannotRun"
}

#[cfg(test)]
mod tests {
    use HealthStatus::{Degraded, Healthy, Progressing, Unknown};
    use rstest::rstest;

    use super::*;
    use crate::health::core::tests::expect;

    #[rstest]
    #[case::not_seen_yet("{}", Progressing, "is pending")]
    #[case::pending("status: {phase: Pending}", Progressing, "is pending")]
    #[case::unschedulable(
        "status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: '0/3 nodes are available: 3 Insufficient cpu.'}]}",
        Progressing,
        "cannot be scheduled: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."
    )]
    #[case::gated(
        "status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]}",
        Progressing,
        "is held back by a scheduling gate"
    )]
    #[case::creating(
        "status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ContainerCreating}}}]}",
        Progressing,
        "container app: ContainerCreating"
    )]
    #[case::pull_fails(
        "status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image \"shop:9\"'}}}]}",
        Degraded,
        "container app: ImagePullBackOff: Back-off pulling image \"shop:9\""
    )]
    #[case::pull_refused(
        "status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ErrImagePull}}}]}",
        Degraded,
        "container app: ErrImagePull"
    )]
    #[case::bad_image_name(
        "status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: InvalidImageName}}}]}",
        Degraded,
        "container app: InvalidImageName"
    )]
    #[case::config_missing(
        "status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: CreateContainerConfigError, message: 'secret \"db\" not found'}}}]}",
        Degraded,
        "container app: CreateContainerConfigError: secret \"db\" not found"
    )]
    #[case::create_fails(
        "status: {phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: CreateContainerError}}}]}",
        Degraded,
        "container app: CreateContainerError"
    )]
    #[case::run_fails(
        "status: {phase: Running, containerStatuses: [{name: app, state: {waiting: {reason: RunContainerError}}}]}",
        Degraded,
        "container app: RunContainerError"
    )]
    #[case::init_crashes(
        "status: {phase: Pending, initContainerStatuses: [{name: migrate, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 2}}}], containerStatuses: [{name: app, state: {waiting: {reason: PodInitializing}}}]}",
        Degraded,
        "init container migrate: CrashLoopBackOff, exit code 2"
    )]
    #[case::init_runs(
        "status: {phase: Pending, initContainerStatuses: [{name: migrate, state: {running: {}}}], containerStatuses: [{name: app, state: {waiting: {reason: PodInitializing}}}]}",
        Progressing,
        "is pending"
    )]
    #[case::crash_loop(
        "status: {phase: Running, containerStatuses: [{name: app, state: {waiting: {reason: CrashLoopBackOff, message: back-off 5m0s}}, lastState: {terminated: {exitCode: 1, reason: Error}}}]}",
        Degraded,
        "container app: CrashLoopBackOff, exit code 1"
    )]
    #[case::out_of_memory(
        "status: {phase: Running, containerStatuses: [{name: app, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}}]}",
        Degraded,
        "container app: CrashLoopBackOff, exit code 137 (OOMKilled)"
    )]
    #[case::exited(
        "status: {phase: Running, containerStatuses: [{name: app, state: {terminated: {exitCode: 3, reason: Error, message: 'no config'}}}]}",
        Degraded,
        "container app: exit code 3: no config"
    )]
    #[case::restarted_and_not_ready(
        "status: {phase: Running, containerStatuses: [{name: app, ready: false, restartCount: 2, state: {running: {}}, lastState: {terminated: {exitCode: 1}}}]}",
        Degraded,
        "container app: not ready after 2 restarts; exit code 1 before"
    )]
    #[case::restarted_and_ready(
        "status: {phase: Running, conditions: [{type: Ready, status: 'True'}], containerStatuses: [{name: app, ready: true, restartCount: 2, state: {running: {}}, lastState: {terminated: {exitCode: 1}}}]}",
        Healthy,
        ""
    )]
    #[case::ready("status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}", Healthy, "")]
    #[case::ready_by_its_containers(
        "status: {phase: Running, containerStatuses: [{name: app, ready: true, state: {running: {}}}]}",
        Healthy,
        ""
    )]
    #[case::not_ready(
        "status: {phase: Running, conditions: [{type: Ready, status: 'False'}], containerStatuses: [{name: app, ready: false, state: {running: {}}}]}",
        Progressing,
        "container app: not ready"
    )]
    #[case::readiness_gate(
        "status: {phase: Running, conditions: [{type: Ready, status: 'False', reason: ReadinessGatesNotReady}], containerStatuses: [{name: app, ready: true, state: {running: {}}}]}",
        Progressing,
        "not ready: ReadinessGatesNotReady"
    )]
    #[case::sidecar_not_ready(
        "{spec: {initContainers: [{name: proxy, restartPolicy: Always}]}, status: {phase: Running, conditions: [{type: Ready, status: 'False'}], initContainerStatuses: [{name: proxy, ready: false, state: {running: {}}}], containerStatuses: [{name: app, ready: true, state: {running: {}}}]}}",
        Progressing,
        "init container proxy: not ready"
    )]
    #[case::sidecar_crashes(
        "{spec: {initContainers: [{name: proxy, restartPolicy: Always}]}, status: {phase: Running, initContainerStatuses: [{name: proxy, state: {waiting: {reason: CrashLoopBackOff}}}]}}",
        Degraded,
        "init container proxy: CrashLoopBackOff"
    )]
    #[case::succeeded("status: {phase: Succeeded}", Healthy, "")]
    #[case::runs_to_its_end(
        "{spec: {restartPolicy: Never}, status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}}",
        Progressing,
        "runs to its end, and has not ended yet"
    )]
    #[case::one_container_of_a_job_failed(
        "{spec: {restartPolicy: Never}, status: {phase: Running, containerStatuses: [{name: a, state: {terminated: {exitCode: 1}}}, {name: b, state: {running: {}}}]}}",
        Degraded,
        "container a: exit code 1"
    )]
    #[case::retried_on_failure(
        "{spec: {restartPolicy: OnFailure}, status: {phase: Running, containerStatuses: [{name: a, restartCount: 1, state: {running: {}}, lastState: {terminated: {exitCode: 1}}}]}}",
        Progressing,
        "runs to its end, and has not ended yet"
    )]
    #[case::failed(
        "status: {phase: Failed, containerStatuses: [{name: app, state: {terminated: {exitCode: 4}}}]}",
        Degraded,
        "container app: exit code 4"
    )]
    #[case::evicted(
        "status: {phase: Failed, reason: Evicted, message: 'the node was low on memory'}",
        Degraded,
        "Evicted: the node was low on memory"
    )]
    #[case::failed_without_words("status: {phase: Failed}", Degraded, "failed")]
    #[case::node_lost("status: {phase: Unknown}", Unknown, "its node does not tell its state")]
    fn a_pod_is_judged_by_its_phase_and_containers(
        #[case] rest: &str,
        #[case] status: HealthStatus,
        #[case] reason: &str,
    ) {
        expect("v1", "Pod", rest, status, reason);
    }
}
