//! The files that teach how to write cases are cases themselves: they are read without a mistake, and pass.
//!
//! 示例文件本身也必须正确且通过。

use super::{Bench, trials, why};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_pass_on_a_server_that_is_right() {
    let trials = trials("configs/examples");
    let files: std::collections::BTreeSet<&str> = trials.iter().map(|trial| &*trial.case.file).collect();
    let expected = ["functional_deepseek_r1", "functional_example", "functional_qwen3_32b"];
    assert_eq!(files.into_iter().collect::<Vec<_>>(), expected);
    let bench = Bench::new(Vec::new());
    for trial in &trials {
        assert!(bench.admits(trial), "{} is skipped", trial.case.id);
        let red = why(bench.run(trial).await.outcome);
        assert!(red.is_empty(), "{}: {red:#?}", trial.case.id);
    }
}
