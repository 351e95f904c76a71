//! Paths of the API server. Names come from manifests and may be anything, so
//! each segment is encoded, and none may climb.

use kube::discovery::ApiResource;
use url::form_urlencoded;

use crate::cluster::RequestError;

/// The path of an object.
pub fn object(resource: &ApiResource, namespace: Option<&str>, name: &str) -> Result<String, RequestError> {
    Ok(format!("{}/{}", collection(resource, namespace)?, segment(name)?))
}

/// The path of a collection.
pub fn collection(resource: &ApiResource, namespace: Option<&str>) -> Result<String, RequestError> {
    let root = match resource.group.as_str() {
        "" => format!("/api/{}", segment(&resource.version)?),
        group => format!("/apis/{}/{}", segment(group)?, segment(&resource.version)?),
    };
    let plural = segment(&resource.plural)?;
    Ok(match namespace {
        Some(namespace) => format!("{root}/namespaces/{}/{plural}", segment(namespace)?),
        None => format!("{root}/{plural}"),
    })
}

/// The path of an object of the core group.
pub fn core(namespace: Option<&str>, plural: &str, name: &str) -> Result<String, RequestError> {
    let resource = ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: String::new(),
        plural: plural.into(),
    };
    if name.is_empty() { collection(&resource, namespace) } else { object(&resource, namespace, name) }
}

/// The path with a query.
pub fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() {
        return path.to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{path}?{query}")
}

/// One segment, encoded. Empty segments and those that climb are refused, and
/// those with what no name of Kubernetes has (`IsValidPathSegmentName` of its
/// apimachinery): the server takes paths apart after it decoded them.
pub fn segment(text: &str) -> Result<String, RequestError> {
    if matches!(text, "" | "." | "..") || text.contains(['/', '%']) {
        return Err(RequestError::unsendable(format!("{text:?} cannot be part of a path of the API server")));
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    fn resource(group: &str, version: &str, plural: &str) -> ApiResource {
        ApiResource {
            group: group.into(),
            version: version.into(),
            api_version: String::new(),
            kind: String::new(),
            plural: plural.into(),
        }
    }

    #[rstest]
    #[case("", "v1", "configmaps", Some("a"), "b", "/api/v1/namespaces/a/configmaps/b")]
    #[case("apps", "v1", "deployments", Some("a"), "b", "/apis/apps/v1/namespaces/a/deployments/b")]
    #[case("", "v1", "namespaces", None, "b", "/api/v1/namespaces/b")]
    #[case(
        "rbac.authorization.k8s.io",
        "v1",
        "clusterroles",
        None,
        "system:a",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:a"
    )]
    #[case("", "v1", "configmaps", Some("a"), "b?dryRun=", "/api/v1/namespaces/a/configmaps/b%3FdryRun%3D")]
    fn an_object_has_one_path_and_its_name_cannot_leave_it(
        #[case] group: &str,
        #[case] version: &str,
        #[case] plural: &str,
        #[case] namespace: Option<&str>,
        #[case] name: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(object(&resource(group, version, plural), namespace, name).unwrap(), expected);
    }

    #[rstest]
    #[case("")]
    #[case(".")]
    #[case("..")]
    #[case("../secrets/b")]
    #[case("..%2Fsecrets%2Fb")]
    fn a_name_that_is_no_segment_is_refused(#[case] name: &str) {
        assert!(object(&resource("", "v1", "configmaps"), Some("a"), name).is_err());
        assert!(object(&resource("", "v1", "configmaps"), Some(name), "a").is_err());
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(with_query("/a", &[("fieldManager", "bowline/a/b c")]), "/a?fieldManager=bowline%2Fa%2Fb+c");
    }
}
