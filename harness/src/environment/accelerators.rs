//! The accelerators of this machine, as the tools of their drivers list them: [`gpus`] and [`npus`].
//! Must not use any.
//!
//! 加速卡及其驱动版本。

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::ask::ask;

/// Name and driver of each GPU; nothing without one.
pub(super) fn gpus() -> Option<Value> {
    let text = ask("nvidia-smi", &["--query-gpu=name,driver_version", "--format=csv,noheader"])?;
    some(gpus_of(&text))
}

/// Name and driver of each NPU; nothing without one.
pub(super) fn npus() -> Option<Value> {
    some(npus_of(&ask("npu-smi", &["info"])?))
}

fn some(all: Vec<Value>) -> Option<Value> {
    (!all.is_empty()).then(|| json!(all))
}

/// `NVIDIA H100 80GB HBM3, 550.54.15`, a line each.
fn gpus_of(text: &str) -> Vec<Value> {
    let each = text.lines().filter_map(|line| line.rsplit_once(','));
    each.map(|(name, driver)| json!({"name": name.trim(), "driver": driver.trim()})).collect()
}

static VERSION: LazyLock<Regex> = LazyLock::new(|| pattern(r"Version: *(\S+)"));
/// A card's first line: its number and its name. Its chips follow, with numbers only.
static CARD: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?m)^\| *\d+ +(\S*[A-Za-z]\S*) *\|"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("this file's patterns are checked by its tests")
}

/// The table of `npu-smi info`.
fn npus_of(text: &str) -> Vec<Value> {
    let driver = VERSION.captures(text).map(|found| found[1].to_owned());
    CARD.captures_iter(text).map(|card| json!({"name": &card[1], "driver": driver})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gpu_has_a_name_and_a_driver() {
        let gpus = gpus_of("NVIDIA H100 80GB HBM3, 550.54.15\nNVIDIA L4, 550.54.15\n");
        let first = json!({"name": "NVIDIA H100 80GB HBM3", "driver": "550.54.15"});
        assert_eq!((gpus.len(), &gpus[0]), (2, &first));
        assert_eq!(gpus_of("No devices were found\n"), Vec::<Value>::new());
    }

    #[test]
    fn each_npu_has_a_name_and_a_driver() {
        let table = "\
+------------------------------------------------------------------------------------------------+
| npu-smi 23.0.2                   Version: 23.0.2                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 91.5        35                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3314 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | OK            | 93.1        36                0    / 0             |
| 0     1                   | 0000:C2:00.0  | 0           0    / 0          3314 / 65536         |
+===========================+===============+====================================================+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 0                                                            |
+===========================+===============+====================================================+
";
        assert_eq!(npus_of(table), vec![json!({"name": "910B3", "driver": "23.0.2"}); 2]);
        assert_eq!(npus_of("dcmi module initialize failed"), Vec::<Value>::new());
    }
}
