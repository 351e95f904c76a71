//! What the values make of the chart.

use serde_json::{Value, json};

use crate::helm::{helm, named, names, objects, one, rendered, template};

fn kinds_but_definitions(objects: &[Value]) -> String {
    let names = names(objects);
    names.iter().filter(|name| !name.starts_with("CustomResourceDefinition")).cloned().collect::<Vec<_>>().join("\n")
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    let output = helm(&["lint", "--strict", "."]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("0 chart(s) failed"), "{said}");
}

#[test]
fn the_defaults_are_two_replicas_that_may_act_as_nobody_yet() {
    let objects = rendered(&[]);
    insta::assert_snapshot!(kinds_but_definitions(&objects), @r#"
    ClusterRole bowline-controller
    ClusterRole bowline-deployer
    ClusterRole bowline-impersonation
    ClusterRole bowline-operator
    ClusterRole bowline-viewer
    ClusterRoleBinding bowline-controller
    Deployment bowline-controller
    MutatingAdmissionPolicy bowline-requested-by
    MutatingAdmissionPolicyBinding bowline-requested-by
    NetworkPolicy bowline-controller
    PodDisruptionBudget bowline-controller
    Role bowline-controller-lease
    RoleBinding bowline-controller-lease
    Service bowline-controller
    ServiceAccount bowline-controller
    ValidatingAdmissionPolicy bowline-approvals
    ValidatingAdmissionPolicy bowline-requested-by-check
    ValidatingAdmissionPolicyBinding bowline-approvals
    ValidatingAdmissionPolicyBinding bowline-requested-by-check
    "#);
}

#[test]
fn everything_together() {
    let objects = rendered(&[
        "impersonation={\"namespaces\":[\"team-a\",\"team-b\"]}",
        "deployer={\"clusterRole\":\"edit\"}",
        "networkPolicy={\"egress\":{\"enabled\":true}}",
        "metrics={\"serviceMonitor\":{\"enabled\":true},\"prometheusRule\":{\"enabled\":true},\"dashboard\":{\"enabled\":true}}",
    ]);
    insta::assert_snapshot!(kinds_but_definitions(&objects), @r#"
    ClusterRole bowline-controller
    ClusterRole bowline-deployer
    ClusterRole bowline-impersonation
    ClusterRole bowline-operator
    ClusterRole bowline-viewer
    ClusterRoleBinding bowline-controller
    ConfigMap bowline-dashboard
    Deployment bowline-controller
    MutatingAdmissionPolicy bowline-requested-by
    MutatingAdmissionPolicyBinding bowline-requested-by
    NetworkPolicy bowline-controller
    PodDisruptionBudget bowline-controller
    PrometheusRule bowline-controller
    Role bowline-controller-lease
    RoleBinding bowline-controller-lease
    RoleBinding bowline-deployer-edit
    RoleBinding bowline-impersonation
    RoleBinding team-a/bowline-impersonation
    RoleBinding team-b/bowline-impersonation
    Service bowline-controller
    ServiceAccount bowline-controller
    ServiceAccount bowline-deployer
    ServiceMonitor bowline-controller
    ValidatingAdmissionPolicy bowline-approvals
    ValidatingAdmissionPolicy bowline-requested-by-check
    ValidatingAdmissionPolicyBinding bowline-approvals
    ValidatingAdmissionPolicyBinding bowline-requested-by-check
    "#);
    let policy = one(&objects, "NetworkPolicy bowline-controller");
    assert_eq!(
        policy["spec"]["egress"][1]["to"][0]["ipBlock"],
        json!({"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}),
        "no way to the credentials of a cloud's machine"
    );
}

#[test]
fn some_namespaces_are_served_by_roles_only() {
    let objects = rendered(&[
        "watch={\"scope\":\"namespaces\",\"namespaces\":[\"team-a\",\"team-b\"]}",
        "rbac={\"readAdmissionPolicies\":false,\"people\":false}",
        "crds={\"install\":false}",
        "admissionPolicies={\"install\":false}",
    ]);
    insta::assert_snapshot!(kinds_but_definitions(&objects), @r#"
    Deployment bowline-controller
    NetworkPolicy bowline-controller
    PodDisruptionBudget bowline-controller
    Role bowline-controller-lease
    Role kube-system/bowline-controller-installation
    Role team-a/bowline-controller
    Role team-a/bowline-impersonation-in-namespace
    Role team-b/bowline-controller
    Role team-b/bowline-impersonation-in-namespace
    RoleBinding bowline-controller-lease
    RoleBinding kube-system/bowline-controller-installation
    RoleBinding team-a/bowline-controller
    RoleBinding team-a/bowline-impersonation-in-namespace
    RoleBinding team-b/bowline-controller
    RoleBinding team-b/bowline-impersonation-in-namespace
    Service bowline-controller
    ServiceAccount bowline-controller
    "#);
    assert!(objects.iter().all(|object| !named(object).starts_with("Cluster")));
    let deployment = one(&objects, "Deployment bowline-controller");
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    assert!(arguments.contains(&json!("--watch-namespaces=team-a,team-b")), "{arguments:?}");
}

#[test]
fn one_replica_needs_no_disruption_budget_and_a_name_of_ones_own_is_used_everywhere() {
    let objects = rendered(&["replicas=1", "fullnameOverride=\"ship\"", "crds={\"install\":false}"]);
    insta::assert_snapshot!(kinds_but_definitions(&objects), @r#"
    ClusterRole ship-controller
    ClusterRole ship-deployer
    ClusterRole ship-impersonation
    ClusterRole ship-operator
    ClusterRole ship-viewer
    ClusterRoleBinding ship-controller
    Deployment ship-controller
    MutatingAdmissionPolicy bowline-requested-by
    MutatingAdmissionPolicyBinding bowline-requested-by
    NetworkPolicy ship-controller
    Role ship-controller-lease
    RoleBinding ship-controller-lease
    Service ship-controller
    ServiceAccount ship-controller
    ValidatingAdmissionPolicy bowline-approvals
    ValidatingAdmissionPolicy bowline-requested-by-check
    ValidatingAdmissionPolicyBinding bowline-approvals
    ValidatingAdmissionPolicyBinding bowline-requested-by-check
    "#);
}

#[test]
fn every_pod_keeps_to_the_restricted_standard_and_has_limits() {
    for object in rendered(&[]).iter().filter(|object| object["spec"]["template"].is_object()) {
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().unwrap() {
            assert_eq!(
                container["securityContext"],
                json!({
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                })
            );
            assert!(container["resources"]["limits"]["memory"].is_string());
        }
    }
}

#[test]
fn definitions_are_upgraded_and_outlive_the_release_unless_told_otherwise() {
    let kept = |settings: &[&str]| {
        let objects = rendered(settings);
        let definitions: Vec<Value> =
            objects.into_iter().filter(|object| object["kind"] == "CustomResourceDefinition").collect();
        let kept = definitions
            .iter()
            .filter(|definition| definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep")
            .count();
        (definitions.len(), kept)
    };
    assert_eq!(kept(&[]), (8, 8));
    assert_eq!(kept(&["crds={\"keep\":false}"]), (8, 0));
    assert_eq!(kept(&["crds={\"install\":false}"]), (0, 0));
}

#[test]
fn a_cluster_that_does_not_stamp_names_checks_them() {
    let objects = objects(&template(&[], &[]).unwrap());
    let names = names(&objects);
    assert!(names.contains("ValidatingAdmissionPolicy bowline-requested-by-check"));
    assert!(!names.iter().any(|name| name.starts_with("MutatingAdmissionPolicy")), "{names:?}");
}

#[test]
fn what_is_wrong_is_refused_and_named() {
    for (setting, said) in [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("image={\"digest\":\"latest\"}", "/image/digest"),
        ("watch={\"scope\":\"namespaces\"}", "watch.scope=namespaces needs the namespaces in watch.namespaces"),
        ("watch={\"namespaces\":[\"team-a\"]}", "watch.namespaces is for watch.scope=namespaces"),
        ("serviceAccount={\"create\":false}", "serviceAccount.name is needed"),
        (
            "watch={\"scope\":\"namespaces\",\"namespaces\":[\"team-a\"]},\
             impersonation={\"anyServiceAccountClusterWideAmountsToClusterAdmin\":true}",
            "contradicts watch.scope=namespaces",
        ),
        (
            "watch={\"scope\":\"namespaces\",\"namespaces\":[\"team-a\"]},deployer={\"clusterRole\":\"edit\"}",
            "deployer.clusterRole is for Applications in bowline-system, which watch.namespaces does not name",
        ),
    ] {
        let refused = template(&[setting], &[]).unwrap_err();
        assert!(refused.contains(said), "{setting}: {refused}");
    }
}

#[test]
fn an_image_is_named_by_its_digest_where_there_is_one() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let image = |settings: &[&str]| {
        let objects = rendered(settings);
        let pod = &one(&objects, "Deployment bowline-controller")["spec"]["template"]["spec"];
        pod["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    assert_eq!(image(&["image={\"repository\":\"r/b\",\"tag\":\"7\"}"]), "r/b:7");
    let setting = format!("image={{\"repository\":\"r/b\",\"tag\":\"7\",\"digest\":\"{digest}\"}}");
    assert_eq!(image(&[&setting]), format!("r/b@{digest}"));
}

#[test]
fn secrets_of_servers_and_of_webhooks_are_files_of_the_pod() {
    let objects = rendered(&["controller={\"hooks\":{\"secretName\":\"bowline-hooks\"},\
         \"notify\":{\"url\":\"https://told.example.com\",\"keySecret\":{\"name\":\"told\"}},\
         \"prometheus\":{\"url\":\"http://asked:9090\",\"caConfigMap\":{\"name\":\"asked\"}}}"]);
    let pod = &one(&objects, "Deployment bowline-controller")["spec"]["template"]["spec"];
    let volume = |name: &str| {
        let volumes = pod["volumes"].as_array().unwrap();
        volumes.iter().find(|volume| volume["name"] == name).unwrap_or_else(|| panic!("no {name} in {volumes:?}"))
    };
    assert_eq!(volume("hooks")["secret"]["secretName"], "bowline-hooks");
    assert_eq!(
        volume("servers")["projected"]["sources"],
        json!([
            {"secret": {"name": "told", "items": [{"key": "key", "path": "notify-key"}]}},
            {"configMap": {"name": "asked", "items": [{"key": "ca.crt", "path": "prometheus-ca"}]}},
        ])
    );
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    for flag in [
        "--notify-key-file=/etc/bowline/servers/notify-key",
        "--prometheus-ca-file=/etc/bowline/servers/prometheus-ca",
        "--hooks-secrets=/etc/bowline/hooks",
    ] {
        assert!(arguments.contains(&json!(flag)), "{flag} is not in {arguments:?}");
    }
    let ports = one(&objects, "Service bowline-controller")["spec"]["ports"].as_array().unwrap();
    assert!(ports.iter().any(|port| port["name"] == "hooks" && port["port"] == 8082));
    let policy = one(&objects, "NetworkPolicy bowline-controller")["spec"]["ingress"].as_array().unwrap();
    assert_eq!(policy.len(), 2);
}

#[test]
fn replicas_hand_webhooks_to_each_other_whatever_else_the_network_policy_allows() {
    let objects = rendered(&[
        "controller={\"hooks\":{\"secretName\":\"bowline-hooks\"}}",
        "networkPolicy={\"hooksFrom\":[{\"ipBlock\":{\"cidr\":\"192.0.2.0/24\"}}],\"egress\":{\"enabled\":true}}",
    ]);
    let policy = &one(&objects, "NetworkPolicy bowline-controller")["spec"];
    let replicas = json!({"podSelector": {"matchLabels": policy["podSelector"]["matchLabels"]}});
    let hooks = json!([{"port": "hooks", "protocol": "TCP"}]);
    let of_hooks = |rules: &Value| {
        let rules = rules.as_array().unwrap().iter().filter(|rule| rule["ports"] == hooks);
        rules.cloned().collect::<Vec<Value>>()
    };
    assert_eq!(
        of_hooks(&policy["ingress"]),
        [json!({"ports": hooks, "from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}, replicas]})]
    );
    assert_eq!(of_hooks(&policy["egress"]), [json!({"to": [replicas], "ports": hooks})]);
    let pod = &one(&objects, "Deployment bowline-controller")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert!(container["args"].as_array().unwrap().contains(&json!("--hooks-advertise=$(POD_IP)")));
    let address = json!({"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}});
    assert!(container["env"].as_array().unwrap().contains(&address), "{}", container["env"]);
}

#[test]
fn bases_of_other_repositories_are_allowed_by_the_chart() {
    let argument = |objects: &[Value]| {
        let pod = &one(objects, "Deployment bowline-controller")["spec"]["template"]["spec"];
        let arguments = pod["containers"][0]["args"].as_array().unwrap().iter();
        let texts = arguments.map(|argument| argument.as_str().unwrap().to_owned());
        texts.filter(|argument| argument.starts_with("--allow-bases")).collect::<Vec<_>>()
    };
    assert!(argument(&rendered(&[])).is_empty());
    let objects = rendered(&["controller={\"allowBases\":[\"git.example.com/platform\",\"*.example.org\"]}"]);
    assert_eq!(argument(&objects), ["--allow-bases=git.example.com/platform,*.example.org"]);
}

#[test]
fn the_notes_end_with_the_next_command() {
    let notes = |settings: &[&str]| {
        let mut arguments = vec!["install", "bowline", ".", "--namespace=bowline-system", "--dry-run=client"];
        for setting in settings {
            arguments.extend(["--set-json", setting]);
        }
        let output = helm(&arguments);
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        said.split_once("NOTES:\n").unwrap_or_else(|| panic!("{errors}")).1.to_owned()
    };
    insta::assert_snapshot!(notes(&[]), @r#"
    Bowline 0.1.0 is installed in bowline-system.

    WARNING: image.repository is still the example's, and no pod will start. Make the image by `cargo xtask image` or the
    Dockerfile, push it, and name it by --set image.repository=….

    See that it is ready:

      kubectl rollout status deployment/bowline-controller -n bowline-system

    Nothing may be deployed yet: say in which namespaces. For team-a, with a ServiceAccount that deploys there:

      kubectl create serviceaccount bowline-deployer -n team-a
      kubectl create rolebinding bowline-deployer-admin -n team-a --clusterrole=admin --serviceaccount=team-a:bowline-deployer
      kubectl create rolebinding bowline-impersonation -n team-a --clusterrole=bowline-impersonation --serviceaccount=bowline-system:bowline-controller

    (or the last one by --set impersonation.namespaces={team-a}). Then apply an Application; docs/getting-started.md has one.
    "#);
    let given = "impersonation={\"namespaces\":[\"team-a\"]}";
    insta::assert_snapshot!(notes(&["image={\"repository\":\"registry.local/bowline\"}", given]), @r#"
    Bowline 0.1.0 is installed in bowline-system.

    See that it is ready:

      kubectl rollout status deployment/bowline-controller -n bowline-system

    Applications of team-a are carried out as the ServiceAccount bowline-deployer of their namespace. Make it, with the rights
    that they need, for example:

      kubectl create serviceaccount bowline-deployer -n team-a
      kubectl create rolebinding bowline-deployer-admin -n team-a --clusterrole=admin --serviceaccount=team-a:bowline-deployer

    Then apply an Application; docs/getting-started.md has one.
    "#);
}
