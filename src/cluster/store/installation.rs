//! What is one for the whole installation: its identity, credentials, and
//! whether the API server vouches for who asks.

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    core::v1::{Namespace, Secret},
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};

use super::{Store, StoreError, described, send};
use crate::api::{APPROVAL_POLICY, CHECK_POLICY, STAMP_POLICY};

/// Which admission policies for requests are in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestPolicies {
    /// `requestedBy` is who asked: it is stamped or checked.
    pub names_are_verified: bool,
    /// `accept` and `allowPrune` are checked against the verbs of the person.
    pub approvals_are_checked: bool,
}

impl Store {
    /// The identity of the installation: the uid of the namespace `kube-system`
    /// of the cluster where Applications live.
    pub async fn installation_id(&self) -> Result<String, StoreError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let what = || "read Namespace kube-system".to_owned();
        let namespace = send(what, api.get_metadata("kube-system")).await?;
        namespace.metadata.uid.ok_or_else(|| StoreError::Absent("the uid of Namespace kube-system".to_owned()))
    }

    /// Reads a Secret, for the credentials of a source; none if there is none.
    pub async fn read_secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, StoreError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        send(|| format!("read {}", described::<Secret>(namespace, name)), api.get_opt(name)).await
    }

    /// Finds out which admission policies for requests are bound.
    pub async fn request_policies(&self) -> Result<RequestPolicies, StoreError> {
        let (stamped, checked, approvals) =
            futures::try_join!(self.is_stamping(), self.is_bound(CHECK_POLICY), self.is_bound(APPROVAL_POLICY))?;
        Ok(RequestPolicies { names_are_verified: stamped || checked, approvals_are_checked: approvals })
    }

    async fn is_bound(&self, policy: &str) -> Result<bool, StoreError> {
        let api: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client.clone());
        let what = || format!("read ValidatingAdmissionPolicyBinding {policy}");
        let spec = send(what, api.get_opt(policy)).await?.and_then(|binding| binding.spec);
        Ok(spec.is_some_and(|spec| {
            let denies = spec.validation_actions.unwrap_or_default().iter().any(|action| action == "Deny");
            spec.policy_name.as_deref() == Some(policy) && spec.match_resources.is_none() && denies
        }))
    }

    /// Whether the mutating policy is bound; a server that does not serve its
    /// kind answers that it is not found.
    async fn is_stamping(&self) -> Result<bool, StoreError> {
        let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding");
        let resource = ApiResource::from_gvk_with_plural(&kind, "mutatingadmissionpolicybindings");
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let what = || format!("read MutatingAdmissionPolicyBinding {STAMP_POLICY}");
        match send(what, api.get_metadata(STAMP_POLICY)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
