//! What happens while the API server cannot be reached, or an answer is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bowline::{
    cluster::{
        Cluster, ConnectOptions,
        apply::{Outcome, Stage, apply_stage},
        evidence::behind,
        observe::observe,
    },
    plan::{Action, Candidate, Observation, Observations, Why},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::world::{World, proposal};

/// Forwards connections to the API server until it is told to lose the
/// answers: then requests arrive, and connections end before the answer.
struct Proxy {
    port: u16,
    lose_answers: Arc<AtomicBool>,
    refuse: Arc<AtomicBool>,
}

impl Proxy {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lose_answers = Arc::new(AtomicBool::new(false));
        let refuse = Arc::new(AtomicBool::new(false));
        let (lose, no) = (lose_answers.clone(), refuse.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if no.load(Ordering::SeqCst) {
                    continue;
                }
                let (server, lose) = (server.clone(), lose.clone());
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    let (mut from_client, mut to_client) = client.split();
                    let (mut from_server, mut to_server) = server.split();
                    let there = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
                    let back = async {
                        let mut buffer = vec![0; 16 << 10];
                        loop {
                            let read = from_server.read(&mut buffer).await?;
                            // Ending here loses an answer that was given.
                            if read == 0 || lose.load(Ordering::SeqCst) {
                                return std::io::Result::Ok(());
                            }
                            to_client.write_all(&buffer[..read]).await?;
                        }
                    };
                    let _ = tokio::select! { result = there => result, result = back => result };
                });
            }
        });
        Self { port, lose_answers, refuse }
    }
}

/// A cluster behind a proxy.
async fn behind_proxy(world: &World) -> (Cluster, Proxy) {
    let server = world.access.server().unwrap();
    let address = server.trim_start_matches("https://").replace("localhost", "127.0.0.1");
    let proxy = Proxy::to(address.clone()).await;
    let text = std::fs::read_to_string(world.access.kubeconfig_path()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    let host = address.rsplit_once(':').unwrap().0;
    let through = text.replace(&server, &format!("https://{host}:{}", proxy.port));
    assert_ne!(through, text);
    std::fs::write(&path, through).unwrap();
    let options = ConnectOptions { kubeconfig: Some(path), context: None, user_agent: "bowline-test/0".into() };
    (Cluster::connect(&options).await.unwrap(), proxy)
}

fn candidates(world: &World, number: usize) -> Vec<Candidate> {
    (0..number)
        .map(|number| world.config_map(&format!("c{number}"), "1"))
        .map(|manifest| Candidate {
            id: manifest.id.clone(),
            gvk: manifest.gvk.clone(),
            desired: Some(manifest),
            owned: None,
            why: Why::New,
        })
        .collect()
}

#[tokio::test]
async fn a_server_out_of_reach_makes_every_candidate_unreadable_soon() {
    let world = World::new().await;
    for known in [false, true] {
        let (cluster, proxy) = behind_proxy(&world).await;
        if known {
            cluster.discovery().ensure().await.unwrap();
        }
        proxy.refuse.store(true, Ordering::SeqCst);
        proxy.lose_answers.store(true, Ordering::SeqCst);
        let began = Instant::now();
        let observations = observe(&cluster, &world.identity, &proposal(candidates(&world, 500)), &world.policy).await;
        assert_eq!(observations.len(), 500);
        let unreadable = |it: &Observation| matches!(it, Observation::Unreadable(error) if error.transient);
        assert!(observations.values().all(unreadable), "{observations:?}");
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_never_reported_as_refused_or_done_twice() {
    let world = World::new().await;
    let (cluster, proxy) = behind_proxy(&world).await;
    cluster.discovery().ensure().await.unwrap();
    let config_map = world.config_map("a", "1");
    let actions = [world.make(&config_map)];
    let actions: Vec<&Action> = actions.iter().collect();
    // The first answer is lost, the next ones are not.
    let asked = AtomicBool::new(false);
    let permit = || {
        if !asked.swap(true, Ordering::SeqCst) {
            proxy.lose_answers.store(true, Ordering::SeqCst);
            let lose = proxy.lose_answers.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                lose.store(false, Ordering::SeqCst);
            });
        }
        true
    };
    let none = Observations::new();
    let stage = Stage {
        cluster: &cluster,
        identity: &world.identity,
        manager: &world.policy.membership.manager,
        observations: &none,
        permit: &permit,
    };
    let results = apply_stage(&stage, &actions, |_| ()).await;
    // Either the request did not arrive and was sent again, or it did, and the
    // object has to be observed: its own marks say whose it is.
    match &results[0].outcome {
        Outcome::Applied(applied) => assert!(applied.created),
        Outcome::Stale(error) => assert!(error.transient, "{error:?}"),
        other => panic!("{other:?}"),
    }
    let live = world.live(&config_map).await.unwrap();
    assert_eq!(live["metadata"]["labels"]["bowline.dev/set"], "set-1");
    assert_eq!(live["metadata"]["managedFields"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stage_ends_soon_when_the_server_goes_away() {
    let world = World::new().await;
    let (cluster, proxy) = behind_proxy(&world).await;
    cluster.discovery().ensure().await.unwrap();
    proxy.refuse.store(true, Ordering::SeqCst);
    proxy.lose_answers.store(true, Ordering::SeqCst);
    let actions: Vec<Action> = (0..300).map(|it| world.make(&world.config_map(&format!("c{it}"), "1"))).collect();
    let actions: Vec<&Action> = actions.iter().collect();
    let none = Observations::new();
    let stage = Stage {
        cluster: &cluster,
        identity: &world.identity,
        manager: &world.policy.membership.manager,
        observations: &none,
        permit: &|| true,
    };
    let began = Instant::now();
    let results = apply_stage(&stage, &actions, |_| ()).await;
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    assert_eq!(results.len(), 300);
    let failed = |it: &Outcome| matches!(it, Outcome::Failed(error) if error.transient);
    assert!(results.iter().any(|it| failed(&it.outcome)));
    assert!(results.iter().all(|it| failed(&it.outcome) || matches!(it.outcome, Outcome::NotBegun(_))));
}

/// Applications are tasks of a runtime with several threads.
#[tokio::test]
async fn what_is_long_can_be_awaited_on_any_thread() {
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    let world = World::without_rights().await;
    let proposal = proposal(Vec::new());
    assert!(sendable(observe(&world.cluster, &world.identity, &proposal, &world.policy)).await.is_empty());
    let none = Observations::new();
    let stage = Stage {
        cluster: &world.cluster,
        identity: &world.identity,
        manager: "m",
        observations: &none,
        permit: &|| true,
    };
    assert!(sendable(apply_stage(&stage, &[], |_| ())).await.is_empty());
    sendable(bowline::cluster::apply::prove(&world.cluster, &world.identity, "m", &[])).await;
    let object = serde_json::json!({"metadata": {"name": "a", "namespace": world.namespace}});
    sendable(behind(&world.cluster, &world.identity, &object)).await;
}
