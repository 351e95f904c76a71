//! Claims, volumes and their attachment.
//!
//! Phases: <https://kubernetes.io/docs/concepts/storage/persistent-volumes/>.

use serde_json::Value;

use crate::health::{Health, conditions, fields};

/// Judges a PersistentVolumeClaim.
pub(super) fn claim(object: &Value) -> Health {
    match fields::text(object, "status.phase") {
        Some("Bound") => bound_claim(object),
        Some("Lost") => Health::degraded(match fields::text(object, "spec.volumeName") {
            Some(volume) => format!("its volume {volume} is lost"),
            None => "its volume is lost".to_owned(),
        }),
        _ => Health::progressing(match fields::text(object, "spec.volumeName") {
            Some(volume) => format!("waits to be bound to the volume {volume}"),
            None => match fields::text(object, "spec.storageClassName") {
                Some(class) => format!("waits for a volume of the class {class}"),
                None => "waits for a volume".to_owned(),
            },
        }),
    }
}

/// A bound claim may still grow or change its class.
fn bound_claim(object: &Value) -> Health {
    for kind in ["ControllerResizeError", "NodeResizeError", "ModifyVolumeError"] {
        if let Some(condition) = conditions::holding(object, kind) {
            return Health::degraded(condition.describe());
        }
    }
    let storage = fields::at(object, "status.allocatedResourceStatuses").and_then(|statuses| statuses.get("storage"));
    if let Some(state) = storage.and_then(Value::as_str).filter(|state| state.ends_with("Infeasible")) {
        return Health::degraded(format!("cannot be resized: {state}"));
    }
    if fields::text(object, "status.modifyVolumeStatus.status") == Some("Infeasible") {
        return Health::degraded("its volume cannot be changed to the class that is asked for");
    }
    let wanted = fields::text(object, "spec.resources.requests.storage").unwrap_or("the size asked for");
    if conditions::holding(object, "FileSystemResizePending").is_some() {
        return Health::progressing(format!(
            "its volume has grown to {wanted}; the file system grows when a pod uses it"
        ));
    }
    if conditions::holding(object, "Resizing").is_some() {
        return Health::progressing(format!("is being resized to {wanted}"));
    }
    if conditions::holding(object, "ModifyingVolume").is_some() {
        return Health::progressing("its volume is being changed to another class");
    }
    Health::healthy()
}

/// Judges a PersistentVolume.
pub(super) fn volume(object: &Value) -> Health {
    let message = || fields::text(object, "status.message").map(|text| format!(": {text}")).unwrap_or_default();
    match fields::text(object, "status.phase") {
        Some("Available" | "Bound") => Health::healthy(),
        Some("Failed") => Health::degraded(format!("could not be reclaimed{}", message())),
        Some("Released") if fields::text(object, "spec.persistentVolumeReclaimPolicy") == Some("Retain") => {
            Health::degraded("its claim is gone and it is retained: no claim can use it until spec.claimRef is removed")
        }
        Some("Released") => Health::progressing("its claim is gone; is being reclaimed"),
        _ => Health::progressing(format!("is pending{}", message())),
    }
}

/// Judges a VolumeAttachment.
pub(super) fn attachment(object: &Value) -> Health {
    for side in ["status.detachError.message", "status.attachError.message"] {
        if let Some(error) = fields::text(object, side) {
            return Health::degraded(error);
        }
    }
    if fields::flag(object, "status.attached") {
        return Health::healthy();
    }
    Health::progressing("waits to be attached")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::health::HealthStatus::{self, Degraded, Healthy, Progressing};
    use crate::health::core::tests::expect;

    #[rstest]
    #[case::new("spec: {}", Progressing, "waits for a volume")]
    #[case::pending(
        "{spec: {storageClassName: fast}, status: {phase: Pending}}",
        Progressing,
        "waits for a volume of the class fast"
    )]
    #[case::named_volume(
        "{spec: {volumeName: pv-1}, status: {phase: Pending}}",
        Progressing,
        "waits to be bound to the volume pv-1"
    )]
    #[case::bound("status: {phase: Bound}", Healthy, "")]
    #[case::lost("{spec: {volumeName: pv-1}, status: {phase: Lost}}", Degraded, "its volume pv-1 is lost")]
    #[case::resizing(
        "{spec: {resources: {requests: {storage: 20Gi}}}, status: {phase: Bound, conditions: [{type: Resizing, status: 'True'}]}}",
        Progressing,
        "is being resized to 20Gi"
    )]
    #[case::file_system_pending(
        "{spec: {resources: {requests: {storage: 20Gi}}}, status: {phase: Bound, conditions: [{type: FileSystemResizePending, status: 'True'}]}}",
        Progressing,
        "its volume has grown to 20Gi; the file system grows when a pod uses it"
    )]
    #[case::resized("status: {phase: Bound, conditions: [{type: Resizing, status: 'False'}]}", Healthy, "")]
    #[case::resize_error(
        "status: {phase: Bound, conditions: [{type: ControllerResizeError, status: 'True', message: quota}]}",
        Degraded,
        "ControllerResizeError is True: quota"
    )]
    #[case::infeasible(
        "status: {phase: Bound, allocatedResourceStatuses: {storage: ControllerResizeInfeasible}}",
        Degraded,
        "cannot be resized: ControllerResizeInfeasible"
    )]
    #[case::modifying(
        "status: {phase: Bound, conditions: [{type: ModifyingVolume, status: 'True'}]}",
        Progressing,
        "its volume is being changed to another class"
    )]
    fn a_claim_is_judged_by_its_phase(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("v1", "PersistentVolumeClaim", rest, status, reason);
    }

    #[rstest]
    #[case::new("spec: {}", Progressing, "is pending")]
    #[case::available("status: {phase: Available}", Healthy, "")]
    #[case::bound("status: {phase: Bound}", Healthy, "")]
    #[case::reclaiming(
        "{spec: {persistentVolumeReclaimPolicy: Delete}, status: {phase: Released}}",
        Progressing,
        "its claim is gone; is being reclaimed"
    )]
    #[case::retained(
        "{spec: {persistentVolumeReclaimPolicy: Retain}, status: {phase: Released}}",
        Degraded,
        "its claim is gone and it is retained: no claim can use it until spec.claimRef is removed"
    )]
    #[case::failed("status: {phase: Failed, message: no such disk}", Degraded, "could not be reclaimed: no such disk")]
    fn a_volume_is_judged_by_its_phase(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("v1", "PersistentVolume", rest, status, reason);
    }

    #[rstest]
    #[case::new("{}", Progressing, "waits to be attached")]
    #[case::attached("status: {attached: true}", Healthy, "")]
    #[case::failed("status: {attached: false, attachError: {message: in use}}", Degraded, "in use")]
    fn an_attachment_is_judged_by_its_status(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("storage.k8s.io/v1", "VolumeAttachment", rest, status, reason);
    }
}
