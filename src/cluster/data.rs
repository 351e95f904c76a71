//! The data of a ConfigMap or a Secret.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::{
    Cluster, Identity, RequestError,
    client::{Call, path},
};
use crate::api::ValuesKind;

/// Reads all data of a ConfigMap or a Secret on somebody's behalf; none where
/// it does not exist.
///
/// # Errors
/// In words, with what would help: it may not be read, or the server cannot
/// answer.
pub async fn read_data(
    cluster: &Cluster,
    identity: &Identity,
    kind: ValuesKind,
    namespace: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, Vec<u8>>>, String> {
    read(cluster, identity, kind, namespace, name).await.map_err(|mut error| {
        error.error = identity.advise(error.error, Some(namespace));
        error.to_string()
    })
}

async fn read(
    cluster: &Cluster,
    identity: &Identity,
    kind: ValuesKind,
    namespace: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, Vec<u8>>>, RequestError> {
    let plural = match kind {
        ValuesKind::ConfigMap => "configmaps",
        ValuesKind::Secret => "secrets",
    };
    let path = path::core(Some(namespace), plural, name)?;
    let answer = match cluster.read(Call::get(path, identity).secret(kind == ValuesKind::Secret)).await {
        Ok(answer) => answer,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let data = match kind {
        ValuesKind::Secret => {
            let data = answer.json::<Secret>()?.data.unwrap_or_default();
            data.into_iter().map(|(key, value)| (key, value.0)).collect()
        }
        ValuesKind::ConfigMap => {
            let object: ConfigMap = answer.json()?;
            let text = object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
            let binary = object.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
            text.chain(binary).collect()
        }
    };
    Ok(Some(data))
}
