//! From a Service to the address of the server behind it: [`Endpoint`], `http://NODE:PORT/v1`. Must not know
//! whether anything answers there.
//!
//! 由 Service 的 NodePort 与节点地址得出服务地址。

use std::net::Ipv6Addr;

use k8s_openapi::api::core::v1::{Node, Pod, Service, ServicePort};
use st_harness::verdict::Note;

use super::{Settings, failure::Failure, note};

/// Where a server is reached from outside its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://10.0.0.4:30090/v1`.
    pub base_url: String,
    /// The same port on other nodes, should the first one not be reachable from here.
    pub alternatives: Vec<String>,
    /// What a reader should know of how it was found.
    pub notes: Vec<Note>,
}

/// Which port of a node leads to the Service. The order: the port called `port_name`, else its only port, else
/// the configured node port; an error lists the ports that there are.
pub(super) fn node_port(service: &Service, settings: &Settings) -> Result<(u16, Vec<Note>), Failure> {
    let none = Vec::new();
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_ref()).unwrap_or(&none);
    let named = ports.iter().find(|port| port.name.as_deref() == Some(settings.port_name.as_str()));
    let chosen = named.or(match ports.as_slice() {
        [only] => Some(only),
        _ => None,
    });
    let found = chosen.and_then(|port| port.node_port).and_then(|port| u16::try_from(port).ok());
    if let Some(port) = found.filter(|port| *port > 0) {
        return Ok((port, Vec::new()));
    }
    let kind = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
    let problem = match chosen {
        Some(port) => format!("its port {} has no node port: its type is {kind}", told(port)),
        None => format!("it has no port `{}`, but {}", settings.port_name, list(ports)),
    };
    let what = format!("Service {}/{}", settings.namespace, settings.service_name);
    match settings.node_port {
        Some(port) => {
            let text = format!("{what}: {problem}; the configured node port {port} is used unchecked");
            Ok((port, vec![note("k8s-node-port", text)]))
        }
        None => Err(Failure::new(
            "k8s-endpoint",
            format!(
                "{what} cannot be reached from outside: {problem}; set `k8s.port_name` to one of its ports, make \
                 it `type: NodePort`, or set `k8s.node_port`"
            ),
        )),
    }
}

/// The addresses of nodes that lead to the Service, best first: Ready nodes that run one of its pods, then
/// other Ready nodes (not where the Service's external traffic stays local). Of a node's addresses InternalIP
/// is preferred, then ExternalIP, then Hostname: test machines stand beside the cluster more often than not.
pub(super) fn addresses(service: &Service, nodes: &[Node], pods: &[Pod]) -> Vec<String> {
    let local =
        service.spec.as_ref().is_some_and(|spec| spec.external_traffic_policy.as_deref() == Some("Local"));
    let runs_a_pod = |node: &&Node| {
        pods.iter().any(|pod| {
            let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            on.is_some() && on == node.metadata.name.as_ref()
        })
    };
    let ready = nodes.iter().filter(|node| is_ready(node));
    let (near, far): (Vec<_>, Vec<_>) = ready.partition(runs_a_pod);
    near.into_iter().chain(far.into_iter().filter(|_| !local)).filter_map(address).collect()
}

/// Where the pods run, as they say themselves: for users who may not list nodes.
pub(super) fn hosts(pods: &[Pod]) -> Vec<String> {
    let mut hosts: Vec<_> = pods.iter().filter_map(|pod| pod.status.as_ref()?.host_ip.clone()).collect();
    hosts.dedup();
    hosts
}

/// The address of the port on the first of `hosts`, and on the others.
pub(super) fn endpoint(scheme: &str, hosts: &[String], port: u16, notes: Vec<Note>) -> Option<Endpoint> {
    let url = |host: &String| match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("{scheme}://[{address}]:{port}/v1"),
        Err(_) => format!("{scheme}://{host}:{port}/v1"),
    };
    let mut urls = hosts.iter().map(url);
    let base_url = urls.next()?;
    Some(Endpoint { base_url, alternatives: urls.collect(), notes })
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

fn address(node: &Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    ["InternalIP", "ExternalIP", "Hostname"]
        .iter()
        .find_map(|kind| addresses.iter().find(|one| one.type_ == *kind))
        .map(|one| one.address.clone())
}

/// `http: 8080 → 30090`.
fn told(port: &ServicePort) -> String {
    let name = port.name.as_ref().map_or_else(|| "(unnamed)".to_owned(), |name| format!("`{name}`"));
    match port.node_port {
        Some(node) => format!("{name} {} → {node}", port.port),
        None => format!("{name} {}", port.port),
    }
}

fn list(ports: &[ServicePort]) -> String {
    if ports.is_empty() {
        "none at all".to_owned()
    } else {
        ports.iter().map(told).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(node_port: Option<u16>) -> Settings {
        Settings { node_port, ..Settings::new("vllm") }
    }

    fn service(ports: Value) -> Service {
        serde_json::from_value(json!({"spec": {"type": "NodePort", "ports": ports}})).unwrap()
    }

    fn node(name: &str, ready: &str, addresses: Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": ready}], "addresses": addresses}
        }))
        .unwrap()
    }

    fn ip(kind: &str, address: &str) -> Value {
        json!([{"type": "Hostname", "address": "h"}, {"type": kind, "address": address}])
    }

    fn port(ports: Value, configured: Option<u16>) -> Result<(u16, usize), String> {
        node_port(&service(ports), &settings(configured))
            .map(|(port, notes)| (port, notes.len()))
            .map_err(|failure| failure.summary)
    }

    #[test]
    fn the_named_port_wins_then_the_only_one() {
        let two = json!([{"name": "metrics", "port": 1, "nodePort": 30001},
                         {"name": "http", "port": 2, "nodePort": 30002}]);
        assert_eq!(port(two, Some(9)), Ok((30002, 0)));
        assert_eq!(port(json!([{"port": 9000, "nodePort": 30090}]), Some(9)), Ok((30090, 0)));
        assert_eq!(port(json!([{"name": "web", "port": 1, "nodePort": 30001}]), None), Ok((30001, 0)));
    }

    #[test]
    fn the_configured_port_is_the_last_resort_and_is_told() {
        let two = json!([{"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2}]);
        assert_eq!(port(two.clone(), Some(30007)), Ok((30007, 1)));
        let error = port(two, None).unwrap_err();
        assert!(error.contains("it has no port `http`, but `a` 1 → 30001, `b` 2"), "{error}");
    }

    #[test]
    fn a_service_without_node_ports_says_what_it_is() {
        let inner: Service = serde_json::from_value(json!({"spec": {"ports": [{"port": 80}]}})).unwrap();
        let error = node_port(&inner, &settings(None)).unwrap_err().summary;
        assert!(error.contains("its port (unnamed) 80 has no node port: its type is ClusterIP"), "{error}");
        assert!(error.contains("make it `type: NodePort`"), "{error}");
    }

    #[test]
    fn ready_nodes_with_a_pod_come_first() {
        let nodes = [
            node("a", "True", ip("InternalIP", "10.0.0.1")),
            node("b", "True", ip("ExternalIP", "1.2.3.4")),
            node("c", "False", ip("InternalIP", "10.0.0.3")),
            node("d", "True", json!([{"type": "Hostname", "address": "d.example"}])),
        ];
        let on_b: Pod = serde_json::from_value(json!({"spec": {"nodeName": "b", "containers": []}})).unwrap();
        let open = service(json!([]));
        assert_eq!(
            addresses(&open, &nodes, std::slice::from_ref(&on_b)),
            ["1.2.3.4", "10.0.0.1", "d.example"]
        );
        let local: Service =
            serde_json::from_value(json!({"spec": {"externalTrafficPolicy": "Local"}})).unwrap();
        assert_eq!(addresses(&local, &nodes, &[on_b]), ["1.2.3.4"]);
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let found = endpoint("http", &["fd00::1".into(), "10.0.0.1".into()], 30090, Vec::new()).unwrap();
        assert_eq!(found.base_url, "http://[fd00::1]:30090/v1");
        assert_eq!(found.alternatives, ["http://10.0.0.1:30090/v1"]);
        assert_eq!(endpoint("http", &[], 1, Vec::new()), None);
    }
}
