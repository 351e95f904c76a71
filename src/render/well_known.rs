//! Custom kinds of well-known projects that are cluster-scoped, for renders
//! without a cluster whose input does not hold their CRDs.
//!
//! Most custom kinds are namespaced, so only the others are listed, as their
//! projects' CRDs declare them. A CRD of the same input outranks this table.

use crate::manifest::{GroupKind, Scope};

/// The scope of a custom kind whose CRD is not at hand.
pub(super) fn scope(kind: &GroupKind) -> Scope {
    let holds = CLUSTER.iter().any(|(group, kinds)| {
        let of_group = match group.strip_prefix("*.") {
            // Crossplane's namespaced kinds have `.m.` in their groups.
            Some(family) => kind.group.strip_suffix(family).is_some_and(|rest| rest.ends_with('.')),
            None => *group == kind.group,
        };
        of_group && (kinds.contains(&kind.kind.as_str()) || kinds.contains(&"*"))
    });
    if holds { Scope::Cluster } else { Scope::Namespaced }
}

const CLUSTER: &[(&str, &[&str])] = &[
    ("apiextensions.crossplane.io", &["*"]),
    ("apps.kruise.io", &["NodeImage"]),
    ("aquasecurity.github.io", &["ClusterComplianceReport", "ClusterConfigAuditReport", "ClusterRbacAssessmentReport"]),
    ("argoproj.io", &["ClusterAnalysisTemplate", "ClusterWorkflowTemplate"]),
    ("capsule.clastix.io", &["CapsuleConfiguration", "Tenant"]),
    ("cdi.kubevirt.io", &["CDI", "CDIConfig", "StorageProfile"]),
    ("cert-manager.io", &["ClusterIssuer"]),
    ("chaos-mesh.org", &["RemoteCluster"]),
    (
        "cilium.io",
        &[
            "CiliumBGPAdvertisement",
            "CiliumBGPClusterConfig",
            "CiliumBGPNodeConfigOverride",
            "CiliumBGPPeerConfig",
            "CiliumBGPPeeringPolicy",
            "CiliumCIDRGroup",
            "CiliumClusterwideEnvoyConfig",
            "CiliumClusterwideNetworkPolicy",
            "CiliumEgressGatewayPolicy",
            "CiliumExternalWorkload",
            "CiliumIdentity",
            "CiliumL2AnnouncementPolicy",
            "CiliumLoadBalancerIPPool",
            "CiliumNode",
            "CiliumPodIPPool",
        ],
    ),
    ("cluster.open-cluster-management.io", &["ManagedCluster", "ManagedClusterSet"]),
    ("config.openshift.io", &["*"]),
    ("console.openshift.io", &["*"]),
    ("core.cnrm.cloud.google.com", &["ConfigConnector"]),
    (
        "crd.projectcalico.org",
        &[
            "BGPConfiguration",
            "BGPFilter",
            "BGPPeer",
            "ClusterInformation",
            "FelixConfiguration",
            "GlobalNetworkPolicy",
            "GlobalNetworkSet",
            "HostEndpoint",
            "IPPool",
            "IPReservation",
            "KubeControllersConfiguration",
            "Tier",
        ],
    ),
    ("crd.k8s.amazonaws.com", &["ENIConfig"]),
    ("elbv2.k8s.aws", &["IngressClassParams"]),
    ("eventing.keda.sh", &["ClusterCloudEventSource"]),
    ("extensions", &["PodSecurityPolicy"]),
    ("external-secrets.io", &["ClusterExternalSecret", "ClusterPushSecret", "ClusterSecretStore"]),
    (
        "fluentbit.fluent.io",
        &[
            "ClusterFilter",
            "ClusterFluentBitConfig",
            "ClusterInput",
            "ClusterMultilineParser",
            "ClusterOutput",
            "ClusterParser",
        ],
    ),
    ("fluentd.fluent.io", &["ClusterFilter", "ClusterFluentdConfig", "ClusterInput", "ClusterOutput"]),
    ("gateway.networking.k8s.io", &["GatewayClass"]),
    ("generators.external-secrets.io", &["ClusterGenerator"]),
    ("groupsnapshot.storage.k8s.io", &["VolumeGroupSnapshotClass", "VolumeGroupSnapshotContent"]),
    ("helm.crossplane.io", &["ProviderConfig", "ProviderConfigUsage", "Release"]),
    ("hnc.x-k8s.io", &["HNCConfiguration"]),
    ("instancetype.kubevirt.io", &["VirtualMachineClusterInstancetype", "VirtualMachineClusterPreference"]),
    ("kargo.akuity.io", &["ClusterConfig", "ClusterPromotionTask", "Project"]),
    ("karpenter.azure.com", &["AKSNodeClass"]),
    ("karpenter.k8s.aws", &["EC2NodeClass"]),
    ("karpenter.sh", &["NodeClaim", "NodePool"]),
    ("keda.sh", &["ClusterTriggerAuthentication"]),
    ("kubeflow.org", &["Profile"]),
    ("kubernetes.crossplane.io", &["Object", "ObservedObjectCollection", "ProviderConfig", "ProviderConfigUsage"]),
    (
        "kueue.x-k8s.io",
        &[
            "AdmissionCheck",
            "ClusterQueue",
            "Cohort",
            "MultiKueueCluster",
            "MultiKueueConfig",
            "ProvisioningRequestConfig",
            "ResourceFlavor",
            "Topology",
            "WorkloadPriorityClass",
        ],
    ),
    ("kyverno.io", &["ClusterCleanupPolicy", "ClusterPolicy", "GlobalContextEntry"]),
    ("machineconfiguration.openshift.io", &["*"]),
    ("mutations.gatekeeper.sh", &["*"]),
    ("constraints.gatekeeper.sh", &["*"]),
    ("expansion.gatekeeper.sh", &["ExpansionTemplate"]),
    ("externaldata.gatekeeper.sh", &["Provider"]),
    ("templates.gatekeeper.sh", &["ConstraintTemplate"]),
    ("nfd.k8s-sigs.io", &["NodeFeatureRule"]),
    (
        "nmstate.io",
        &["NMState", "NodeNetworkConfigurationEnactment", "NodeNetworkConfigurationPolicy", "NodeNetworkState"],
    ),
    ("nvidia.com", &["ClusterPolicy", "NVIDIADriver"]),
    ("oauth.openshift.io", &["OAuthClient"]),
    ("objectbucket.io", &["ObjectBucket"]),
    ("operator.tekton.dev", &["*"]),
    ("operator.tigera.io", &["*"]),
    ("operators.coreos.com", &["OLMConfig", "Operator"]),
    ("pkg.crossplane.io", &["*"]),
    (
        "policies.kyverno.io",
        &["DeletingPolicy", "GeneratingPolicy", "ImageValidatingPolicy", "MutatingPolicy", "ValidatingPolicy"],
    ),
    ("policy", &["PodSecurityPolicy"]),
    ("policy.cert-manager.io", &["CertificateRequestPolicy"]),
    ("policy.networking.k8s.io", &["AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"]),
    ("postgresql.cnpg.io", &["ClusterImageCatalog"]),
    ("project.openshift.io", &["Project"]),
    (
        "projectcalico.org",
        &[
            "BGPConfiguration",
            "BGPFilter",
            "BGPPeer",
            "ClusterInformation",
            "FelixConfiguration",
            "GlobalNetworkPolicy",
            "GlobalNetworkSet",
            "HostEndpoint",
            "IPPool",
            "IPReservation",
            "KubeControllersConfiguration",
            "Tier",
        ],
    ),
    ("sailoperator.io", &["Istio", "IstioCNI", "IstioRevision", "IstioRevisionTag", "ZTunnel"]),
    ("security.openshift.io", &["SecurityContextConstraints"]),
    ("services.k8s.aws", &["IAMRoleSelector"]),
    ("serving.kserve.io", &["ClusterServingRuntime", "ClusterStorageContainer", "LocalModelNodeGroup"]),
    ("snapshot.storage.k8s.io", &["VolumeSnapshotClass", "VolumeSnapshotContent"]),
    ("spire.spiffe.io", &["ClusterFederatedTrustDomain", "ClusterSPIFFEID", "ClusterStaticEntry"]),
    ("tekton.dev", &["ClusterTask"]),
    ("trainer.kubeflow.org", &["ClusterTrainingRuntime"]),
    ("trident.netapp.io", &["TridentOrchestrator"]),
    ("triggers.tekton.dev", &["ClusterInterceptor", "ClusterTriggerBinding"]),
    ("trust.cert-manager.io", &["Bundle"]),
    ("user.openshift.io", &["Group", "Identity", "User"]),
    ("vpcresources.k8s.aws", &["CNINode"]),
    ("wgpolicyk8s.io", &["ClusterPolicyReport"]),
    ("*.aws.upbound.io", &["*"]),
    ("aws.upbound.io", &["*"]),
    ("*.azure.upbound.io", &["*"]),
    ("azure.upbound.io", &["*"]),
    ("*.azuread.upbound.io", &["*"]),
    ("*.gcp.upbound.io", &["*"]),
    ("gcp.upbound.io", &["*"]),
];

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("cert-manager.io", "ClusterIssuer", Scope::Cluster)]
    #[case("cert-manager.io", "Issuer", Scope::Namespaced)]
    #[case("gateway.networking.k8s.io", "GatewayClass", Scope::Cluster)]
    #[case("gateway.networking.k8s.io", "Gateway", Scope::Namespaced)]
    #[case("constraints.gatekeeper.sh", "K8sRequiredLabels", Scope::Cluster)]
    #[case("s3.aws.upbound.io", "Bucket", Scope::Cluster)]
    #[case("s3.aws.m.upbound.io", "Bucket", Scope::Namespaced)]
    #[case("evilaws.upbound.io", "Bucket", Scope::Namespaced)]
    #[case("example.com", "ClusterIssuer", Scope::Namespaced)]
    fn a_custom_kind_is_namespaced_unless_its_project_says_otherwise(
        #[case] group: &str,
        #[case] kind: &str,
        #[case] expected: Scope,
    ) {
        assert_eq!(scope(&GroupKind::new(group, kind)), expected);
    }
}
