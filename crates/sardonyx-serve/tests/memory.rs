//! Models are dropped whole: memory comes back after many loads. Alone in its process, because the
//! whole process is measured.

use std::fs;
use std::sync::Arc;

use sardonyx_kernels::Pool;
use sardonyx_serve::metrics::{Metrics, MetricsOptions};
use sardonyx_serve::{Servable, ServableOptions};
use sardonyx_zoo::Seed;
use sardonyx_zoo::zoo::{Options, find};

#[test]
fn memory_comes_back_after_many_loads() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.onnx");
    let graph = find("mlp").and_then(|entry| entry.build(&Options::default(), Seed(1)));
    sardonyx_model::save(&path, &graph.expect("it builds")).expect("it saves");
    let pool = Arc::new(Pool::new(2).expect("threads"));
    let metrics = Arc::new(Metrics::new(MetricsOptions::default()));
    let load = || {
        let counted = metrics.model("m", 1);
        let loaded = Servable::load(
            "m",
            1,
            &path,
            &ServableOptions::new(Arc::clone(&pool)),
            counted,
        )
        .expect("it loads");
        drop(loaded);
        metrics.forget("m", 1);
    };
    (0..10).for_each(|_| load());
    let before = resident_bytes();
    (0..100).for_each(|_| load());
    let grown = resident_bytes().saturating_sub(before);
    let model = fs::metadata(&path).expect("a file").len();
    assert!(
        grown < 4 * model,
        "{grown} bytes more; the model has {model}"
    );
}

fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    4096 * pages.unwrap_or(0)
}
