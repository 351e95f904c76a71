//! temporary
use std::time::Duration;
fn main() {
    bowline::cluster::client::install_crypto_provider();
    tracing_subscriber::fmt().with_env_filter("bowline=debug").with_writer(std::io::stderr).init();
    let rt = tokio::runtime::Runtime::new().unwrap();
    rt.block_on(async {
        let cluster = bowline::cluster::Cluster::connect(&bowline::cluster::ConnectOptions {
            user_agent: "bowline-controller/0.1.0".into(),
            ..Default::default()
        })
        .await
        .unwrap();
        let options = bowline::controller::Options {
            cache: std::env::var("BOWLINE_CACHE_DIR").unwrap().into(),
            allow_file_repositories: true,
            observe_only: false,
            trust_unverified_requests: false,
            lease_namespace: "default".into(),
            lease_name: std::env::var("LEASE").unwrap_or("bowline".into()),
            identity: "dev".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            request_expiry: Duration::from_secs(600),
            request_retention: Duration::from_secs(604800),
        };
        let stop = tokio_util::sync::CancellationToken::new();
        let s2 = stop.clone();
        tokio::spawn(async move {
            tokio::signal::ctrl_c().await.unwrap();
            s2.cancel();
        });
        let r = bowline::controller::run(cluster, options, bowline::telemetry::Metrics::new("0.1.0"), stop).await;
        eprintln!("{r:?}");
    });
}
