//! Who exports: the resource that all spans belong to.

use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
};

use crate::Environment;

/// What an exporter is told of the program.
#[derive(Debug, Clone)]
pub struct About {
    /// Name of the service, where the environment gives it no other.
    pub service: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// What tells this process from others of the service.
    pub instance: String,
    /// Namespace of the pod, if it is one.
    pub namespace: Option<String>,
    /// Name of the pod, if it is one.
    pub pod: Option<String>,
    /// Target of the spans that are exported; no others are.
    pub target: &'static str,
    /// Attribute of a span that was made when its work was over: how many
    /// microseconds before that it began. It is not exported.
    pub earlier: &'static str,
    /// Attribute of such a span whose work was over earlier still: how many
    /// microseconds that took. It is not exported.
    pub took: &'static str,
}

/// The resource by the names of OpenTelemetry's conventions. What the
/// environment says goes before what the program knows.
pub(crate) fn resource(about: &About, environment: Environment<'_>) -> Resource {
    let known = [
        ("service.name", Some(about.service.to_owned())),
        ("service.version", Some(about.version.to_owned())),
        ("service.instance.id", Some(about.instance.clone())),
        ("k8s.namespace.name", about.namespace.clone()),
        ("k8s.pod.name", about.pod.clone()),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some(KeyValue::new(name, value?)));
    let resource = Resource::builder_empty()
        .with_attributes(known)
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match environment("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    fn about() -> About {
        About {
            service: "bowline",
            version: "1.2.3",
            instance: "bowline-0-abcd".into(),
            namespace: Some("bowline-system".into()),
            pod: None,
            target: "spans",
            earlier: "earlier",
            took: "took",
        }
    }

    fn value(resource: &Resource, name: &'static str) -> Option<String> {
        resource.get(&Key::new(name)).map(|value| value.to_string())
    }

    #[test]
    fn a_resource_says_which_process_of_which_service_it_is() {
        let resource = resource(&about(), &|_| None);
        assert_eq!(value(&resource, "service.name").unwrap(), "bowline");
        assert_eq!(value(&resource, "service.version").unwrap(), "1.2.3");
        assert_eq!(value(&resource, "service.instance.id").unwrap(), "bowline-0-abcd");
        assert_eq!(value(&resource, "k8s.namespace.name").unwrap(), "bowline-system");
        assert_eq!(value(&resource, "k8s.pod.name"), None);
        assert_eq!(value(&resource, "telemetry.sdk.language").unwrap(), "rust");
    }

    #[test]
    fn the_environment_names_the_service() {
        let resource = resource(&about(), &|name| (name == "OTEL_SERVICE_NAME").then(|| "gitops".to_owned()));
        assert_eq!(value(&resource, "service.name").unwrap(), "gitops");
    }
}
