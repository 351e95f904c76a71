//! A thousand ordinary objects, as a team has them: workloads with pods, what
//! scales, exposes and protects them, claims, jobs, and much configuration.

use serde_json::{Value, json};

/// How many there are.
pub const COUNT: usize = 1_000;

/// The objects. Every default of the server is left to the server, and every
/// number and quantity is written as people write it.
pub fn thousand_ordinary_objects() -> Vec<Value> {
    let mut objects = Vec::with_capacity(COUNT);
    for number in 0..60 {
        objects.push(deployment(number));
    }
    for number in 0..15 {
        objects.push(stateful_set(number));
        objects.push(claim(number));
        objects.push(job(number));
        objects.push(cron_job(number));
    }
    for number in 0..4 {
        objects.push(daemon_set(number));
    }
    for number in 0..20 {
        objects.push(autoscaler(number));
        objects.push(budget(number));
        objects.push(network_policy(number));
    }
    for number in 0..80 {
        objects.push(service(number));
    }
    for number in 0..25 {
        objects.push(ingress(number));
    }
    for number in 0..50 {
        objects.push(
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": format!("account-{number}")}}),
        );
    }
    for number in 0..30 {
        objects.push(role(number));
        objects.push(role_binding(number));
    }
    for number in 0..200 {
        objects.push(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("secret-{number}")},
            "stringData": {"user": format!("user-{number}"), "password": "not a real one"}}));
    }
    let left = COUNT - objects.len();
    for number in 0..left {
        objects.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("config-{number}")},
            "data": {"settings.yaml": format!("number: {number}\nlevel: info\n"), "empty": ""}}));
    }
    objects
}

fn pods(name: &str, more: Value) -> Value {
    let mut spec = json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "main",
            "image": "registry.example/main:1",
            "env": [{"name": "LEVEL", "value": "info"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "0.05", "memory": "32Mi"}, "limits": {"memory": "1024Mi", "cpu": "1000m"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
        }],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    });
    let fields = spec.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    json!({"metadata": {"labels": {"app": name}}, "spec": spec})
}

/// The first twenty are scaled by somebody else; some use a claim.
fn deployment(number: usize) -> Value {
    let name = format!("web-{number}");
    let volumes = match number {
        20..35 => {
            json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": format!("claim-{}", number - 20)}}]})
        }
        _ => json!({}),
    };
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": pods(&name, volumes)},
    });
    if number >= 20 {
        object["spec"]["replicas"] = json!(1);
    }
    object
}

fn stateful_set(number: usize) -> Value {
    let name = format!("store-{number}");
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {"serviceName": name, "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": pods(&name, json!({}))},
    });
    if number < 10 {
        object["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}]);
    }
    object
}

fn daemon_set(number: usize) -> Value {
    let name = format!("agent-{number}");
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": pods(&name, json!({}))}})
}

fn claim(number: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": format!("claim-{number}")},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
}

/// Some clean themselves away when they are done.
fn job(number: usize) -> Value {
    let name = format!("once-{number}");
    let mut object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": pods(&name, json!({"restartPolicy": "Never"}))}});
    if number < 5 {
        object["spec"]["ttlSecondsAfterFinished"] = json!(10);
    }
    object
}

/// A few run every minute.
fn cron_job(number: usize) -> Value {
    let name = format!("often-{number}");
    let template = pods(&name, json!({"restartPolicy": "OnFailure"}));
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
        "spec": {"schedule": if number < 3 { "* * * * *" } else { "0 4 * * *" }, "jobTemplate": {"spec": {"template": template}}}})
}

fn autoscaler(number: usize) -> Value {
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": format!("web-{number}")},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": format!("web-{number}")},
        "minReplicas": 1, "maxReplicas": 2,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}],
    }})
}

fn budget(number: usize) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": format!("web-{number}")},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": format!("web-{number}")}}}})
}

fn network_policy(number: usize) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": format!("web-{number}")},
        "spec": {"podSelector": {"matchLabels": {"app": format!("web-{number}")}}, "ingress": [{"ports": [{"port": 8080}]}]}})
}

/// Of the types that get something allocated, and headless ones.
fn service(number: usize) -> Value {
    let name = if number < 60 { format!("web-{number}") } else { format!("store-{}", number - 60) };
    let mut object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}});
    match number {
        50..60 => object["spec"]["type"] = json!("NodePort"),
        60.. => object["spec"]["clusterIP"] = json!("None"),
        _ => {}
    }
    object
}

fn ingress(number: usize) -> Value {
    let backend = json!({"service": {"name": format!("web-{number}"), "port": {"name": "http"}}});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": format!("web-{number}")},
        "spec": {"rules": [{"host": format!("web-{number}.example.com"),
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
}

fn role(number: usize) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": format!("reads-{number}")},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]})
}

fn role_binding(number: usize) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": format!("reads-{number}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": format!("reads-{number}")},
        "subjects": [{"kind": "ServiceAccount", "name": format!("account-{number}")}]})
}
