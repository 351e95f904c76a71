//! What the cluster is able to, as the templates of charts may ask.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::version::Info;

use super::{Cluster, Identity, RequestError, client::Call};

/// The version of a cluster and what it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCapabilities {
    /// The version of its API server: `v1.37.2`.
    pub version: String,
    /// Group versions and kinds, sorted: `apps/v1`, `apps/v1/Deployment`.
    pub api_versions: Vec<String>,
}

/// Asks for the version; what is served is known from discovery.
///
/// # Errors
/// The server cannot answer.
pub async fn capabilities(cluster: &Cluster) -> Result<ServerCapabilities, RequestError> {
    cluster.discovery().ensure().await?;
    let version: Info = cluster.read(Call::get("/version".to_owned(), &Identity::Own)).await?.json()?;
    let served: BTreeSet<String> = cluster
        .discovery()
        .kinds()
        .iter()
        .flat_map(|kind| {
            let resource = &kind.resource;
            [resource.api_version.clone(), format!("{}/{}", resource.api_version, resource.kind)]
        })
        .collect();
    Ok(ServerCapabilities { version: version.git_version, api_versions: served.into_iter().collect() })
}
