//! The pod metrics fixture: an aggregated API `metrics.k8s.io/v1beta1`.
//!
//! kwok's pods run nothing, so nothing can be measured. For an autoscaler to
//! have something to read, this fixture says of every running pod that each
//! container uses half of the CPU and memory it requests (10m and 16Mi where it
//! requests none). It asks the API server for the pods when it is asked itself,
//! and does nothing otherwise.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::error::Result;
use crate::http::{self, Client, Request, Response, Server, respond};
use crate::pki::Authority;

const NAMESPACE: &str = "kube-system";
const SERVICE: &str = "pod-metrics-fixture";
const API: &str = "/apis/metrics.k8s.io/v1beta1";

#[derive(Debug)]
pub(super) struct PodMetrics {
    server: Server,
}

impl PodMetrics {
    pub(super) fn start(authority: &Authority, client: Client) -> Result<Self> {
        let identity = authority.server(&[&format!("{SERVICE}.{NAMESPACE}.svc"), "localhost"])?;
        // Only the API server, by its front-proxy certificate, is let in.
        let tls = http::server_tls(&identity, Some(authority))?;
        let handler = move |request: Request| answer(&request, &client);
        Ok(PodMetrics { server: Server::start(0, Some(tls), Arc::new(handler))? })
    }

    /// The objects that make the API server ask this fixture. An ExternalName
    /// leads out of the cluster, where endpoints may not be on loopback.
    pub(super) fn registration(&self, authority: &Authority) -> Value {
        use base64::Engine;
        let bundle = base64::engine::general_purpose::STANDARD.encode(authority.certificate_pem());
        let port = self.server.port();
        json!({
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": { "name": SERVICE, "namespace": NAMESPACE },
                    "spec": {
                        "type": "ExternalName",
                        "externalName": "localhost",
                        "ports": [{ "port": port }],
                    },
                },
                {
                    "apiVersion": "apiregistration.k8s.io/v1",
                    "kind": "APIService",
                    "metadata": { "name": "v1beta1.metrics.k8s.io" },
                    "spec": {
                        "group": "metrics.k8s.io",
                        "version": "v1beta1",
                        "groupPriorityMinimum": 100,
                        "versionPriority": 100,
                        "caBundle": bundle,
                        "service": { "name": SERVICE, "namespace": NAMESPACE, "port": port },
                    },
                },
            ],
        })
    }
}

fn answer(request: &Request, client: &Client) -> Response {
    let uri = request.uri();
    let Some(rest) = uri.path().strip_prefix(API) else {
        return status(404, "the pod metrics fixture serves metrics.k8s.io/v1beta1 only");
    };
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    let (path, name) = match parts.as_slice() {
        [] => return reply(&resources()),
        ["pods"] => ("/api/v1/pods".to_owned(), None),
        ["namespaces", namespace, "pods"] => (format!("/api/v1/namespaces/{namespace}/pods"), None),
        ["namespaces", namespace, "pods", name] => (format!("/api/v1/namespaces/{namespace}/pods/{name}"), Some(*name)),
        _ => return status(404, "the pod metrics fixture has metrics of pods only"),
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let pods = match client.get(&format!("{path}{query}"), Duration::from_secs(10)) {
        Ok((200, body)) => serde_json::from_slice::<Value>(&body).unwrap_or_default(),
        Ok((code, body)) => return respond(code, "application/json", body),
        Err(error) => return status(503, &error.to_string()),
    };
    if name.is_some() {
        return match metrics(&pods) {
            Some(metrics) => reply(&metrics),
            None => status(404, "the pod does not run"),
        };
    }
    let items: Vec<Value> =
        pods["items"].as_array().map(|pods| pods.iter().filter_map(metrics).collect()).unwrap_or_default();
    reply(&json!({
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetricsList",
        "metadata": {},
        "items": items,
    }))
}

/// The metrics of a pod that runs; none of one that does not, as with the real server.
fn metrics(pod: &Value) -> Option<Value> {
    if pod["status"]["phase"] != "Running" {
        return None;
    }
    let containers: Vec<Value> = pod["spec"]["containers"]
        .as_array()?
        .iter()
        .map(|container| {
            let requests = &container["resources"]["requests"];
            json!({
                "name": container["name"],
                "usage": {
                    "cpu": half(&requests["cpu"], "m", 1000.0).unwrap_or_else(|| "10m".into()),
                    "memory": half(&requests["memory"], "Ki", 1.0 / 1024.0)
                        .unwrap_or_else(|| "16Mi".into()),
                },
            })
        })
        .collect();
    Some(json!({
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetrics",
        "metadata": {
            "name": pod["metadata"]["name"],
            "namespace": pod["metadata"]["namespace"],
            "labels": pod["metadata"]["labels"],
        },
        // An autoscaler ignores a measurement that began before the pod was ready.
        "timestamp": jiff::Timestamp::now().to_string(),
        "window": "1s",
        "containers": containers,
    }))
}

/// Half of a quantity, in whole parts of which `scale` make one.
fn half(quantity: &Value, unit: &str, scale: f64) -> Option<String> {
    let parts = amount(quantity.as_str()?)? * scale / 2.0;
    Some(format!("{}{unit}", parts.ceil() as u64))
}

fn amount(quantity: &str) -> Option<f64> {
    let digits =
        quantity.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(digits);
    let factor = match suffix {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

fn resources() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "APIResourceList",
        "groupVersion": "metrics.k8s.io/v1beta1",
        "resources": [{
            "name": "pods",
            "singularName": "",
            "namespaced": true,
            "kind": "PodMetrics",
            "verbs": ["get", "list"],
        }],
    })
}

fn reply(body: &Value) -> Response {
    respond(200, "application/json", Bytes::from(body.to_string()))
}

fn status(code: u16, message: &str) -> Response {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": message,
        "code": code,
    });
    respond(code, "application/json", Bytes::from(body.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_container_uses_half_of_what_it_requests() {
        for (quantity, unit, scale, expected) in [
            ("100m", "m", 1000.0, "50m"),
            ("2", "m", 1000.0, "1000m"),
            ("0.5", "m", 1000.0, "250m"),
            ("64Mi", "Ki", 1.0 / 1024.0, "32768Ki"),
            ("1Gi", "Ki", 1.0 / 1024.0, "524288Ki"),
        ] {
            assert_eq!(half(&json!(quantity), unit, scale).unwrap(), expected, "{quantity}");
        }
        assert_eq!(half(&Value::Null, "m", 1000.0), None);
        assert_eq!(half(&json!("3 apples"), "m", 1000.0), None);
    }

    #[test]
    fn a_pod_that_does_not_run_has_no_metrics() {
        let pod = json!({ "status": { "phase": "Pending" }, "spec": { "containers": [] } });
        assert!(metrics(&pod).is_none());
    }
}
