//! The page of all refusals, with the words that a person sees: made by
//! planning what is refused.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use bowline::{
    manifest::{BundleDigest, Digest, GroupVersionKind, Manifest, ManifestDigest, ObjectId},
    plan::{
        ConflictPolicy, DryRun, HookRuns, Membership, Observation, Observations, Owned, OwnedObjects, Plan, Policy,
        RefusalReason, RollbackPolicy, ServerError, Verb, conclude, propose,
    },
};
use serde_json::{Value, json};

const MANAGER: &str = "bowline/team-a/shop";

/// A case that is refused, or left, and how it came to that.
struct Case {
    when: &'static str,
    plan: Plan,
}

fn policy() -> Policy {
    Policy {
        membership: Arc::new(Membership {
            set: "shop".into(),
            application: "team-a/shop".into(),
            manager: MANAGER.into(),
        }),
        prune: true,
        preflight: true,
        conflicts: ConflictPolicy::Take,
        ignore: Vec::new(),
        hand_managers: Policy::HAND_MANAGERS.iter().map(|name| (*name).to_owned()).collect(),
        max_prune_percent: 50,
        allow_prune: None,
        rollback: None,
        create_namespace: None,
        hooks: None,
        elsewhere: Default::default(),
        given_up: Default::default(),
    }
}

fn manifest(value: Value) -> Arc<Manifest> {
    let text = |name: &str| value[name].as_str().unwrap();
    let gvk = GroupVersionKind::from_api_version(text("apiVersion"), text("kind")).unwrap();
    let namespace = value["metadata"]["namespace"].as_str().map(str::to_owned);
    let id = ObjectId::new(gvk.group_kind(), namespace, value["metadata"]["name"].as_str().unwrap());
    let digest = ManifestDigest(Digest::of(value.to_string().as_bytes()));
    Arc::new(Manifest { id, gvk, value: value.into(), digest, origin: None })
}

fn object(api_version: &str, kind: &str, name: &str) -> Value {
    let scoped = ["Namespace", "CustomResourceDefinition", "PersistentVolume"].contains(&kind);
    let metadata = if scoped { json!({"name": name}) } else { json!({"name": name, "namespace": "team-a"}) };
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})
}

fn config_map(name: &str) -> Value {
    let mut object = object("v1", "ConfigMap", name);
    object["data"] = json!({"key": "new"});
    object
}

fn entry(manager: &str, operation: &str, fields: Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
}

/// The live object of ours that a manifest once made, with changes.
fn ours(wanted: &Value, change: Value) -> Value {
    let mut live = wanted.clone();
    live["metadata"]["uid"] = json!("uid");
    live["metadata"]["resourceVersion"] = json!("7");
    live["metadata"]["labels"] = json!({"bowline.dev/set": "shop"});
    live["metadata"]["annotations"] = json!({"bowline.dev/application": "team-a/shop"});
    let fields = json!({"f:metadata": {"f:annotations": {"f:bowline.dev/application": {}}}});
    live["metadata"]["managedFields"] = json!([entry(MANAGER, "Apply", fields)]);
    lay(&mut live, change);
    live
}

/// A live object that somebody else made.
fn theirs(wanted: &Value, metadata: Value) -> Value {
    let mut live = wanted.clone();
    lay(&mut live["metadata"], json!({"uid": "theirs", "resourceVersion": "7"}));
    lay(&mut live["metadata"], metadata);
    live
}

fn lay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            over.into_iter().for_each(|(key, value)| lay(under.entry(key).or_insert(Value::Null), value));
        }
        (under, over) => *under = over,
    }
}

fn owned(manifest: &Manifest) -> Owned {
    let digest = Some(ManifestDigest(Digest::of(b"before")));
    Owned {
        gvk: manifest.gvk.clone(),
        uid: Some("uid".into()),
        manifest: digest,
        fingerprint: None,
        done: false,
        hook: false,
    }
}

fn error(code: u16, message: &str, fields: &[&str]) -> ServerError {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    // Whether a 500 may pass later is told by its words.
    let transient = code >= 500 && !message.starts_with("failed to create typed");
    ServerError { code, reason: String::new(), message: message.into(), fields, transient }
}

fn planned(
    wanted: &[Arc<Manifest>],
    inventory: &OwnedObjects,
    seen: Observations,
    change: impl FnOnce(&mut Policy),
) -> Plan {
    let mut policy = policy();
    change(&mut policy);
    let bundle = BundleDigest(Digest::of(b"bundle"));
    let proposal = propose(wanted, &bundle, inventory, &BTreeSet::new(), &BTreeSet::new(), &policy);
    conclude(&proposal, &seen, &policy)
}

/// A manifest, what the server says of it, and whether the application has it.
fn wanted_with(wanted: Value, has: bool, seen: Observation, change: impl FnOnce(&mut Policy)) -> Plan {
    let manifest = manifest(wanted);
    let inventory = if has { [(manifest.id.clone(), owned(&manifest))].into() } else { OwnedObjects::new() };
    planned(std::slice::from_ref(&manifest), &inventory, [(manifest.id.clone(), seen)].into(), change)
}

fn wanted(wanted: Value, seen: Observation) -> Plan {
    wanted_with(wanted, false, seen, |_| ())
}

/// An object that the bundle no longer has, and how it is live.
fn removed(was: Value, seen: Observation, change: impl FnOnce(&mut Policy)) -> Plan {
    let (manifest, other) = (manifest(was), manifest(config_map("other")));
    let inventory = [(manifest.id.clone(), owned(&manifest)), (other.id.clone(), owned(&other))].into();
    let there = Observation::Live { object: Box::new(ours(&other.value, json!({}))), dry_run: DryRun::NotTried };
    let seen = [(manifest.id.clone(), seen), (other.id.clone(), there)].into();
    planned(&[other], &inventory, seen, change)
}

fn live(object: Value) -> Observation {
    Observation::Live { object: Box::new(object), dry_run: DryRun::NotTried }
}

fn refused(object: Value, error: ServerError) -> Observation {
    Observation::Live { object: Box::new(object), dry_run: DryRun::Error(error) }
}

fn absent(error: ServerError) -> Observation {
    Observation::Absent { dry_run: DryRun::Error(error) }
}

fn guards() -> Vec<Case> {
    let all: Vec<_> = (0..12).map(|number| manifest(config_map(&format!("c{number}")))).collect();
    let inventory: OwnedObjects = all.iter().map(|manifest| (manifest.id.clone(), owned(manifest))).collect();
    let seen = || -> Observations {
        all.iter().map(|manifest| (manifest.id.clone(), live(ours(&manifest.value, json!({}))))).collect()
    };
    vec![
        Case { when: "Git renders nothing", plan: planned(&[], &inventory, seen(), |_| ()) },
        Case {
            when: "Git renders much less",
            plan: planned(&all[..2], &inventory, seen(), |policy| policy.preflight = false),
        },
    ]
}

fn claims() -> Vec<Case> {
    let label = |name: &str, value: &str| json!({"labels": {name: value}});
    let annotation = |name: &str, value: &str| json!({"annotations": {name: value}});
    let of_other =
        json!({"labels": {"bowline.dev/set": "other"}, "annotations": {"bowline.dev/application": "team-b/site"}});
    let here =
        json!({"labels": {"bowline.dev/set": "other"}, "annotations": {"bowline.dev/application": "team-a/shop"}});
    let pod = json!({"ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d", "uid": "u", "controller": true}]});
    let claimed =
        |when, metadata| Case { when, plan: wanted(config_map("a"), live(theirs(&config_map("a"), metadata))) };
    let mut made = theirs(
        &config_map("a"),
        json!({"managedFields": [entry("kubectl-create", "Update",
        json!({"f:data": {"f:key": {}, "f:extra": {}}}))]}),
    );
    made["data"]["extra"] = json!("x");
    vec![
        claimed("another Application has it", of_other),
        claimed("another installation of Bowline has it", here),
        claimed("a Helm release has it", annotation("meta.helm.sh/release-name", "shop")),
        claimed("Flux has it", label("kustomize.toolkit.fluxcd.io/name", "apps")),
        claimed("Flux's Helm controller has it", label("helm.toolkit.fluxcd.io/name", "shop")),
        claimed("Argo CD has it", annotation("argocd.argoproj.io/tracking-id", "shop:/ConfigMap:team-a/a")),
        claimed("an ApplySet has it", label("applyset.kubernetes.io/part-of", "applyset-x-v1")),
        claimed("a controller made it", pod),
        Case { when: "it exists, with more than the manifest has", plan: wanted(config_map("a"), live(made)) },
    ]
}

fn conflicts() -> Vec<Case> {
    let mut object = ours(&config_map("a"), json!({"data": {"key": "theirs"}}));
    let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
    entries.push(entry("operator", "Update", json!({"f:data": {"f:key": {}}})));
    let plan = wanted_with(config_map("a"), true, live(object), |policy| policy.conflicts = ConflictPolicy::Refuse);
    vec![Case { when: "another program set the field, and `sync.conflicts` is `Refuse`", plan }]
}

fn server() -> Vec<Case> {
    let new = |when, code, message: &str, fields: &[&str]| Case {
        when,
        plan: wanted(config_map("a"), absent(error(code, message, fields))),
    };
    vec![
        new(
            "a value is wrong",
            422,
            "Service \"a\" is invalid: spec.ports[0].port: Invalid value: 99999: must be between 1 and 65535, inclusive",
            &["spec.ports[0].port"],
        ),
        new(
            "a field does not exist",
            500,
            "failed to create typed patch object (team-a/a; /v1, Kind=ConfigMap): .dat: field not declared in schema",
            &["dat"],
        ),
        new(
            "an admission policy or webhook says no",
            422,
            "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'names' with binding 'names' denied request: no such names",
            &[],
        ),
        new(
            "the ServiceAccount has no right to it",
            403,
            "configmaps \"a\" is forbidden: User \"system:serviceaccount:team-a:bowline-deployer\" cannot patch resource \"configmaps\" in API group \"\" in the namespace \"team-a\"",
            &[],
        ),
        new(
            "it would grant more than the ServiceAccount has",
            403,
            "roles.rbac.authorization.k8s.io \"a\" is forbidden: user \"x\" is attempting to grant RBAC permissions not currently held",
            &[],
        ),
        new(
            "a quota is used up",
            403,
            "pods \"a\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=5, limited: pods=5",
            &[],
        ),
        new(
            "the pod security level does not allow it",
            403,
            "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
            &[],
        ),
        new(
            "a webhook that must be asked does not answer",
            500,
            "Internal error occurred: failed calling webhook \"check.example.com\": failed to call webhook: connection refused",
            &[],
        ),
        new(
            "the namespace is being deleted",
            403,
            "configmaps \"a\" is forbidden: unable to create new content in namespace team-a because it is being terminated",
            &[],
        ),
    ]
}

fn immutable() -> Vec<Case> {
    let case = |when, version: &str, kind: &str, before: Value, after: Value, message: &str, field: &str| {
        let with = |spec: Value| {
            let mut object = object(version, kind, "a");
            object["spec"] = spec;
            object
        };
        let seen = refused(ours(&with(before), json!({})), error(422, message, &[field]));
        Case { when, plan: wanted_with(with(after), true, seen, |_| ()) }
    };
    vec![
        case(
            "a Deployment's selector",
            "apps/v1",
            "Deployment",
            json!({"selector": {"matchLabels": {"app": "a"}}}),
            json!({"selector": {"matchLabels": {"app": "b"}}}),
            "spec.selector: Invalid value: field is immutable",
            "spec.selector",
        ),
        case(
            "a Job's template",
            "batch/v1",
            "Job",
            json!({"template": {"spec": {"restartPolicy": "Never"}}}),
            json!({"template": {"spec": {"restartPolicy": "OnFailure"}}}),
            "spec.template: Invalid value: field is immutable",
            "spec.template",
        ),
        case(
            "a StatefulSet's service",
            "apps/v1",
            "StatefulSet",
            json!({"serviceName": "a"}),
            json!({"serviceName": "b"}),
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
            "spec",
        ),
        case(
            "a claim's class",
            "v1",
            "PersistentVolumeClaim",
            json!({"storageClassName": "slow"}),
            json!({"storageClassName": "fast"}),
            "spec: Forbidden: spec is immutable after creation",
            "spec",
        ),
        case(
            "a definition's scope",
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({"scope": "Namespaced"}),
            json!({"scope": "Cluster"}),
            "spec.scope: Invalid value: field is immutable",
            "spec.scope",
        ),
    ]
}

fn absences() -> Vec<Case> {
    let widget = || object("example.com/v1", "Widget", "a");
    let definition = manifest(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "names": {"kind": "Widget", "plural": "widgets"}}}));
    let both = [manifest(widget()), definition.clone()];
    let mut known = owned(&definition);
    known.manifest = Some(definition.digest.clone());
    known.fingerprint = Some(bowline::manifest::Fingerprint(Digest::of(b"as it was")));
    let inventory = [(definition.id.clone(), known)].into();
    let seen = [(both[0].id.clone(), Observation::KindAbsent)].into();
    let held = ours(
        &config_map("a"),
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/hold"]}}),
    );
    let unreadable = Observation::Unreadable(error(
        503,
        "the API server cannot reach what serves example.com/v1; look at its APIService",
        &[],
    ));
    vec![
        Case { when: "the cluster does not know the kind", plan: wanted(widget(), Observation::KindAbsent) },
        Case {
            when: "the bundle defines the kind, and the server is not ready for it",
            plan: planned(&both, &inventory, seen, |_| ()),
        },
        Case { when: "the namespace does not exist", plan: wanted(config_map("a"), Observation::NamespaceAbsent) },
        Case { when: "the object cannot be read", plan: wanted(widget(), unreadable) },
        Case {
            when: "the object is being deleted, and is not known to be ours",
            plan: wanted(config_map("a"), live(held)),
        },
    ]
}

/// What manifests ask of order, and cannot have.
fn order() -> Vec<Case> {
    let annotated = |name: &str, annotations: Value| {
        let mut object = config_map(name);
        object["metadata"]["annotations"] = annotations;
        manifest(object)
    };
    let on = |name: &str| json!({"config.kubernetes.io/depends-on": format!("/namespaces/team-a/ConfigMap/{name}")});
    let plan = |all: &[Arc<Manifest>]| {
        let absent = |manifest: &Arc<Manifest>| {
            (manifest.id.clone(), Observation::Absent { dry_run: DryRun::Would(Box::new(json!({}))) })
        };
        planned(all, &OwnedObjects::new(), all.iter().map(absent).collect(), |_| ())
    };
    let hook = |annotations: Value| {
        let mut job = object("batch/v1", "Job", "a");
        job["metadata"]["annotations"] = annotations;
        job
    };
    let runs = |policy: &mut Policy| {
        policy.hooks = Some(HookRuns { release: 7, first: false, ended: BTreeSet::new(), failed: false });
    };
    let theirs = live(theirs(&object("batch/v1", "Job", "a"), json!({})));
    vec![
        Case { when: "objects wait for each other", plan: plan(&[annotated("a", on("b")), annotated("b", on("a"))]) },
        Case {
            when: "an object waits for a later wave",
            plan: plan(&[annotated("a", on("b")), annotated("b", json!({"bowline.dev/wave": "1"}))]),
        },
        Case { when: "an object waits for one that is not there", plan: plan(&[annotated("a", on("b"))]) },
        Case { when: "a wave is no number", plan: plan(&[annotated("a", json!({"bowline.dev/wave": "first"}))]) },
        Case {
            when: "a hook's phase is misspelt",
            plan: wanted(hook(json!({"bowline.dev/hook": "Presync"})), Observation::KindAbsent),
        },
        Case {
            when: "the name of a hook is taken",
            plan: wanted_with(hook(json!({"bowline.dev/hook": "PreSync"})), false, theirs, runs),
        },
    ]
}

fn kept() -> Vec<Case> {
    let with = |change: Value| live(ours(&config_map("a"), change));
    let annotated = |name: &str, value: &str| with(json!({"metadata": {"annotations": {name: value}}}));
    let case = |when, seen| Case { when, plan: removed(config_map("a"), seen, |_| ()) };
    let protected = |when, version: &str, kind: &str| {
        let was = object(version, kind, "a");
        Case { when, plan: removed(was.clone(), live(ours(&was, json!({}))), |_| ()) }
    };
    let other = json!({"metadata": {"annotations": {"bowline.dev/application": "team-b/site"}, "managedFields": [
        entry("bowline/team-b/site", "Apply", json!({"f:metadata": {"f:annotations": {"f:bowline.dev/application": {}}}}))]}});
    let job = || object("batch/v1", "Job", "a");
    let mut claim = object("v1", "PersistentVolumeClaim", "a");
    claim["spec"] = json!({"storageClassName": "slow"});
    let rollback = |policy: &mut Policy| policy.rollback = Some(RollbackPolicy::default());
    vec![
        case("it is annotated", annotated("bowline.dev/prune", "false")),
        case("Helm's annotation", annotated("helm.sh/resource-policy", "keep")),
        case("Argo CD's annotation", annotated("argocd.argoproj.io/sync-options", "Prune=false")),
        case("the other of Argo CD", annotated("argocd.argoproj.io/sync-options", "Delete=false")),
        protected("a claim", "v1", "PersistentVolumeClaim"),
        protected("a volume", "v1", "PersistentVolume"),
        protected("a namespace", "v1", "Namespace"),
        protected("a definition", "apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        case("another Application took it", with(other)),
        Case {
            when: "another Application has it now",
            plan: removed(config_map("a"), with(json!({})), |policy| {
                policy.elsewhere.insert(manifest(config_map("a")).id.clone(), "team-b/site".into());
            }),
        },
        case("it is another object of that name", with(json!({"metadata": {"uid": "another"}}))),
        case("its field manager's entry is gone", with(json!({"metadata": {"managedFields": []}}))),
        case(
            "it is being deleted",
            with(
                json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/hold"]}}),
            ),
        ),
        case(
            "nobody can say whether it is there",
            Observation::Unreadable(error(
                503,
                "the API server cannot reach what serves example.com/v1; look at its APIService",
                &[],
            )),
        ),
        case(
            "how it is to be deleted cannot be understood",
            annotated("bowline.dev/deletion-propagation", "Sometimes"),
        ),
        Case {
            when: "a rollback meets a Job",
            plan: wanted_with(job(), true, live(ours(&job(), json!({"spec": {"a": 1}}))), rollback),
        },
        Case {
            when: "a rollback meets a claim",
            plan: wanted_with(
                claim.clone(),
                true,
                live(ours(&claim, json!({"spec": {"storageClassName": "fast"}}))),
                rollback,
            ),
        },
    ]
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*")
}

/// The page.
pub fn page() -> String {
    let mut text = String::from(
        "<!-- Made from the code by `cargo xtask generate`: do not edit. -->\n\n# Refusals and guards\n\n\
         A plan that is refused is carried out in no part, and all refusals are told together: by `bowline diff` and \
         `--dry-run`, in the status and the events of the Application, and in the release that failed. These are the \
         words, as planning makes them; the names are examples. [Troubleshooting](troubleshooting.md#the-plan-is-refused) \
         says more about each reason.\n\n## What stops a plan\n",
    );
    let cases: Vec<Case> =
        [guards(), claims(), conflicts(), server(), immutable(), absences(), order()].into_iter().flatten().collect();
    for reason in RefusalReason::ALL {
        write!(text, "\n### {}\n\n", reason.as_str()).unwrap();
        text.push_str(match (reason.can_be_allowed(), reason.is_transient()) {
            (true, _) => {
                "A person can let it pass once, for exactly the plan that was shown: `bowline sync APP --allow-prune`. \
                 An event of this name tells of it.\n\n"
            }
            (_, true) => "It is tried again by itself until `sync.timeout`.\n\n",
            _ => "It waits for a person: the release fails, and what runs is left alone.\n\n",
        });
        text.push_str("| when | message | hint |\n| --- | --- | --- |\n");
        let before = text.len();
        for case in &cases {
            for refusal in case.plan.refusals.iter().filter(|refusal| refusal.reason == *reason) {
                let again = if refusal.transient && !reason.is_transient() { " (tried again by itself)" } else { "" };
                let hint = refusal.hint.as_deref().unwrap_or("–");
                // The digest is that of the example.
                let hint = hint.split("allow the plan").next().unwrap().trim_end().to_owned()
                    + if hint.contains("allow the plan") { " allow the plan DIGEST" } else { "" };
                writeln!(text, "| {}{again} | {} | {} |", case.when, cell(&refusal.to_string()), cell(&hint)).unwrap();
            }
        }
        assert!(text.len() > before, "no case shows {}", reason.as_str());
    }
    for case in &cases {
        assert!(!case.plan.refusals.is_empty(), "nothing is refused when {}", case.when);
    }
    text.push_str(
        "\n## What is not deleted\n\nSuch an object stops nothing else. The plan has a note of it, and a release that \
         leaves it tells of it by the event `Kept` (or `HandedOver`).\n\n| when | note |\n| --- | --- |\n",
    );
    for case in kept() {
        for action in case.plan.actions.iter().filter(|action| action.verb == Verb::Leave) {
            writeln!(text, "| {} | {} is left: {} |", case.when, action.id, cell(&action.reason)).unwrap();
        }
    }
    text
}
