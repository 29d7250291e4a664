//! What is started in a cluster: an [`InCluster`], its files found and the environment's values in it.
//! Must not speak to the cluster, nor know what a manifest holds.
//!
//! 集群启动所需的文件：填入环境变量并确认存在。

use camino::{Utf8Path, Utf8PathBuf};

use super::{environment::Environment, reference::Template, scenario::K8sMode};

/// The files that bring a server up in a cluster. What needs no environment stays in the scenario's
/// [`K8sMode`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InCluster {
    /// What is applied; nothing: it is there already.
    pub manifest: Option<Utf8PathBuf>,
    /// What is deleted afterwards; nothing: what was applied.
    pub delete_manifest: Option<Utf8PathBuf>,
    /// A kubeconfig file; nothing: where `kubectl` looks for one.
    pub kubeconfig: Option<Utf8PathBuf>,
}

impl InCluster {
    /// The files of `mode`; a relative one lies below `root`.
    ///
    /// # Errors
    /// Every file that cannot be named or is not there: its pointer into the scenario, and why.
    pub(super) fn find(
        mode: &K8sMode,
        root: &Utf8Path,
        environment: &Environment,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut wrong = Vec::new();
        let mut find = |key: &str, template: Option<&Template>| {
            let found = file(template?, root, environment);
            found.map_err(|said| wrong.push((format!("/k8s/{key}"), said))).ok()
        };
        let found = Self {
            manifest: find("manifest", mode.manifest.as_ref()),
            delete_manifest: find("delete_manifest", mode.delete_manifest.as_ref()),
            kubeconfig: find("kubeconfig", mode.kubeconfig.as_ref()),
        };
        if wrong.is_empty() { Ok(found) } else { Err(wrong) }
    }
}

fn file(template: &Template, root: &Utf8Path, environment: &Environment) -> Result<Utf8PathBuf, String> {
    let path = root.join(template.fill(environment)?);
    if path.is_file() { Ok(path) } else { Err(format!("there is no file `{path}`")) }
}
