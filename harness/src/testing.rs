//! Small values for the unit tests of this crate. Must not be compiled into it.
//!
//! 单元测试用的小样本。

use std::sync::Arc;

use serde_json::{Map, json};

use crate::{
    case::{ExpandedCase, TrialId},
    read::Origin,
};

/// A case with nothing special about it.
pub(crate) fn case(id: &str) -> ExpandedCase {
    ExpandedCase {
        id: TrialId::new(id).expect("a legal id"),
        case_id: id.to_owned(),
        file: id.split("::").nth(1).unwrap_or_default().to_owned(),
        about: None,
        tags: Vec::new(),
        required_capabilities: Vec::new(),
        skip_if_unsupported: true,
        timeout: None,
        exclusive: false,
        values: Map::new(),
        spec: Arc::new(json!({})),
        origin: Origin::default(),
        hash: String::new(),
    }
}
