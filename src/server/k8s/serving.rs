//! What serves, as the cluster tells it: [`Serving`] holds images, nodes, and the command that a manifest gave.
//! For the record, and to compare what was asked for with what took effect. Must not make requests.
//!
//! 集群中实际运行的内容：镜像、节点、启动命令。

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Node, Pod};
use serde::Serialize;

/// What stands behind the Service. What cannot be seen is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Serving {
    /// What runs in our pods.
    pub images: Vec<Image>,
    /// Where our pods run.
    pub nodes: Vec<Host>,
    /// The words of the command and the arguments of the container that the Service leads to.
    pub command: Vec<String>,
    /// The beginning of its log.
    pub log: Option<String>,
}

/// The image of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// As the manifest names it.
    pub image: String,
    /// With its digest: what a tag meant when it was pulled. Absent until then.
    pub image_id: Option<String>,
}

/// A node, and the software and hardware that it says it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// `Ubuntu 22.04.4 LTS`.
    pub os: Option<String>,
    /// Its kernel's version.
    pub kernel: Option<String>,
    /// `containerd://1.7.2`.
    pub runtime: Option<String>,
    /// Its kubelet's version.
    pub kubelet: Option<String>,
    /// `cpu`, `memory`, `nvidia.com/gpu` …, as the cluster writes quantities; nothing that it has none of.
    pub capacity: BTreeMap<String, String>,
}

/// The images of `pods`.
pub(super) fn images(pods: &[Pod]) -> Vec<Image> {
    let of_pod = |pod: &Pod| {
        let pulled = |name: &str| {
            let all = pod.status.as_ref()?.container_statuses.as_ref()?;
            let id = all.iter().find(|one| one.name == name)?.image_id.clone();
            Some(id).filter(|id| !id.is_empty())
        };
        let image = |container: &Container| Image {
            pod: pod.metadata.name.clone().unwrap_or_default(),
            container: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            image_id: pulled(&container.name),
        };
        containers(pod).iter().map(image).collect::<Vec<_>>()
    };
    pods.iter().flat_map(of_pod).collect()
}

/// The names of the nodes that `pods` run on.
pub(super) fn node_names(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect()
}

/// What a node says of itself.
pub(super) fn host(node: &Node) -> Host {
    let status = node.status.as_ref();
    let info = status.and_then(|status| status.node_info.as_ref());
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let capacity = status.and_then(|status| status.capacity.as_ref()).into_iter().flatten();
    Host {
        name: node.metadata.name.clone().unwrap_or_default(),
        os: info.and_then(|info| said(&info.os_image)),
        kernel: info.and_then(|info| said(&info.kernel_version)),
        runtime: info.and_then(|info| said(&info.container_runtime_version)),
        kubelet: info.and_then(|info| said(&info.kubelet_version)),
        capacity: capacity
            .filter(|(_, quantity)| quantity.0 != "0")
            .map(|(name, quantity)| (name.clone(), quantity.0.clone()))
            .collect(),
    }
}

/// The server's own container: the first one, for those that are put beside it by others come after it.
pub(super) fn server(pod: &Pod) -> Option<&Container> {
    containers(pod).first()
}

/// The words of its command and arguments. What a manifest hands to a shell in one string is taken apart, too.
pub(super) fn words(container: &Container) -> Vec<String> {
    let all = container.command.iter().chain(&container.args).flatten();
    let apart = all.flat_map(|part| part.split_whitespace());
    apart.map(|word| word.trim_matches(['"', '\'']).to_owned()).filter(|word| word != "\\").collect()
}

fn containers(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(container: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "vllm-0"},
            "spec": {"nodeName": "a", "containers": [container, {"name": "proxy", "image": "envoy:1"}]},
            "status": {"containerStatuses": [{
                "name": "vllm", "image": "vllm:0", "imageID": "vllm@sha256:77", "ready": true, "restartCount": 0
            }]}
        }))
        .unwrap()
    }

    #[test]
    fn an_image_is_told_with_what_its_tag_meant() {
        let pod = pod(json!({"name": "vllm", "image": "vllm:0"}));
        let image = |container: &str, image: &str, id: Option<&str>| Image {
            pod: "vllm-0".into(),
            container: container.into(),
            image: image.into(),
            image_id: id.map(str::to_owned),
        };
        let expected = [image("vllm", "vllm:0", Some("vllm@sha256:77")), image("proxy", "envoy:1", None)];
        assert_eq!(images(std::slice::from_ref(&pod)), expected);
        assert_eq!(node_names(&[pod]), BTreeSet::from(["a".to_owned()]));
    }

    #[test]
    fn the_servers_words_are_found_in_a_list_and_in_a_line_for_a_shell() {
        let list = json!({"name": "vllm", "command": ["vllm", "serve"], "args": ["/m", "--dtype=half"]});
        let line = json!({"name": "vllm", "command": ["sh", "-c"],
                          "args": ["exec vllm serve \"/m\" \\\n  --dtype=half"]});
        for (container, before) in [(list, 0), (line, 3)] {
            let pod = pod(container);
            let words = words(server(&pod).unwrap());
            assert_eq!(words[before..], ["vllm", "serve", "/m", "--dtype=half"]);
        }
    }

    #[test]
    fn a_node_tells_what_it_has() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "a"},
            "status": {
                "capacity": {"cpu": "64", "nvidia.com/gpu": "8", "hugepages-2Mi": "0"},
                "nodeInfo": {"osImage": "Ubuntu 22.04.4 LTS", "kernelVersion": "5.15.0", "kubeletVersion": "v1.29.1",
                             "containerRuntimeVersion": "containerd://1.7.2", "architecture": "amd64", "bootID": "",
                             "kubeProxyVersion": "", "machineID": "", "operatingSystem": "linux", "systemUUID": ""}
            }
        }))
        .unwrap();
        let host = host(&node);
        assert_eq!(host.os.as_deref(), Some("Ubuntu 22.04.4 LTS"));
        assert_eq!((host.kernel.as_deref(), host.kubelet.as_deref()), (Some("5.15.0"), Some("v1.29.1")));
        let capacity = [("cpu", "64"), ("nvidia.com/gpu", "8")];
        assert_eq!(host.capacity, capacity.map(|(name, n)| (name.to_owned(), n.to_owned())).into());
    }
}
