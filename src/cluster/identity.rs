//! On whose behalf a request is sent.
//!
//! Every request about an application's objects is sent as the ServiceAccount
//! that the Application names, always one of its own namespace, by the
//! impersonation header of the API server: so Kubernetes' own RBAC decides
//! what an application may touch.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    RequestError,
    client::{Call, Cluster},
};
use crate::plan::ServerError;

const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");

/// On whose behalf a request is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Whoever the client's own credentials are of: the controller for its own
    /// resources, a person for the command line.
    Own,
    /// A ServiceAccount, by impersonation.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Identity {
    /// A ServiceAccount of a namespace.
    pub fn service_account(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::ServiceAccount { namespace: namespace.into(), name: name.into() }
    }

    /// Adds the impersonation header. The API server itself adds the groups
    /// that it gives to a ServiceAccount's token. Were they named here, the
    /// controller would need the right to impersonate groups, which cannot be
    /// limited to these and so would make it the cluster's administrator.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) -> Result<(), RequestError> {
        let Self::ServiceAccount { namespace, name } = self else { return Ok(()) };
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let user = HeaderValue::from_str(&user)
            .map_err(|_| RequestError::unsendable(format!("{user:?} is no name of a ServiceAccount")))?;
        headers.insert(IMPERSONATE_USER, user);
        Ok(())
    }

    /// Says in plain words that the client itself may not act as this
    /// ServiceAccount, and what would help. Other errors stay as they are.
    pub fn explain(&self, mut error: ServerError) -> ServerError {
        let Self::ServiceAccount { namespace, name } = self else { return error };
        let refused =
            error.code == 403 && Denied::parse(&error.message).is_some_and(|it| it.verb.starts_with("impersonate"));
        if refused {
            error.message = format!(
                "Bowline has no right to act as {self}; let it: `kubectl create role bowline-impersonation \
                 --verb=impersonate --resource=serviceaccounts --resource-name={name} -n {namespace}`, then `kubectl \
                 create rolebinding bowline-impersonation --role=bowline-impersonation \
                 --serviceaccount=<namespace>:<name> -n {namespace}` with Bowline's own ServiceAccount (the chart does \
                 both for the namespaces in impersonation.namespaces)"
            );
        }
        error
    }

    /// Adds to a refusal for want of rights the commands that would help.
    /// Other errors, and other reasons of a 403 such as a quota, stay as they
    /// are. `namespace` is the one that the request was about.
    pub fn advise(&self, error: ServerError, namespace: Option<&str>) -> ServerError {
        let mut error = self.explain(error);
        if error.code == 403
            && let Some(advice) = self.advice(&error.message, namespace)
        {
            error.message = format!("{}; {advice}", error.message);
        }
        error
    }

    fn advice(&self, message: &str, namespace: Option<&str>) -> Option<String> {
        let Self::ServiceAccount { namespace: home, name } = self else { return None };
        let denied = Denied::parse(message)?;
        let resource = denied.resource_and_group();
        let verbs = "get,list,watch,create,update,patch,delete";
        Some(match namespace {
            Some(namespace) => format!(
                "grant it to ServiceAccount {home}/{name}: `kubectl create rolebinding {name}-admin \
                 --clusterrole=admin --serviceaccount={home}:{name} -n {namespace}`, or only this kind: `kubectl \
                 create role {name}-{plain} --verb={verbs} --resource={resource} -n {namespace}` and `kubectl create \
                 rolebinding {name}-{plain} --role={name}-{plain} --serviceaccount={home}:{name} -n {namespace}`",
                plain = denied.resource,
            ),
            None => format!(
                "grant it to ServiceAccount {home}/{name}: `kubectl create clusterrole {name}-{plain} --verb={verbs} \
                 --resource={resource}` and `kubectl create clusterrolebinding {name}-{plain} \
                 --clusterrole={name}-{plain} --serviceaccount={home}:{name}`",
                plain = denied.resource,
            ),
        })
    }

    /// What helps where the ServiceAccount itself does not exist.
    pub fn missing_account_advice(&self) -> Option<String> {
        let Self::ServiceAccount { namespace, name } = self else { return None };
        Some(format!(
            "create it and give it rights: `kubectl create serviceaccount {name} -n {namespace}` and `kubectl create \
             rolebinding {name}-admin --clusterrole=admin --serviceaccount={namespace}:{name} -n {namespace}`"
        ))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("its own credentials"),
            Self::ServiceAccount { namespace, name } => write!(f, "ServiceAccount {namespace}/{name}"),
        }
    }
}

/// Whether the ServiceAccount exists, asked with the client's own credentials.
/// The API server lets one act as a ServiceAccount that does not exist, and
/// then refuses for want of rights: asking first makes for a better message.
pub async fn service_account_exists(cluster: &Cluster, identity: &Identity) -> Result<bool, RequestError> {
    let Identity::ServiceAccount { namespace, name } = identity else { return Ok(true) };
    let path = super::client::path::core(Some(namespace), "serviceaccounts", name)?;
    match cluster.read(Call::get(path, &Identity::Own)).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// What RBAC refused, read from its message: `User "u" cannot patch resource
/// "deployments" in API group "apps" in the namespace "a"`.
struct Denied<'a> {
    verb: &'a str,
    resource: &'a str,
    group: &'a str,
}

impl<'a> Denied<'a> {
    fn parse(message: &'a str) -> Option<Self> {
        let (_, rest) = message.split_once("User \"")?;
        let (_, rest) = rest.split_once("\" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once('"')?;
        let group = rest.split_once("in API group \"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |it| it.0);
        Some(Self { verb, resource, group })
    }

    fn resource_and_group(&self) -> String {
        if self.group.is_empty() { self.resource.to_owned() } else { format!("{}.{}", self.resource, self.group) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn forbidden(message: &str) -> ServerError {
        ServerError {
            code: 403,
            reason: "Forbidden".into(),
            message: message.into(),
            fields: Vec::new(),
            transient: false,
        }
    }

    #[test]
    fn a_service_account_is_impersonated_and_the_server_knows_its_groups() {
        let mut headers = HeaderMap::new();
        Identity::service_account("team-a", "bowline-deployer").add_headers(&mut headers).unwrap();
        assert_eq!(headers["impersonate-user"], "system:serviceaccount:team-a:bowline-deployer");
        assert!(!headers.contains_key("impersonate-group"), "it would need the right to impersonate groups");
    }

    #[test]
    fn our_own_identity_impersonates_nobody() {
        let mut headers = HeaderMap::new();
        Identity::Own.add_headers(&mut headers).unwrap();
        assert!(headers.is_empty());
    }

    #[test]
    fn a_name_that_would_break_out_of_the_header_is_refused() {
        let identity = Identity::service_account("team-a", "x\r\nImpersonate-User: admin");
        assert!(identity.add_headers(&mut HeaderMap::new()).is_err());
    }

    #[test]
    fn a_refusal_for_want_of_rights_names_the_commands_that_help() {
        let identity = Identity::service_account("team-a", "deployer");
        let error = identity.advise(
            forbidden(
                "deployments.apps \"web\" is forbidden: User \"system:serviceaccount:team-a:deployer\" cannot patch \
                 resource \"deployments\" in API group \"apps\" in the namespace \"prod\"",
            ),
            Some("prod"),
        );
        assert!(error.message.contains("--serviceaccount=team-a:deployer -n prod"), "{}", error.message);
        assert!(error.message.contains("--resource=deployments.apps"), "{}", error.message);
    }

    #[test]
    fn a_quota_is_no_want_of_rights() {
        let error = forbidden("pods \"a\" is forbidden: exceeded quota: small");
        assert_eq!(Identity::service_account("a", "b").advise(error.clone(), Some("a")), error);
    }

    #[test]
    fn a_controller_that_may_not_impersonate_is_told_so() {
        let error = forbidden(
            "serviceaccounts \"deployer\" is forbidden: User \"bowline\" cannot impersonate resource \
             \"serviceaccounts\" in API group \"\" in the namespace \"team-a\"",
        );
        let advised = Identity::service_account("team-a", "deployer").advise(error, Some("team-a"));
        assert!(advised.message.contains("act as ServiceAccount team-a/deployer"), "{}", advised.message);
        assert!(
            advised.message.contains("--resource-name=deployer -n team-a"),
            "only this account, and only there: {}",
            advised.message
        );
    }
}
