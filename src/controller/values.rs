//! What the chart of an application takes from the cluster: values from
//! ConfigMaps and Secrets, and what the cluster is.

use crate::{
    api::{HelmSpec, ValuesKind, ValuesReference},
    cluster::{Cluster, Identity, capabilities, data::read_data},
    render::{Capabilities, ValueSource},
};

/// The values that an application takes from ConfigMaps and Secrets of its
/// namespace, read on somebody's behalf.
///
/// # Errors
/// In words: what is missing, or why it cannot be read.
pub async fn value_sources(
    cluster: &Cluster,
    identity: &Identity,
    namespace: &str,
    spec: Option<&HelmSpec>,
) -> Result<Vec<ValueSource>, String> {
    let mut sources = Vec::new();
    for ValuesReference { kind, name, key, optional } in spec.into_iter().flat_map(|spec| &spec.values_from) {
        let what = format!("{kind} {namespace}/{name}");
        let data = read_data(cluster, identity, *kind, namespace, name).await;
        let data = data.map_err(|error| format!("{what} with values cannot be read: {error}"))?;
        match data.map(|mut data| data.remove(key)) {
            Some(Some(content)) => {
                sources.push(ValueSource { name: what, content, secret: *kind == ValuesKind::Secret })
            }
            _ if *optional => {}
            Some(None) => return Err(format!("{what} has no key {key:?}, which render.helm.valuesFrom names")),
            None => return Err(format!("{what}, which render.helm.valuesFrom names, does not exist")),
        }
    }
    Ok(sources)
}

/// What the cluster is, as templates see it.
///
/// # Errors
/// In words: why it cannot be found out.
pub async fn cluster_capabilities(cluster: &Cluster) -> Result<Capabilities, String> {
    let server = capabilities::capabilities(cluster).await;
    let server = server.map_err(|error| format!("what the cluster is able to is not known: {error}"))?;
    Ok(Capabilities { kube_version: Some(server.version), api_versions: server.api_versions })
}
