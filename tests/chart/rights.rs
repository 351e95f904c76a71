//! Who gets which right, and that a real API server takes all of it.

use serde_json::Value;

use crate::helm::{SERVED, named, one, rendered, template};

/// Each rule of a role, as `verbs group/resource [names]`.
fn rules(role: &Value) -> Vec<String> {
    let words = |value: &Value| {
        let words = value.as_array().map(Vec::as_slice).unwrap_or_default();
        words.iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut rules = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                let names = words(&rule["resourceNames"]);
                let names = if names.is_empty() { String::new() } else { format!(" [{}]", names.join(",")) };
                rules.push(format!("{} {group}/{resource}{names}", words(&rule["verbs"]).join(",")));
            }
        }
    }
    rules
}

#[test]
fn nobody_is_impersonated_until_a_namespace_is_named() {
    let objects = rendered(&[]);
    let impersonating: Vec<String> = objects
        .iter()
        .filter(|object| object["rules"].is_array() && rules(object).iter().any(|rule| rule.contains("impersonate")))
        .map(named)
        .collect();
    assert_eq!(impersonating, ["ClusterRole bowline-impersonation"]);
    assert_eq!(
        rules(one(&objects, "ClusterRole bowline-impersonation")),
        ["impersonate /serviceaccounts [bowline-deployer]"]
    );
    let bound = objects.iter().any(|object| object["roleRef"]["name"] == "bowline-impersonation");
    assert!(!bound, "it is a role that nobody has");

    let objects = rendered(&["impersonation={\"namespaces\":[\"team-a\"]}"]);
    let binding = one(&objects, "RoleBinding team-a/bowline-impersonation");
    assert_eq!(binding["subjects"][0]["name"], "bowline-controller");
    let bindings = objects.iter().filter(|object| object["roleRef"]["name"] == "bowline-impersonation").count();
    assert_eq!(bindings, 1);
}

#[test]
fn only_a_value_that_says_so_makes_the_controller_an_administrator() {
    let setting = "impersonation={\"anyServiceAccountClusterWideAmountsToClusterAdmin\":true}";
    let objects = rendered(&[setting]);
    assert_eq!(rules(one(&objects, "ClusterRole bowline-impersonation-any")), ["impersonate /serviceaccounts"]);
    assert!(
        one(&objects, "ClusterRoleBinding bowline-impersonation-any")["roleRef"]["name"] == "bowline-impersonation-any"
    );
}

#[test]
fn the_controller_itself_writes_nothing_of_anybody_but_secrets_that_keep_history() {
    let objects = rendered(&[]);
    let writing: Vec<String> = rules(one(&objects, "ClusterRole bowline-controller"))
        .into_iter()
        .filter(|rule| !rule.contains("bowline.dev/"))
        .filter(|rule| rule.split(' ').next().unwrap().split(',').any(|verb| !["get", "list", "watch"].contains(&verb)))
        .collect();
    assert_eq!(writing, ["get,list,create,delete /secrets", "create,patch events.k8s.io/events"]);
}

#[test]
fn people_never_write_what_history_is_made_of() {
    let objects = rendered(&[]);
    for role in ["viewer", "deployer", "operator"] {
        for rule in rules(one(&objects, &format!("ClusterRole bowline-{role}"))) {
            let (verbs, resource) = rule.split_once(' ').unwrap();
            assert!(!resource.contains('*') && !verbs.contains('*'), "{role}: {rule}");
            assert!(!resource.contains("bundle") && !resource.contains("inventor"), "{role}: {rule}");
            assert!(!resource.contains("status") && !resource.contains("secrets"), "{role}: {rule}");
            if resource.contains("releases") {
                assert_eq!(verbs, "get,list,watch", "{role}");
            }
        }
    }
    assert_eq!(
        rules(one(&objects, "ClusterRole bowline-viewer"))
            .iter()
            .filter(|rule| !rule.starts_with("get,list,watch "))
            .count(),
        0
    );
}

#[test]
fn a_deployer_for_the_own_namespace_has_the_role_that_was_named() {
    let objects = rendered(&["deployer={\"clusterRole\":\"edit\"}"]);
    one(&objects, "ServiceAccount bowline-deployer");
    let binding = one(&objects, "RoleBinding bowline-deployer-edit");
    assert_eq!(
        (&binding["roleRef"]["name"], &binding["subjects"][0]["namespace"]),
        (&"edit".into(), &"bowline-system".into())
    );
    one(&objects, "RoleBinding bowline-impersonation");
    let objects = rendered(&["deployer={\"clusterRole\":\"cluster-admin\",\"clusterWide\":true}"]);
    one(&objects, "ClusterRoleBinding bowline-deployer-cluster-admin");
}

/// Everything is created for real, as `helm install` would, in namespaces of
/// this test, and taken away again.
#[test]
fn a_real_api_server_takes_all_of_it() {
    let access = rig::shared_cluster().unwrap();
    let namespaces = ["chart-system", "chart-team-a", "chart-team-b"];
    for namespace in namespaces {
        access.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    for settings in [
        &["impersonation={\"namespaces\":[\"chart-team-a\"]}", "deployer={\"clusterRole\":\"edit\"}"][..],
        &["watch={\"scope\":\"namespaces\",\"namespaces\":[\"chart-team-a\",\"chart-team-b\"]}"][..],
        &["networkPolicy={\"egress\":{\"enabled\":true}}", "metrics={\"dashboard\":{\"enabled\":true}}"][..],
    ] {
        let text =
            template(settings, &["--namespace=chart-system", "--set=fullnameOverride=chart-test", SERVED]).unwrap();
        let said = access
            .kubectl_with_input(&["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"], &text)
            .unwrap();
        assert!(said.lines().count() >= 25, "{said}");
    }
    for namespace in namespaces {
        access.kubectl(&["delete", "namespace", namespace, "--wait=false"]).unwrap();
    }
}
