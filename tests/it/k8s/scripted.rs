//! Every failure of an API server, by script.
//!
//! 按脚本重现每一种 API 失败。

use std::time::Duration;

use serde_json::{Value, json};
use st_harness::verdict::Reason;
use vllm_cibench::server::k8s::{
    Access, Cluster, Endpoint, Existing, Launch, Manifest, RUN_LABEL, Settings, Waits, cleanup_within,
};

use super::{
    QUICK, Run, SERVER,
    paper::{Paper, Reply},
    texts,
};

const SERVICE: &str = "/api/v1/namespaces/default/services/vllm";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/vllm";
const TAKEN: &str = "Service \"vllm\" is invalid: spec.ports[0].nodePort: Invalid value: 30090: provided port is \
                     already allocated";

/// Deadlines that a test can sit out.
const SHORT: Waits = Waits {
    service: Duration::from_millis(200),
    established: Duration::from_millis(200),
    image: Duration::ZERO,
    delete: Duration::from_millis(200),
    ..QUICK
};

async fn launch(paper: &Paper, run: &Run, manifest: &str) -> Launch {
    let settings =
        Settings { manifest: Some(run.write("m.yaml", manifest)), waits: SHORT, ..Settings::new("vllm") };
    Launch::within(paper.cluster(SHORT).await, settings)
}

async fn start(paper: &Paper, manifest: &str) -> (Run, Launch, Result<Endpoint, Reason>) {
    let run = Run::new("r1");
    let mut launch = launch(paper, &run, manifest).await;
    let outcome = launch.start(&run.cx).await;
    (run, launch, outcome)
}

async fn refused(method: &'static str, part: &'static str, reply: Reply) -> (Paper, Reason) {
    let paper = Paper::new();
    paper.rule(method, part, usize::MAX, reply);
    let reason = start(&paper, SERVER).await.2.unwrap_err();
    (paper, reason)
}

fn pod(name: &str, status: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "vllm"}},
           "status": status})
}

fn crashing() -> Value {
    json!({"phase": "Running", "hostIP": "10.9.9.9", "containerStatuses": [{
        "name": "vllm", "image": "i", "imageID": "", "ready": false, "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    }]})
}

#[tokio::test]
async fn a_launch_applies_finds_the_address_and_leaves_nothing() {
    let paper = Paper::new();
    let (run, mut launch, outcome) = start(&paper, SERVER).await;
    assert_eq!(outcome.unwrap().base_url, "http://10.0.0.1:30090/v1");
    assert_eq!(paper.get(DEPLOYMENT).unwrap()["metadata"]["labels"][RUN_LABEL], "r1");
    assert_eq!(run.open(), 2);
    assert!(run.said("applied Deployment default/vllm"));
    assert_eq!(texts(&launch.stop(&run.cx).await), Vec::<&str>::new());
    assert_eq!(paper.paths(), Vec::<String>::new());
    assert_eq!(run.open(), 0);
    let deleted = paper.seen("DELETE");
    assert_eq!(deleted, [format!("DELETE {SERVICE}"), format!("DELETE {DEPLOYMENT}")], "in reverse order");
}

#[tokio::test]
async fn credentials_that_are_not_accepted_are_told_before_anything_is_done() {
    let paper = Paper::new();
    paper.rule("GET", "/version", 1, Reply::Refuse(401, "Unauthorized"));
    let access = Access { kubeconfig: None, context: Some("old".into()) };
    let reason = Cluster::with_client(paper.client(), access, SHORT).await.err().unwrap();
    assert_eq!(reason.kind, "k8s-unauthorized");
    assert!(reason.summary.contains("credentials of context `old` (401)"), "{}", reason.summary);
    assert_eq!(paper.seen("PATCH"), Vec::<String>::new());
}

#[tokio::test]
async fn missing_rights_name_the_object_and_its_line() {
    let (paper, reason) = refused(
        "PATCH",
        "/services/",
        Reply::Refuse(403, "services is forbidden: User \"guest\" cannot patch"),
    )
    .await;
    assert_eq!(reason.kind, "k8s-forbidden");
    assert!(
        reason.summary.contains("is not allowed to apply Service default/vllm (403)"),
        "{}",
        reason.summary
    );
    assert_eq!(reason.place.unwrap().line, 13);
    assert_eq!(paper.paths(), [DEPLOYMENT], "what was applied before it stays until the launch is stopped");
}

#[tokio::test]
async fn a_kind_that_the_cluster_does_not_know_asks_for_its_operator() {
    let reason =
        start(&Paper::new(), "apiVersion: x.y/v1\nkind: Thing\nmetadata: {name: t}\n").await.2.unwrap_err();
    assert_eq!(reason.kind, "k8s-kind");
    assert!(
        reason.summary.starts_with("the cluster does not know the kind Thing of x.y/v1"),
        "{}",
        reason.summary
    );
}

#[tokio::test]
async fn a_missing_namespace_is_told_as_such() {
    let (_, reason) =
        refused("PATCH", "/deployments/", Reply::Refuse(404, "namespaces \"default\" not found")).await;
    assert!(reason.summary.starts_with("there is no namespace `default`: create it"), "{}", reason.summary);
}

#[tokio::test]
async fn a_conflict_is_told_and_not_repeated() {
    let (paper, reason) = refused("PATCH", "/services/", Reply::Refuse(409, "object was modified")).await;
    assert_eq!(reason.kind, "k8s-conflict");
    assert_eq!(paper.seen("PATCH").len(), 2, "one for the Deployment, one for the Service");
}

#[tokio::test]
async fn a_node_port_that_is_taken_is_told_and_what_came_before_it_is_removed() {
    let paper = Paper::new();
    paper.rule("PATCH", "/services/", 1, Reply::Refuse(422, TAKEN));
    let (run, mut launch, outcome) = start(&paper, SERVER).await;
    let reason = outcome.unwrap_err();
    assert_eq!(reason.kind, "k8s-node-port");
    assert!(reason.summary.starts_with("node port 30090 belongs to another Service"), "{}", reason.summary);
    assert_eq!(texts(&launch.stop(&run.cx).await), Vec::<&str>::new());
    assert_eq!((paper.paths().len(), run.open()), (0, 0));
}

#[tokio::test]
async fn a_fault_of_the_server_is_told_at_once_and_one_that_may_pass_is_sat_out() {
    let (paper, reason) = refused("PATCH", "/deployments/", Reply::Refuse(500, "etcd is away")).await;
    assert_eq!(reason.kind, "k8s-server");
    assert_eq!(paper.seen("PATCH").len(), 1);

    let paper = Paper::new();
    paper.rule("PATCH", "/deployments/", 2, Reply::Refuse(503, "starting"));
    assert!(start(&paper, SERVER).await.2.is_ok());

    let (paper, reason) = refused("PATCH", "/deployments/", Reply::Text(503, "<html>busy".into())).await;
    assert!(reason.summary.contains("(503): <html>busy"), "{}", reason.summary);
    assert_eq!(paper.seen("PATCH").len(), 3);
}

#[tokio::test]
async fn a_server_that_never_answers_ends_at_the_deadline() {
    let paper = Paper::new();
    paper.rule("GET", "/version", usize::MAX, Reply::Hang);
    let waits = Waits { call: Duration::from_millis(30), ..SHORT };
    let reason = Cluster::with_client(paper.client(), Access::default(), waits).await.err().unwrap();
    assert_eq!(reason.kind, "k8s-timeout");
    assert!(reason.summary.starts_with("no answer from the Kubernetes API server within 0.03 s"));
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_points_at_the_address() {
    for part in ["/version", "/apis/apps/v1"] {
        let paper = Paper::new();
        paper.rule("GET", part, usize::MAX, Reply::Text(200, "<html>welcome".into()));
        let reason = match Cluster::with_client(paper.client(), Access::default(), SHORT).await {
            Err(reason) => reason,
            Ok(_) => start(&paper, SERVER).await.2.unwrap_err(),
        };
        assert_eq!(reason.kind, "k8s-answer", "{part}");
        assert!(reason.summary.contains("check `server:`"), "{}", reason.summary);
    }
}

#[tokio::test]
async fn a_service_that_never_comes_is_named_at_the_deadline() {
    let (run, _, outcome) = start(&Paper::new(), SERVER.split("---").next().unwrap()).await;
    let reason = outcome.unwrap_err();
    assert_eq!(reason.kind, "k8s-endpoint");
    assert_eq!(reason.summary, "waited 0.2 s in vain for Service default/vllm to appear; no pod yet");
    assert!(run.said("waiting for Service default/vllm to appear (0 of 0 s): no pod yet"));
}

#[tokio::test]
async fn an_operators_service_is_waited_for() {
    let paper = Paper::new();
    paper.rule("GET", SERVICE, 4, Reply::Refuse(404, "not yet"));
    let (run, _, outcome) = start(&paper, SERVER).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(run.said("waiting for Service default/vllm to appear"));
}

#[tokio::test]
async fn waiting_ends_early_when_all_pods_have_died_with_their_last_words() {
    let paper = Paper::new();
    paper.put("/api/v1/namespaces/default/pods/vllm-1", pod("vllm-1", crashing()));
    paper.rule("GET", "/log?", 1, Reply::Text(200, "torch.OutOfMemoryError\n".into()));
    let (run, mut launch, _) = start(&paper, SERVER).await;
    let reason = launch.look().await.unwrap_err();
    assert_eq!(reason.kind, "server-died");
    assert_eq!(
        reason.summary,
        "the only pod will never serve: vllm-1 (container vllm: CrashLoopBackOff after 4 restarts, last: \
         OOMKilled with exit code 137)"
    );
    assert_eq!(reason.detail, "last lines of vllm-1/vllm:\ntorch.OutOfMemoryError\n");
    paper.put("/api/v1/namespaces/default/pods/vllm-2", pod("vllm-2", json!({"phase": "Pending"})));
    let line = launch.look().await.unwrap();
    assert!(line.contains("vllm-2 Pending"), "one pod that lives keeps the wait alive: {line}");
    paper.remove("/api/v1/namespaces/default/pods/vllm-1");
    drop(run);
}

#[tokio::test]
async fn progress_shows_the_last_warning() {
    let paper = Paper::new();
    paper.put("/api/v1/namespaces/default/pods/vllm-1", pod("vllm-1", json!({"phase": "Pending"})));
    paper.put(
        "/api/v1/namespaces/default/events/e",
        json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "FailedScheduling", "message": "0/1 nodes",
               "involvedObject": {"kind": "Pod", "name": "vllm-1", "uid": "vllm-1"}}),
    );
    let (_run, mut launch, _) = start(&paper, SERVER).await;
    assert_eq!(
        launch.look().await.unwrap(),
        "vllm-1 Pending; last warning: FailedScheduling Pod vllm-1: 0/1 nodes"
    );
}

#[tokio::test]
async fn a_cluster_that_cannot_be_asked_just_now_is_no_reason_to_stop_waiting() {
    let paper = Paper::new();
    let (_run, mut launch, _) = start(&paper, SERVER).await;
    paper.rule("GET", "/pods", 3, Reply::Refuse(503, "restarting"));
    let line = launch.look().await.unwrap();
    assert!(line.starts_with("the pods cannot be seen: the API server failed"), "{line}");
}

#[tokio::test]
async fn cancelling_ends_the_wait_and_says_for_what() {
    let paper = Paper::new();
    let run = Run::new("r1");
    let mut launch = launch(&paper, &run, SERVER.split("---").next().unwrap()).await;
    run.cx.cancel.cancel();
    let before = launch.start(&run.cx).await.unwrap_err();
    assert_eq!(before.summary, "cancelled before Deployment vllm was applied");

    let run = Run::new("r1");
    let waits = Waits { service: Duration::from_secs(60), ..SHORT };
    let manifest = run.write("m.yaml", SERVER.split("---").next().unwrap());
    let settings = Settings { manifest: Some(manifest), ..Settings::new("vllm") };
    let mut launch = Launch::within(paper.cluster(waits).await, settings);
    let cancel = run.cx.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    });
    let during = launch.start(&run.cx).await.unwrap_err();
    assert_eq!(during.summary, "cancelled while waiting for Service default/vllm to appear");
    assert_eq!(
        texts(&launch.stop(&run.cx).await),
        Vec::<&str>::new(),
        "cancelling does not stop the clean-up"
    );
    assert_eq!(paper.paths(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_somebody_elses_is_neither_changed_nor_deleted() {
    let paper = Paper::new();
    let theirs = json!({"metadata": {"name": "vllm", "uid": "theirs"}, "spec": {"ports": [
        {"name": "http", "port": 1, "nodePort": 30001}]}});
    paper.put(SERVICE, theirs.clone());
    let (run, mut launch, outcome) = start(&paper, SERVER).await;
    let reason = outcome.unwrap_err();
    assert_eq!(reason.kind, "k8s-exists");
    assert!(
        reason.summary.contains("is not of this run, which would delete it in the end"),
        "{}",
        reason.summary
    );
    assert_eq!(texts(&launch.stop(&run.cx).await), Vec::<&str>::new());
    assert_eq!((paper.get(SERVICE), paper.paths().len()), (Some(theirs), 1));
}

#[tokio::test]
async fn what_is_updated_on_request_stays_in_the_end() {
    let paper = Paper::new();
    paper.put(SERVICE, json!({"metadata": {"name": "vllm", "uid": "theirs"}}));
    let run = Run::new("r1");
    let settings = Settings {
        manifest: Some(run.write("m.yaml", SERVER)),
        existing: Existing::Update,
        ..Settings::new("vllm")
    };
    let mut launch = Launch::within(paper.cluster(SHORT).await, settings);
    launch.start(&run.cx).await.unwrap();
    assert!(launch.notes()[0].text.contains("it was updated, and stays"), "{:?}", launch.notes());
    launch.stop(&run.cx).await;
    assert_eq!(paper.paths(), [SERVICE]);
    assert_eq!(paper.get(SERVICE).unwrap()["metadata"].get("labels"), None);
}

#[tokio::test]
async fn what_may_not_be_deleted_is_told_and_a_later_clean_up_removes_it() {
    let paper = Paper::new();
    let (run, mut launch, _) = start(&paper, SERVER).await;
    paper.rule("DELETE", "/services/", 1, Reply::Refuse(403, "services is forbidden"));
    let notes = launch.stop(&run.cx).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].text.contains("is not allowed to delete Service default/vllm (403)"),
        "{}",
        notes[0].text
    );
    assert_eq!((paper.paths().len(), run.open()), (1, 1));

    let cluster = paper.cluster(SHORT).await;
    let notes = cleanup_within(&cluster, run.path(), &|_| {}).await.unwrap();
    assert_eq!(texts(&notes), Vec::<&str>::new());
    assert_eq!((paper.paths().len(), run.open()), (0, 0));
}

#[tokio::test]
async fn what_was_created_anew_in_between_is_left_alone() {
    let paper = Paper::new();
    let (run, mut launch, _) = start(&paper, SERVER).await;
    let mut anew = paper.get(SERVICE).unwrap();
    anew["metadata"]["uid"] = json!("other");
    paper.put(SERVICE, anew);
    paper.rule(
        "DELETE",
        "/deployments/",
        1,
        Reply::Refuse(409, "the UID in the precondition does not match"),
    );
    let notes = launch.stop(&run.cx).await;
    assert_eq!(
        texts(&notes),
        [
            "Service default/vllm was left alone: it was created anew since (uid other, not uid-2)",
            "Deployment default/vllm was left alone: it was created anew in between",
        ]
    );
}

#[tokio::test]
async fn a_finalizer_that_hangs_is_named_and_the_rest_is_deleted_all_the_same() {
    let paper = Paper::new();
    let manifest = SERVER.replace(
        "kind: Service\nmetadata: {name: vllm}",
        "kind: Service\nmetadata: {name: vllm, finalizers: [x.y/hold]}",
    );
    let (run, mut launch, _) = start(&paper, &manifest).await;
    let notes = launch.stop(&run.cx).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0].kind, "k8s-left");
    assert!(notes[0].text.contains("finalizer `x.y/hold` is still set"), "{}", notes[0].text);
    assert_eq!((paper.paths(), run.open()), (vec![SERVICE.to_owned()], 1));
}

#[tokio::test]
async fn pods_that_stay_are_named() {
    let paper = Paper::new();
    let (run, mut launch, _) = start(&paper, SERVER).await;
    paper.put("/api/v1/namespaces/default/pods/vllm-1", pod("vllm-1", json!({"phase": "Running"})));
    let notes = launch.stop(&run.cx).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].text.starts_with("pods that still hold their devices after the clean-up: vllm-1"));
}

#[tokio::test]
async fn a_manifest_of_what_to_delete_replaces_what_was_applied() {
    let paper = Paper::new();
    let run = Run::new("r1");
    let parts: Vec<_> = SERVER.split("---").collect();
    let settings = Settings {
        manifest: Some(run.write("m.yaml", SERVER)),
        delete_manifest: Some(run.write("d.yaml", parts[0])),
        ..Settings::new("vllm")
    };
    let mut launch = Launch::within(paper.cluster(SHORT).await, settings);
    launch.start(&run.cx).await.unwrap();
    let notes = launch.stop(&run.cx).await;
    assert_eq!(
        texts(&notes),
        [
            "applied by this run and not among what was to be deleted: Service default/vllm; `vllm-cibench cleanup \
          --run` removes it"
        ]
    );
    assert_eq!((paper.paths(), run.open()), (vec![SERVICE.to_owned()], 1));
}

#[tokio::test]
async fn a_pods_host_stands_in_where_nodes_may_not_be_listed() {
    let paper = Paper::new();
    paper.rule("GET", "/nodes", usize::MAX, Reply::Refuse(403, "nodes is forbidden"));
    paper.put(
        "/api/v1/namespaces/default/pods/vllm-1",
        pod("vllm-1", json!({"phase": "Running", "hostIP": "10.7.7.7"})),
    );
    let found = start(&paper, SERVER).await.2.unwrap();
    assert_eq!(found.base_url, "http://10.7.7.7:30090/v1");
    assert_eq!(found.notes[0].kind, "k8s-node-address");
}

#[tokio::test]
async fn a_definition_and_its_object_come_in_one_file_and_a_definition_that_was_there_stays() {
    let both = "apiVersion: x.y/v1\nkind: Thing\nmetadata: {name: t}\n---\napiVersion: apiextensions.k8s.io/v1\n\
                kind: CustomResourceDefinition\nmetadata: {name: things.x.y}\nspec: {group: x.y, names: {kind: \
                Thing}}\n";
    let manifest = format!("{both}---{SERVER}");
    let paper = Paper::new();
    let (run, mut launch, outcome) = start(&paper, &manifest).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.x.y";
    assert_eq!(paper.seen("PATCH")[0], format!("PATCH {crd}"));
    launch.stop(&run.cx).await;
    assert_eq!(paper.paths(), Vec::<String>::new());

    let paper = Paper::new();
    let established = json!({"conditions": [{"type": "Established", "status": "True"}]});
    paper.put(crd, json!({"metadata": {"name": "things.x.y", "uid": "old"}, "status": established}));
    let (run, mut launch, outcome) = start(&paper, &manifest).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    launch.stop(&run.cx).await;
    assert_eq!(paper.paths(), [crd]);
}

#[tokio::test]
async fn a_definition_that_is_not_accepted_says_why() {
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: \
               things.x.y}\n";
    let refused = json!({"metadata": {"name": "things.x.y"}, "status": {"conditions": [
        {"type": "NamesAccepted", "status": "False", "message": "\"Thing\" is already in use"}]}});
    let paper = Paper::new();
    let path = "/customresourcedefinitions/things.x.y";
    paper.rule("GET", path, 1, Reply::Refuse(404, "not there yet"));
    paper.rule("GET", path, usize::MAX, Reply::Text(200, refused.to_string()));
    let reason = start(&paper, crd).await.2.unwrap_err();
    assert_eq!(
        reason.summary,
        "CustomResourceDefinition things.x.y was not established within 0.2 s: \"Thing\" is already in use"
    );
}

#[tokio::test]
async fn an_api_server_that_restarts_in_mid_wait_is_waited_for() {
    let paper = Paper::new();
    paper.rule("GET", SERVICE, 1, Reply::Refuse(404, "the look before applying"));
    paper.rule("GET", SERVICE, 3, Reply::Refuse(503, "starting"));
    let (run, _, outcome) = start(&paper, SERVER).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(run.said("waiting for the API server to answer again"));
}

#[test]
fn the_manifests_that_come_with_the_product_can_be_read() {
    let dir = camino::Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/deploy");
    let kinds = |name: &str| -> Vec<_> {
        Manifest::load(&dir.join(name)).unwrap().objects.into_iter().map(|object| object.gvk.kind).collect()
    };
    assert_eq!(kinds("vllm_nodeport.yaml"), ["Deployment", "Service"]);
    assert_eq!(kinds("infer_vllm_kubeinfer.yaml"), ["KubeInfer"]);
}

#[tokio::test]
async fn logs_and_events_are_kept_in_the_run_folder() {
    let paper = Paper::new();
    paper.put("/api/v1/namespaces/default/pods/vllm-1", pod("vllm-1", crashing()));
    paper.rule("GET", "previous=true", 1, Reply::Text(200, "the first life\n".into()));
    paper.rule("GET", "/log?", 1, Reply::Text(200, "the second life\n".into()));
    paper.put(
        "/api/v1/namespaces/default/events/e",
        json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff", "message": "again",
               "lastTimestamp": "2026-01-02T03:04:05Z",
               "involvedObject": {"kind": "Pod", "name": "vllm-1", "uid": "vllm-1"}}),
    );
    let run = Run::new("r1");
    let settings = Settings { pods: vec!["app=vllm".into()], ..Settings::new("vllm") };
    let mut launch = Launch::within(paper.cluster(SHORT).await, settings);
    assert_eq!(texts(&launch.stop(&run.cx).await), Vec::<&str>::new());
    let read = |name: &str| std::fs::read_to_string(run.path().join("k8s").join(name)).unwrap();
    assert_eq!(read("default.vllm-1.vllm.log"), "the second life\n");
    assert_eq!(read("default.vllm-1.vllm.previous.log"), "the first life\n");
    assert_eq!(read("events.txt"), "2026-01-02T03:04:05Z Warning BackOff Pod vllm-1: again\n");
    assert_eq!(paper.seen("DELETE"), Vec::<String>::new(), "nothing was applied, nothing is deleted");
}

#[tokio::test]
async fn a_deployment_waits_for_its_pods_and_stays() {
    let paper = Paper::new();
    let run = Run::new("r1");
    let settings = Settings {
        manifest: Some(run.write("m.yaml", SERVER)),
        existing: Existing::Update,
        ..Settings::new("")
    };
    let mut launch = Launch::within(paper.cluster(SHORT).await, settings);
    let late = launch.deploy(Some(Duration::from_millis(50)), &run.cx).await.unwrap();
    assert_eq!(late.ready, Some(false));
    assert_eq!(late.objects, ["Deployment default/vllm", "Service default/vllm"]);
    let running = json!({"phase": "Running", "containerStatuses": [{
        "name": "vllm", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]});
    paper.put("/api/v1/namespaces/default/pods/vllm-1", pod("vllm-1", running));
    assert_eq!(launch.deploy(Some(Duration::from_secs(9)), &run.cx).await.unwrap().ready, Some(true));
    assert_eq!(launch.deploy(None, &run.cx).await.unwrap().ready, None);
    assert_eq!((paper.paths().len(), run.open()), (3, 2));
}

#[tokio::test]
async fn a_mistake_in_the_manifest_is_told_before_the_cluster_is_asked() {
    let paper = Paper::new();
    let (_run, _, outcome) = start(&paper, "kind: Service\n").await;
    let reason = outcome.unwrap_err();
    assert_eq!(reason.kind, "k8s-manifest");
    assert!(
        reason.summary.ends_with("m.yaml:1:1: `apiVersion` is missing, such as `apps/v1`"),
        "{}",
        reason.summary
    );
    assert_eq!(paper.seen("GET"), ["GET /version"]);
}
