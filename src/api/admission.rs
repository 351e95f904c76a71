//! The admission policies by which the API server says who asks, and who may
//! let rejected content or a guarded prune pass.

use serde_json::{Value, json};

use super::{GROUP, VERSION};

/// The policy that writes the name of who asks into a request.
pub const STAMP_POLICY: &str = "bowline-requested-by";
/// The policy that refuses a request in another's name.
pub const CHECK_POLICY: &str = "bowline-requested-by-check";
/// The policy that asks for the verbs `accept` and `allow-prune`.
pub const APPROVAL_POLICY: &str = "bowline-approvals";

/// The validating policies with their bindings: every supported Kubernetes
/// serves them.
pub fn validating_policies() -> Vec<Value> {
    let check = json!({
        "apiVersion": ADMISSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": CHECK_POLICY },
        "spec": {
            "failurePolicy": "Fail",
            // On CREATE only: an UPDATE is the controller's, who writes the status.
            "matchConstraints": created(&["syncrequests", "rollbackrequests", "suspensions"]),
            "validations": [{
                "expression": "has(object.spec.requestedBy) && object.spec.requestedBy == request.userInfo.username",
                "messageExpression": "'spec.requestedBy must be the name of who asks: ' + request.userInfo.username",
                "message": "spec.requestedBy must be the name of who asks",
                "reason": "Forbidden"
            }]
        }
    });
    let approvals = json!({
        "apiVersion": ADMISSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": APPROVAL_POLICY },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": created(&["syncrequests"]),
            "validations": [
                needs_verb("accept", "accept", "to let rejected content in again"),
                needs_verb("allowPrune", "allow-prune", "to let a guarded prune pass"),
                // Who may update the Application may set its revision anyway.
                needs_verb("revision", "update", "to ask for another revision")
            ]
        }
    });
    let bind = |name: &str| binding("ValidatingAdmissionPolicyBinding", name, json!({ "validationActions": ["Deny"] }));
    vec![check, bind(CHECK_POLICY), approvals, bind(APPROVAL_POLICY)]
}

/// The mutating policy with its binding: Kubernetes 1.36 and later serve it.
pub fn mutating_policies() -> Vec<Value> {
    let stamp = json!({
        "apiVersion": ADMISSION,
        "kind": "MutatingAdmissionPolicy",
        "metadata": { "name": STAMP_POLICY },
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": created(&["syncrequests", "rollbackrequests", "suspensions"]),
            "mutations": [{
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {
                    "expression": "Object{ spec: Object.spec{ requestedBy: request.userInfo.username } }"
                }
            }]
        }
    });
    vec![stamp, binding("MutatingAdmissionPolicyBinding", STAMP_POLICY, json!({}))]
}

const ADMISSION: &str = "admissionregistration.k8s.io/v1";

fn created(resources: &[&str]) -> Value {
    json!({
        "resourceRules": [{
            "apiGroups": [GROUP],
            "apiVersions": [VERSION],
            "operations": ["CREATE"],
            "resources": resources
        }]
    })
}

fn needs_verb(field: &str, verb: &str, purpose: &str) -> Value {
    let application = format!(
        "authorizer.group('{GROUP}').resource('applications').namespace(request.namespace).name(object.spec.applicationRef.name)"
    );
    let said = format!("{purpose} needs the verb {verb} on the Application");
    json!({
        "expression": format!("!has(object.spec.{field}) || {application}.check('{verb}').allowed()"),
        "messageExpression": format!("'{said} ' + object.spec.applicationRef.name"),
        "message": said,
        "reason": "Forbidden"
    })
}

fn binding(kind: &str, policy: &str, more: Value) -> Value {
    let mut spec = json!({ "policyName": policy });
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    json!({ "apiVersion": ADMISSION, "kind": kind, "metadata": { "name": policy }, "spec": spec })
}
