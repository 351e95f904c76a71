//! The CustomResourceDefinitions of all resources, made from their types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

use super::{Application, Bundle, BundleChunk, Inventory, Release, RollbackRequest, Suspension, SyncRequest};

/// The definitions of all resources, in the order in which documents name them.
pub fn custom_resource_definitions() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![
        Application::crd(),
        Release::crd(),
        SyncRequest::crd(),
        RollbackRequest::crd(),
        Suspension::crd(),
        Bundle::crd(),
        BundleChunk::crd(),
        Inventory::crd(),
    ];
    for definition in &mut definitions {
        for version in &mut definition.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
                only_known_formats(schema);
            }
        }
    }
    definitions
}

/// Kubernetes knows no unsigned formats and warns of each: what they say is in
/// the minimum already.
fn only_known_formats(schema: &mut JSONSchemaProps) {
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        only_known_formats(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => only_known_formats(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(only_known_formats),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(additional)) = &mut schema.additional_properties {
        only_known_formats(additional);
    }
}
