//! Kinds that make up the cluster itself: definitions, API services,
//! namespaces, nodes, certificates, admission.

use serde_json::Value;

use crate::health::conditions::Condition;
use crate::health::{Health, conditions, fields};

/// Judges a CustomResourceDefinition.
pub(super) fn definition(object: &Value) -> Health {
    if let Some(condition) = conditions::holding(object, "Terminating") {
        return Health::progressing(format!("is being deleted: {}", condition.why()));
    }
    if let Some(condition) = conditions::find(object, "NamesAccepted").filter(Condition::fails) {
        return Health::degraded(format!("its names are not accepted: {}", condition.why()));
    }
    if let Some(condition) = conditions::holding(object, "NonStructuralSchema") {
        return Health::degraded(format!("its schema is not structural: {}", condition.why()));
    }
    match conditions::find(object, "Established") {
        Some(condition) if condition.holds() => Health::healthy(),
        Some(condition) if !condition.why().is_empty() => {
            Health::progressing(format!("is not established yet: {}", condition.why()))
        }
        _ => Health::progressing("is not established yet"),
    }
}

/// Judges an APIService: what its pods will mend is waited for.
pub(super) fn api_service(object: &Value) -> Health {
    let Some(condition) = conditions::find(object, "Available") else {
        return Health::progressing("waits to be available");
    };
    if condition.holds() {
        return Health::healthy();
    }
    match condition.reason {
        "ServiceNotFound" | "ServicePortError" => Health::degraded(condition.describe()),
        _ => Health::progressing(condition.describe()),
    }
}

/// Judges a Namespace that nobody deletes.
pub(super) fn namespace(object: &Value) -> Health {
    match fields::text(object, "status.phase") {
        Some("Terminating") => namespace_deletion(object),
        _ => Health::healthy(),
    }
}

/// What a Namespace that is being deleted waits for, in its own words.
pub(in crate::health) fn namespace_deletion(object: &Value) -> Health {
    let said: Vec<&str> = conditions::of_status(object)
        .filter(Condition::holds)
        .map(|condition| condition.message)
        .filter(|message| !message.is_empty())
        .collect();
    if !said.is_empty() {
        return Health::progressing(format!("is being deleted: {}", said.join("; ")));
    }
    let finalizers: Vec<&str> = ["metadata.finalizers", "spec.finalizers"]
        .iter()
        .flat_map(|path| fields::list(object, path))
        .filter_map(Value::as_str)
        .collect();
    match finalizers.as_slice() {
        [] => Health::progressing("is being deleted"),
        many => Health::progressing(format!("is being deleted; waits for {}", many.join(", "))),
    }
}

/// Judges a Node.
pub(super) fn node(object: &Value) -> Health {
    let Some(ready) = conditions::find(object, "Ready") else {
        return Health::progressing("has not told its state yet");
    };
    if !ready.holds() {
        return Health::degraded(ready.describe());
    }
    let trouble = ["NetworkUnavailable", "DiskPressure", "MemoryPressure", "PIDPressure"]
        .iter()
        .find_map(|kind| conditions::holding(object, kind));
    if let Some(condition) = trouble {
        return Health::degraded(condition.describe());
    }
    if fields::flag(object, "spec.unschedulable") {
        return Health::suspended("is cordoned");
    }
    Health::healthy()
}

/// Judges a CertificateSigningRequest.
pub(super) fn signing_request(object: &Value) -> Health {
    for kind in ["Denied", "Failed"] {
        if let Some(condition) = conditions::holding(object, kind) {
            return Health::degraded(condition.describe());
        }
    }
    if fields::text(object, "status.certificate").is_some() {
        return Health::healthy();
    }
    if conditions::holding(object, "Approved").is_some() {
        return Health::progressing("is approved; waits for its certificate");
    }
    Health::progressing("waits for approval: kubectl certificate approve")
}

/// Judges a FlowSchema.
pub(super) fn flow_schema(object: &Value) -> Health {
    match conditions::holding(object, "Dangling") {
        Some(condition) => Health::degraded(condition.describe()),
        None => Health::healthy(),
    }
}

/// Judges a ValidatingAdmissionPolicy by the type check of its expressions.
pub(super) fn admission_policy(object: &Value) -> Health {
    if let Some(behind) = fields::generation_behind(object) {
        return behind;
    }
    let warnings = fields::list(object, "status.typeChecking.expressionWarnings");
    let Some(first) = warnings.first() else { return Health::healthy() };
    let field = fields::text(first, "fieldRef").unwrap_or("an expression");
    let warning = fields::text(first, "warning").unwrap_or("does not pass the type check");
    Health::degraded(format!("{field}: {}", warning.trim()))
}

/// Judges a StorageVersionMigration.
pub(super) fn storage_migration(object: &Value) -> Health {
    if let Some(condition) = conditions::holding(object, "Failed") {
        return Health::degraded(condition.describe());
    }
    if conditions::holding(object, "Succeeded").is_some() {
        return Health::healthy();
    }
    Health::progressing("has not migrated all objects yet")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::health::HealthStatus::{self, Degraded, Healthy, Progressing, Suspended};
    use crate::health::core::tests::expect;

    #[rstest]
    #[case::new("{}", Progressing, "is not established yet")]
    #[case::established(
        "status: {conditions: [{type: NamesAccepted, status: 'True'}, {type: Established, status: 'True'}]}",
        Healthy,
        ""
    )]
    #[case::installing(
        "status: {conditions: [{type: NamesAccepted, status: 'True'}, {type: Established, status: 'False', reason: Installing, message: the initial names have been accepted}]}",
        Progressing,
        "is not established yet: Installing: the initial names have been accepted"
    )]
    #[case::names_taken(
        "status: {conditions: [{type: NamesAccepted, status: 'False', reason: PluralConflict, message: '\"things\" is already in use'}, {type: Established, status: 'False', reason: NotAccepted}]}",
        Degraded,
        "its names are not accepted: PluralConflict: \"things\" is already in use"
    )]
    #[case::names_taken_later(
        "status: {conditions: [{type: Established, status: 'True'}, {type: NamesAccepted, status: 'False', reason: KindConflict}]}",
        Degraded,
        "its names are not accepted: KindConflict"
    )]
    #[case::terminating(
        "status: {conditions: [{type: Established, status: 'True'}, {type: Terminating, status: 'True', reason: InstanceDeletionInProgress}]}",
        Progressing,
        "is being deleted: InstanceDeletionInProgress"
    )]
    #[case::schema(
        "status: {conditions: [{type: Established, status: 'True'}, {type: NonStructuralSchema, status: 'True', reason: Violations, message: must not be empty}]}",
        Degraded,
        "its schema is not structural: Violations: must not be empty"
    )]
    fn a_definition_is_judged_by_its_conditions(
        #[case] rest: &str,
        #[case] status: HealthStatus,
        #[case] reason: &str,
    ) {
        expect("apiextensions.k8s.io/v1", "CustomResourceDefinition", rest, status, reason);
    }

    #[rstest]
    #[case::new("{}", Progressing, "waits to be available")]
    #[case::available("status: {conditions: [{type: Available, status: 'True', reason: Passed}]}", Healthy, "")]
    #[case::no_pods(
        "status: {conditions: [{type: Available, status: 'False', reason: MissingEndpoints}]}",
        Progressing,
        "Available is False: MissingEndpoints"
    )]
    #[case::discovery(
        "status: {conditions: [{type: Available, status: 'False', reason: FailedDiscoveryCheck, message: connection refused}]}",
        Progressing,
        "Available is False: FailedDiscoveryCheck: connection refused"
    )]
    #[case::no_service(
        "status: {conditions: [{type: Available, status: 'False', reason: ServiceNotFound}]}",
        Degraded,
        "Available is False: ServiceNotFound"
    )]
    fn an_api_service_is_judged_by_available(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("apiregistration.k8s.io/v1", "APIService", rest, status, reason);
    }

    #[rstest]
    #[case::active("status: {phase: Active}", Healthy, "")]
    #[case::terminating(
        "{metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {finalizers: [kubernetes]}, status: {phase: Terminating}}",
        Progressing,
        "is being deleted; waits for kubernetes"
    )]
    #[case::content_remains(
        "status: {phase: Terminating, conditions: [{type: NamespaceContentRemaining, status: 'True', message: 'pods. has 1 resource instances'}, {type: NamespaceDeletionContentFailure, status: 'False', message: fine}]}",
        Progressing,
        "is being deleted: pods. has 1 resource instances"
    )]
    fn a_namespace_says_why_it_is_still_there(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("v1", "Namespace", rest, status, reason);
    }

    #[rstest]
    #[case::new("{}", Progressing, "has not told its state yet")]
    #[case::ready(
        "status: {conditions: [{type: DiskPressure, status: 'False'}, {type: Ready, status: 'True'}]}",
        Healthy,
        ""
    )]
    #[case::cordoned(
        "{spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: 'True'}]}}",
        Suspended,
        "is cordoned"
    )]
    #[case::silent(
        "status: {conditions: [{type: Ready, status: Unknown, reason: NodeStatusUnknown}]}",
        Degraded,
        "Ready is Unknown: NodeStatusUnknown"
    )]
    #[case::pressure(
        "status: {conditions: [{type: Ready, status: 'True'}, {type: DiskPressure, status: 'True', reason: KubeletHasDiskPressure}]}",
        Degraded,
        "DiskPressure is True: KubeletHasDiskPressure"
    )]
    fn a_node_is_judged_by_its_conditions(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("v1", "Node", rest, status, reason);
    }

    #[rstest]
    #[case::new("{}", Progressing, "waits for approval: kubectl certificate approve")]
    #[case::approved(
        "status: {conditions: [{type: Approved, status: 'True'}]}",
        Progressing,
        "is approved; waits for its certificate"
    )]
    #[case::issued("status: {certificate: LS0t, conditions: [{type: Approved, status: 'True'}]}", Healthy, "")]
    #[case::denied(
        "status: {conditions: [{type: Denied, status: 'True', reason: NotWanted}]}",
        Degraded,
        "Denied is True: NotWanted"
    )]
    #[case::failed(
        "status: {conditions: [{type: Approved, status: 'True'}, {type: Failed, status: 'True'}]}",
        Degraded,
        "Failed is True"
    )]
    fn a_signing_request_is_judged_by_its_conditions(
        #[case] rest: &str,
        #[case] status: HealthStatus,
        #[case] reason: &str,
    ) {
        expect("certificates.k8s.io/v1", "CertificateSigningRequest", rest, status, reason);
    }

    #[rstest]
    #[case::dangling(
        "flowcontrol.apiserver.k8s.io/v1",
        "FlowSchema",
        "status: {conditions: [{type: Dangling, status: 'True', reason: NotFound}]}",
        Degraded,
        "Dangling is True: NotFound"
    )]
    #[case::policy_warning(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        "status: {typeChecking: {expressionWarnings: [{fieldRef: 'spec.validations[0].expression', warning: undefined field}]}}",
        Degraded,
        "spec.validations[0].expression: undefined field"
    )]
    #[case::policy(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        "status: {typeChecking: {}}",
        Healthy,
        ""
    )]
    #[case::migrated(
        "storagemigration.k8s.io/v1alpha1",
        "StorageVersionMigration",
        "status: {conditions: [{type: Succeeded, status: 'True'}]}",
        Healthy,
        ""
    )]
    fn other_kinds_are_judged_by_what_they_write(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] rest: &str,
        #[case] status: HealthStatus,
        #[case] reason: &str,
    ) {
        expect(api_version, kind, rest, status, reason);
    }
}
