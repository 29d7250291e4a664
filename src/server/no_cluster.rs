//! What stands for a server in a cluster in a build without the feature `kube`: an [`InCluster`] that nobody can
//! have. Must not hold anything but that.
//!
//! 未启用 kube 特性时的占位类型。

use std::convert::Infallible;

use serde_json::Value;
use st_harness::{
    fixture::StartCx,
    verdict::{Note, Reason},
};

use crate::config::Settings;

/// There is none.
pub(super) struct InCluster(Infallible);

impl InCluster {
    pub(super) fn new(_: &Settings) -> Result<Self, Reason> {
        Err(Reason::new("k8s-config", super::NO_CLUSTER).with_detail(super::BUILD_WITH_KUBE))
    }

    pub(super) async fn start(&mut self, _: &StartCx) -> Result<String, Reason> {
        match self.0 {}
    }

    pub(super) async fn beside<T>(
        &mut self,
        _: &StartCx,
        _: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        match self.0 {}
    }

    pub(super) async fn observe(&mut self) {
        match self.0 {}
    }

    pub(super) fn effective(&self) -> Value {
        match self.0 {}
    }

    pub(super) fn command(&self) -> &[String] {
        match self.0 {}
    }

    pub(super) fn first_lines(&self) -> Option<&str> {
        match self.0 {}
    }

    pub(super) fn notes(&self) -> Vec<Note> {
        match self.0 {}
    }

    pub(super) async fn stop(self, _: &StartCx) -> Vec<Note> {
        match self.0 {}
    }
}
