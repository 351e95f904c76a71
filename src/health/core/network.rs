//! Services, Ingresses and address ranges.

use serde_json::Value;

use crate::health::{Health, conditions, fields};

/// Judges a Service: only one of type LoadBalancer has something to wait for.
pub(super) fn service(object: &Value) -> Health {
    if fields::text(object, "spec.type") != Some("LoadBalancer") {
        return Health::healthy();
    }
    if let Some(condition) = conditions::holding(object, "LoadBalancerPortsError") {
        return Health::degraded(condition.describe());
    }
    let addresses = fields::list(object, "status.loadBalancer.ingress");
    if let Some(error) = ports_error(addresses) {
        return Health::degraded(error);
    }
    let addressed = |address: &Value| ["ip", "hostname"].iter().any(|name| fields::text(address, name).is_some());
    if addresses.iter().any(addressed) {
        return Health::healthy();
    }
    Health::progressing("waits for an address of its load balancer")
}

/// Judges an Ingress. An address is not asked for: many ingress controllers
/// never write one, and traffic flows without it.
pub(super) fn ingress(object: &Value) -> Health {
    match ports_error(fields::list(object, "status.loadBalancer.ingress")) {
        Some(error) => Health::degraded(error),
        None => Health::healthy(),
    }
}

/// Judges a ServiceCIDR.
pub(super) fn service_cidr(object: &Value) -> Health {
    match conditions::find(object, "Ready") {
        Some(condition) if condition.fails() => Health::degraded(condition.describe()),
        Some(condition) if condition.holds() => Health::healthy(),
        _ => Health::progressing("waits to be made ready"),
    }
}

/// The first port that its load balancer could not open.
fn ports_error(addresses: &[Value]) -> Option<String> {
    let mut ports = addresses.iter().flat_map(|address| fields::list(address, "ports"));
    ports.find_map(|port| {
        let error = fields::text(port, "error")?;
        Some(format!("port {} of its load balancer: {error}", fields::number(port, "port").unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::health::HealthStatus::{self, Degraded, Healthy, Progressing};
    use crate::health::core::tests::expect;

    const WAITS: &str = "waits for an address of its load balancer";

    #[rstest]
    #[case::cluster_ip("spec: {type: ClusterIP}", Healthy, "")]
    #[case::by_default("spec: {ports: []}", Healthy, "")]
    #[case::node_port("spec: {type: NodePort}", Healthy, "")]
    #[case::external_name("spec: {type: ExternalName, externalName: db.example.com}", Healthy, "")]
    #[case::no_address("spec: {type: LoadBalancer}", Progressing, WAITS)]
    #[case::empty_address("{spec: {type: LoadBalancer}, status: {loadBalancer: {}}}", Progressing, WAITS)]
    #[case::ip("{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}", Healthy, "")]
    #[case::hostname(
        "{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{hostname: lb.example.com}]}}}",
        Healthy,
        ""
    )]
    #[case::port_error(
        "{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 192.0.2.1, ports: [{port: 80, error: PortInUse}]}]}}}",
        Degraded,
        "port 80 of its load balancer: PortInUse"
    )]
    fn a_service_is_judged_by_its_address(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("v1", "Service", rest, status, reason);
    }

    #[rstest]
    #[case::no_address("spec: {}", Healthy, "")]
    #[case::address("status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}", Healthy, "")]
    #[case::port_error(
        "status: {loadBalancer: {ingress: [{ports: [{port: 443, error: example.com/NoCertificate}]}]}}",
        Degraded,
        "port 443 of its load balancer: example.com/NoCertificate"
    )]
    fn an_ingress_needs_no_address(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("networking.k8s.io/v1", "Ingress", rest, status, reason);
    }

    #[rstest]
    #[case("{}", Progressing, "waits to be made ready")]
    #[case("status: {conditions: [{type: Ready, status: 'True'}]}", Healthy, "")]
    #[case(
        "status: {conditions: [{type: Ready, status: 'False', message: overlaps}]}",
        Degraded,
        "Ready is False: overlaps"
    )]
    fn a_service_cidr_is_judged_by_ready(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("networking.k8s.io/v1", "ServiceCIDR", rest, status, reason);
    }
}
