//! The sample in `examples/`, applied as its own deployer on the shared cluster.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use rig::shared_cluster;

const DEPLOYER: &str = "--as=system:serviceaccount:shop:bowline-deployer";

#[test]
fn the_sample_becomes_healthy_with_no_more_rights_than_its_setup_gives() {
    let cluster = shared_cluster().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let file = |name: &str| examples.join(name).display().to_string();
    cluster.kubectl(&["apply", "-f", &file("setup.yaml")]).unwrap();

    // What a person would do in two steps, Bowline orders by itself.
    cluster.kubectl(&["apply", DEPLOYER, "--server-side", "-f", &file("shop/zones/definition.yaml")]).unwrap();
    let definition = "crd/deliveryzones.shop.example.com";
    cluster.kubectl(&["wait", "--for=condition=Established", definition, "--timeout=30s"]).unwrap();
    cluster.kubectl(&["apply", DEPLOYER, "--server-side", "-n", "shop", "-R", "-f", &file("shop")]).unwrap();

    for (condition, object) in [
        ("condition=Available", "deployment/web"),
        ("condition=Available", "deployment/worker"),
        ("jsonpath={.status.readyReplicas}=1", "statefulset/database"),
        ("condition=Complete", "job/migrate-1-4-0"),
        ("condition=ScalingActive", "hpa/web"),
        ("jsonpath={.status.loadBalancer.ingress[0].ip}=192.0.2.10", "ingress/web"),
        ("jsonpath={.status.phase}=Bound", "pvc/data-database-0"),
        ("jsonpath={.status.phase}=Bound", "pvc/backups"),
        ("jsonpath={.status.currentHealthy}=3", "pdb/web"),
        ("jsonpath={.spec.country}=NO", "deliveryzone/north"),
    ] {
        let condition = format!("--for={condition}");
        cluster
            .kubectl(&["wait", "-n", "shop", &condition, object, "--timeout=60s"])
            .unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    cluster.kubectl(&["delete", "-f", &file("setup.yaml")]).unwrap();
    cluster.kubectl(&["delete", definition]).unwrap();
}
