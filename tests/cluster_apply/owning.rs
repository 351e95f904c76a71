//! Objects and fields that others have: taken, refused, adopted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bowline::{
    manifest::Manifest,
    plan::{ConflictPolicy, Plan, RefusalReason, Verb},
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    whole::{Application, verbs},
    world::{World, manifest},
};

/// A ConfigMap with this data.
fn data(world: &World, data: Value) -> Arc<Manifest> {
    manifest(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": world.namespace}, "data": data}))
}

/// Runs kubectl with a manifest as its input.
fn kubectl(world: &World, arguments: &[&str], object: &Value) {
    world.access.kubectl_with_input(arguments, &object.to_string()).unwrap();
}

/// Applies a manifest as another program.
fn apply_as(world: &World, manager: &str, object: &Value) {
    let manager = format!("--field-manager={manager}");
    kubectl(world, &["apply", "--server-side", "--force-conflicts", &manager, "-f", "-"], object);
}

fn managers(live: &Value) -> Vec<&str> {
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    entries.iter().map(|entry| entry["manager"].as_str().unwrap()).collect()
}

fn only(plan: &Plan) -> &bowline::plan::Action {
    assert_eq!((plan.actions.len(), plan.refusals.len()), (1, 0), "{plan:#?}");
    &plan.actions[0]
}

#[tokio::test]
async fn a_field_of_another_program_is_taken_by_name_or_left_by_choice() {
    let mut app = Application::new(World::new().await);
    let first = data(&app.world, json!({"key": "ours", "other": "ours"}));
    app.bring(&[&first]).await;
    apply_as(&app.world, "operator", &data(&app.world, json!({"key": "theirs"})).value);
    let second = data(&app.world, json!({"key": "ours", "other": "changed"}));
    let before = app.world.live(&second).await;

    app.world.policy.conflicts = ConflictPolicy::Refuse;
    let b = app.world.config_map("b", "1");
    let plan = app.bring(&[&second, &b]).await;
    assert_eq!((plan.refusals.len(), plan.refusals[0].reason), (1, RefusalReason::FieldConflict), "{plan:#?}");
    assert_eq!(plan.refusals[0].message, "other field managers have another value of data.key (set by operator)");
    assert_eq!(app.world.live(&second).await, before);
    assert_eq!(app.world.live(&b).await, None, "nothing of the plan is carried out");

    app.world.policy.conflicts = ConflictPolicy::Take;
    let plan = app.bring(&[&second]).await;
    assert_eq!(only(&plan).reason, "its manifest changed; takes data.key from operator");
    assert_eq!(app.world.live(&second).await.unwrap()["data"]["key"], "ours");
}

#[tokio::test]
async fn replicas_that_were_scaled_by_a_program_are_a_conflict_and_those_that_a_person_scaled_are_drift() {
    let mut app = Application::new(World::new().await);
    app.world.policy.conflicts = ConflictPolicy::Refuse;
    let web = app.world.deployment("web", "x");
    app.bring(&[&web]).await;
    let namespace = app.world.namespace.clone();
    app.world.kubectl(&["scale", "deployment/web", "--replicas=3", "-n", &namespace]);
    app.drifted.insert(web.id.clone());
    let plan = app.bring(&[&web]).await;
    assert_eq!(only(&plan).reason, "drifted (changed by kubectl)");
    let scale = ["patch", "deployment", "web", "--subresource=scale", "--field-manager=autoscaler", "-n", &namespace];
    app.world.kubectl(&[&scale[..], &["--type=merge", "-p", r#"{"spec":{"replicas":5}}"#]].concat());
    app.drifted.insert(web.id.clone());
    let plan = app.bring(&[&web]).await;
    assert_eq!(
        plan.refusals[0].message,
        "other field managers have another value of spec.replicas (set by autoscaler)"
    );
    assert_eq!(app.world.live(&web).await.unwrap()["spec"]["replicas"], 5);
}

#[rstest]
#[case::client_side(&["apply", "-f", "-"], true)]
#[case::server_side(&["apply", "--server-side", "-f", "-"], true)]
#[case::create(&["create", "-f", "-"], false)]
#[case::create_with_a_record(&["create", "--save-config", "-f", "-"], true)]
#[tokio::test]
async fn what_kubectl_made_is_adopted_and_lives_on_as_if_it_had_always_been_ours(
    #[case] made: &[&str],
    #[case] has_copy: bool,
) {
    let mut app = Application::new(World::new().await);
    kubectl(&app.world, made, &data(&app.world, json!({"a": "1", "b": "2", "c": "3"})).value);
    let less = data(&app.world, json!({"a": "1", "b": "2"}));
    let uid = app.world.live(&less).await.unwrap()["metadata"]["uid"].clone();

    // Files that lost a field since kubectl saw them last.
    let plan = app.bring(&[&less]).await;
    if !has_copy {
        assert_eq!(plan.refusals[0].reason, RefusalReason::OwnedByOther);
        assert!(plan.refusals[0].message.contains("data.c"), "{plan:#?}");
        let whole = data(&app.world, json!({"a": "1", "b": "2", "c": "3"}));
        assert_eq!(verbs(&app.bring(&[&whole]).await), [(Verb::Adopt, "a")]);
        app.bring(&[&less]).await;
    }
    let live = app.world.live(&less).await.unwrap();
    assert_eq!((&live["data"], &live["metadata"]["uid"]), (&json!({"a": "1", "b": "2"}), &uid));
    assert_eq!(managers(&live), [app.world.policy.membership.manager.as_str()]);
    let record = "kubectl.kubernetes.io/last-applied-configuration";
    assert_eq!(live["metadata"]["annotations"].get(record), None, "it would be stale");

    // No phantom: looked at again, nothing is to be done.
    app.drifted.insert(less.id.clone());
    let rest = app.bring(&[&less]).await;
    assert_eq!((verbs(&rest), rest.refusals.len()), (vec![], 0), "{rest:#?}");

    // What goes from the manifest later goes by the apply itself.
    let least = data(&app.world, json!({"a": "1"}));
    let plan = app.bring(&[&least]).await;
    assert_eq!((only(&plan).verb, only(&plan).drops.len()), (Verb::Update, 0));
    assert_eq!(app.world.live(&least).await.unwrap()["data"], json!({"a": "1"}));
}

#[rstest]
#[case::apply(&["apply", "-f", "-"])]
#[case::create(&["create", "-f", "-"])]
#[tokio::test]
async fn a_workload_of_kubectl_is_adopted_without_a_rollout(#[case] made: &[&str]) {
    let mut app = Application::new(World::new().await);
    let web = app.world.deployment("web", "nginx:1");
    let service = manifest(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": app.world.namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}}));
    kubectl(&app.world, made, &web.value);
    kubectl(&app.world, made, &service.value);
    let before = app.world.live(&web).await.unwrap();
    let plan = app.bring(&[&web, &service]).await;
    assert_eq!(verbs(&plan), [(Verb::Adopt, "web"), (Verb::Adopt, "web")], "{:#?}", plan.refusals);
    let live = app.world.live(&web).await.unwrap();
    assert_eq!(live["spec"], before["spec"], "no new pods");
    app.drifted.extend([web.id.clone(), service.id.clone()]);
    assert_eq!(verbs(&app.bring(&[&web, &service]).await), []);

    let mut less = (*web).clone();
    less.value["spec"].as_object_mut().unwrap().remove("replicas");
    less.value["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nginx:2");
    less.digest = bowline::manifest::ManifestDigest(bowline::manifest::Digest::of(b"less"));
    let plan = app.bring(&[&Arc::new(less), &service]).await;
    assert_eq!(only(&plan).drops, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_edited_beside_the_files_is_not_dropped_unasked() {
    let mut app = Application::new(World::new().await);
    kubectl(&app.world, &["apply", "-f", "-"], &data(&app.world, json!({"a": "1"})).value);
    let namespace = app.world.namespace.clone();
    app.world.kubectl(&["patch", "configmap", "a", "-n", &namespace, "-p", r#"{"data":{"hot":"fix"}}"#]);
    let ours = data(&app.world, json!({"a": "1"}));
    let plan = app.bring(&[&ours]).await;
    assert_eq!(plan.refusals[0].message, "exists already, with fields that the manifest does not have: data.hot");
    assert_eq!(app.world.live(&ours).await.unwrap()["data"]["hot"], "fix");
    let mut taking = (*ours).clone();
    taking.value["metadata"]["annotations"] = json!({"bowline.dev/take-over": "true"});
    assert_eq!(verbs(&app.bring(&[&Arc::new(taking)]).await), [(Verb::Adopt, "a")]);
    assert_eq!(app.world.live(&ours).await.unwrap()["data"], json!({"a": "1"}));
}

#[tokio::test]
async fn an_object_whose_managed_fields_were_cleared_gives_up_later_what_its_manifest_gives_up() {
    let mut app = Application::new(World::new().await);
    let both = data(&app.world, json!({"a": "1", "b": "2"}));
    app.bring(&[&both]).await;
    let namespace = app.world.namespace.clone();
    let clear = r#"[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]"#;
    app.world.kubectl(&["patch", "configmap", "a", "-n", &namespace, "--type=json", "-p", clear]);
    app.drifted.insert(both.id.clone());
    app.bring(&[&both]).await;
    let live = app.world.live(&both).await.unwrap();
    assert_eq!(managers(&live), [app.world.policy.membership.manager.as_str()]);
    let one = data(&app.world, json!({"a": "1"}));
    app.bring(&[&one]).await;
    assert_eq!(app.world.live(&one).await.unwrap()["data"], json!({"a": "1"}));
}

#[tokio::test]
async fn who_counts_as_a_person_is_the_policys_to_say() {
    let mut app = Application::new(World::new().await);
    let ours = data(&app.world, json!({"a": "1"}));
    app.bring(&[&ours]).await;
    let namespace = app.world.namespace.clone();
    let patch = ["patch", "configmap", "a", "-n", &namespace, "--field-manager=console"];
    app.world.kubectl(&[&patch[..], &["-p", r#"{"data":{"by":"console"}}"#]].concat());
    app.drifted.insert(ours.id.clone());
    assert_eq!(verbs(&app.bring(&[&ours]).await), [], "what a program adds is its own");
    app.world.policy.hand_managers.insert("console".into());
    app.drifted.insert(ours.id.clone());
    let plan = app.bring(&[&ours]).await;
    assert_eq!(only(&plan).reason, "drifted; fields were added by console");
    assert_eq!(app.world.live(&ours).await.unwrap()["data"], json!({"a": "1"}));
}

#[tokio::test]
async fn an_object_that_another_tool_marked_is_refused_by_name_with_the_annotation_that_transfers_it() {
    let mut app = Application::new(World::new().await);
    let namespace = app.world.namespace.clone();
    let marks = [
        (
            json!({}),
            json!({"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "prod"}),
            "the Helm release prod/shop",
        ),
        (
            json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"}),
            json!({}),
            "the Flux Kustomization flux/apps",
        ),
        (
            json!({"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "flux"}),
            json!({}),
            "the Flux HelmRelease flux/shop",
        ),
        (json!({"argocd.argoproj.io/instance": "shop"}), json!({}), "the Argo CD application shop"),
        (
            json!({}),
            json!({"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:team/a"}),
            "the Argo CD application shop",
        ),
        (json!({"applyset.kubernetes.io/part-of": "applyset-x-v1"}), json!({}), "the ApplySet applyset-x-v1"),
        (
            json!({"bowline.dev/set": "other"}),
            json!({"bowline.dev/application": "team-b/shop"}),
            "the Application team-b/shop",
        ),
        (
            json!({"bowline.dev/set": "other"}),
            json!({"bowline.dev/application": format!("{namespace}/app")}),
            &format!("the Application {namespace}/app of another Bowline installation (set other)"),
        ),
    ];
    for (index, (labels, annotations, _)) in marks.iter().enumerate() {
        app.world.create(&json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "theirs"}, "metadata": {
            "name": format!("m{index}"), "namespace": namespace, "labels": labels, "annotations": annotations}}));
    }
    let ours: Vec<_> = (0..marks.len()).map(|index| app.world.config_map(&format!("m{index}"), "ours")).collect();
    let plan = app.bring(&ours.iter().collect::<Vec<_>>()).await;
    assert_eq!(plan.refusals.len(), marks.len(), "{plan:#?}");
    for (index, (_, _, whose)) in marks.iter().enumerate() {
        let refusal = &plan.refusals[index];
        assert_eq!((refusal.reason, &refusal.message), (RefusalReason::OwnedByOther, &format!("belongs to {whose}")));
        assert!(refusal.hint.as_ref().unwrap().contains("bowline.dev/take-over: \"true\""), "{refusal:?}");
        assert_eq!(app.world.live(&ours[index]).await.unwrap()["data"]["key"], "theirs");
    }
    let taking: Vec<_> = ours
        .iter()
        .map(|manifest| {
            let mut taking = (**manifest).clone();
            taking.value["metadata"]["annotations"] = json!({"bowline.dev/take-over": "true"});
            Arc::new(taking)
        })
        .collect();
    let plan = app.bring(&taking.iter().collect::<Vec<_>>()).await;
    assert!(plan.actions.iter().all(|action| action.verb == Verb::Adopt), "{plan:#?}");
    assert_eq!(app.world.live(&ours[0]).await.unwrap()["data"]["key"], "ours");
}

#[rstest]
#[case::by_default(None, false)]
#[case::in_the_foreground(Some("Foreground"), false)]
#[case::orphaned(Some("Orphan"), true)]
#[tokio::test]
async fn what_an_object_owns_goes_with_it_as_the_object_says(#[case] word: Option<&str>, #[case] stays: bool) {
    let mut app = Application::new(World::new().await);
    let mut owner = (*app.world.config_map("owner", "1")).clone();
    if let Some(word) = word {
        owner.value["metadata"]["annotations"] = json!({"bowline.dev/deletion-propagation": word});
    }
    let (owner, other) = (Arc::new(owner), app.world.config_map("other", "1"));
    app.bring(&[&owner, &other]).await;
    let uid = app.world.live(&owner).await.unwrap()["metadata"]["uid"].clone();
    let owned = app.world.config_map("owned", "1");
    let mut object = owned.value.clone();
    object["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "blockOwnerDeletion": true}]);
    app.world.create(&object);
    assert_eq!(verbs(&app.bring(&[&other]).await), [(Verb::Delete, "owner")]);
    let until = Instant::now() + Duration::from_secs(180);
    loop {
        let (owner, owned) = (app.world.live(&owner).await, app.world.live(&owned).await);
        let done = match &owned {
            Some(owned) if stays => owned["metadata"]["ownerReferences"].is_null(),
            None => !stays,
            Some(_) => false,
        };
        if done && owner.is_none() {
            return;
        }
        assert!(Instant::now() < until, "owner: {owner:?}\nowned: {owned:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
