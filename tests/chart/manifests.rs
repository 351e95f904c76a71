//! `manifests/install.yaml` and `manifests/rbac.yaml` are the chart with its
//! defaults, for those who install without Helm.

use crate::helm::{SERVED, is_up_to_date, template};

const HEADER: &str = "# Made from charts/bowline by `cargo xtask generate`: do not edit.\n";

const NAMESPACE: &str = "apiVersion: v1
kind: Namespace
metadata:
  name: bowline-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
";

/// What Helm says of itself is not true of who applies by kubectl.
fn without_helm(text: &str) -> String {
    let kept = |line: &&str| {
        !line.starts_with("# Source: ")
            && !["app.kubernetes.io/managed-by: Helm", "helm.sh/chart:", "helm.sh/resource-policy:"]
                .iter()
                .any(|label| line.trim_start().starts_with(label))
    };
    let mut lines: Vec<&str> = text.lines().filter(kept).collect();
    // An `annotations:` of which nothing is left is no map.
    let empty: Vec<usize> = (0..lines.len())
        .filter(|at| {
            let indent = |line: &str| line.len() - line.trim_start().len();
            lines[*at].trim() == "annotations:"
                && lines.get(at + 1).is_none_or(|next| indent(next) <= indent(lines[*at]))
        })
        .collect();
    for at in empty.into_iter().rev() {
        lines.remove(at);
    }
    lines.dedup_by(|next, before| *next == "---" && *before == "---");
    lines.join("\n").replace("\n\n---\n", "\n---\n").trim_end().to_owned() + "\n"
}

#[test]
fn the_chart_is_also_one_file_for_kubectl() {
    let note = "# Name the image first: registry.example.com/bowline does not exist.\n\
                # Kubernetes serves MutatingAdmissionPolicy as v1 from 1.36 on. Before, leave those two\n\
                # objects out: requestedBy is then checked and not filled in.\n";
    let all = template(&[], &[SERVED]).unwrap();
    is_up_to_date("manifests/install.yaml", &format!("{HEADER}{note}{NAMESPACE}{}", without_helm(&all)));
}

#[test]
fn the_rights_alone_are_a_file_for_kubectl() {
    let shown: Vec<String> = ["serviceaccount", "rbac-controller", "rbac-impersonation", "rbac-people"]
        .iter()
        .map(|name| format!("--show-only=templates/{name}.yaml"))
        .collect();
    let rights = template(&[], &shown.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    is_up_to_date("manifests/rbac.yaml", &format!("{HEADER}{NAMESPACE}{}", without_helm(&rights)));
}
