//! What is counted is what the page shows, in both formats.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::batch::Observer;

fn server(tensorflow_names: bool, triton_names: bool) -> Metrics {
    Metrics::new(MetricsOptions {
        tensorflow_names,
        triton_names,
        build_version: "1.2.3".to_owned(),
    })
}

fn record(door: Door, status: Status) -> RequestRecord {
    RequestRecord {
        door,
        verb: Verb::Predict,
        status,
        rows: 3,
        phases: Phases {
            parse: Some(Duration::from_micros(20)),
            queue: Some(Duration::from_micros(5)),
            compute: Some(Duration::from_micros(300)),
            serialise: None,
        },
        total: Duration::from_micros(400),
    }
}

/// A server in which everything has happened once.
fn busy() -> Metrics {
    let metrics = server(true, true);
    for version in [1, 2] {
        let model = metrics.model("m", version);
        model.request(&record(Door::TensorflowRest, Status::Ok));
        model.request(&record(Door::KserveGrpc, Status::Internal));
        model.batch(2, 6, Duration::from_micros(300));
        model.dropped(1, 2);
        model.reject(Rejection::QueueFull);
        model.shadow(ShadowResult::Disagreed, Some(0.25));
        model.pick(Pick::Sticky);
        model.cache(true);
        model.set_state(VersionState::Available);
        model.set_load_time(Duration::from_millis(1500), Duration::from_millis(500));
        model.watch_queue(1024, || 4);
        model.set_weight(0.5);
    }
    metrics.reject(Door::KserveRest, Rejection::NotFound);
    metrics.reloaded(Reload::Keys, false);
    metrics.logged(LogKind::Access, LogResult::Written, 9);
    metrics
}

/// Samples of a page by name and labels, as written.
fn samples(page: &str) -> BTreeMap<&str, f64> {
    let mut found = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let value = value.parse().expect("a number");
        assert_eq!(found.insert(series, value), None, "{series} is there twice");
    }
    found
}

/// Kinds of a page's families, by name; each family is there once.
fn kinds(page: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').expect("a kind");
            assert_eq!(found.insert(name, kind), None, "{name} is there twice");
        }
    }
    found
}

#[test]
#[expect(clippy::too_many_lines, reason = "one page, line by line")]
fn what_is_counted_is_shown() {
    let page = busy().render(Format::Prometheus);
    let samples = samples(&page);
    let expected = [
        (
            r#"sardonyx_requests_total{model="m",version="1",door="tensorflow_rest",verb="predict",code="OK"}"#,
            1.0,
        ),
        (
            r#"sardonyx_requests_total{model="m",version="2",door="kserve_grpc",verb="predict",code="INTERNAL"}"#,
            1.0,
        ),
        (
            r#"sardonyx_phase_duration_seconds_bucket{model="m",version="1",phase="compute",le="0.00025"}"#,
            0.0,
        ),
        (
            r#"sardonyx_phase_duration_seconds_bucket{model="m",version="1",phase="compute",le="0.0005"}"#,
            2.0,
        ),
        (
            r#"sardonyx_phase_duration_seconds_sum{model="m",version="1",phase="compute"}"#,
            0.0006,
        ),
        (
            r#"sardonyx_phase_duration_seconds_count{model="m",version="1",phase="serialise"}"#,
            0.0,
        ),
        (
            r#"sardonyx_batch_samples_bucket{model="m",version="1",le="8.0"}"#,
            1.0,
        ),
        (
            r#"sardonyx_batch_samples_bucket{model="m",version="1",le="4.0"}"#,
            0.0,
        ),
        (
            r#"sardonyx_rejected_requests_total{model="m",version="1",reason="deadline"}"#,
            2.0,
        ),
        (
            r#"sardonyx_rejected_requests_total{model="m",version="1",reason="queue_full"}"#,
            1.0,
        ),
        (
            r#"sardonyx_shadow_difference_bucket{model="m",version="2",le="1.0"}"#,
            1.0,
        ),
        (
            r#"sardonyx_shadow_difference_bucket{model="m",version="2",le="0.1"}"#,
            0.0,
        ),
        (
            r#"sardonyx_model_state{model="m",version="1",state="AVAILABLE"}"#,
            1.0,
        ),
        (
            r#"sardonyx_model_state{model="m",version="1",state="END"}"#,
            0.0,
        ),
        (r#"sardonyx_model_load_seconds{model="m",version="1"}"#, 1.5),
        (r#"sardonyx_queue_length{model="m",version="1"}"#, 4.0),
        (r#"sardonyx_queue_limit{model="m",version="1"}"#, 1024.0),
        (r#"sardonyx_reload_failing{what="keys"}"#, 1.0),
        (r#"sardonyx_reload_failing{what="certificate"}"#, 0.0),
        (
            r#"sardonyx_unrouted_requests_total{door="kserve_rest",reason="not_found"}"#,
            1.0,
        ),
        (
            r#"sardonyx_log_lines_total{log="access",result="written"}"#,
            9.0,
        ),
        (
            r#":tensorflow:serving:request_count{model_name="m",status="OK"}"#,
            2.0,
        ),
        (
            r#":tensorflow:serving:request_latency_bucket{model_name="m",API="Predict",entrypoint="REST",le="340.122"}"#,
            0.0,
        ),
        (
            r#":tensorflow:serving:request_latency_bucket{model_name="m",API="Predict",entrypoint="REST",le="612.22"}"#,
            2.0,
        ),
        (r#"nv_inference_count{model="m",version="1"}"#, 6.0),
        (r#"nv_inference_exec_count{model="m",version="1"}"#, 1.0),
        (
            r#"nv_inference_request_failure{model="m",version="1",reason="BACKEND"}"#,
            1.0,
        ),
        (
            r#"nv_inference_request_duration_us{model="m",version="1"}"#,
            800.0,
        ),
    ];
    for (series, value) in expected {
        assert_eq!(samples.get(series), Some(&value), "{series}\n{page}");
    }
}

#[test]
fn both_formats_say_the_same() {
    let metrics = busy();
    let plain = metrics.render(Format::Prometheus);
    let open = metrics.render(Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
    let names = |page| {
        samples(page)
            .into_keys()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&plain), names(&open));
    for (family, kind) in kinds(&open) {
        assert!(!family.ends_with("_total"), "{family}");
        let is_renamed = kind == "counter";
        let in_plain = if is_renamed {
            format!("{family}_total")
        } else {
            family.to_owned()
        };
        assert!(kinds(&plain).contains_key(in_plain.as_str()), "{family}");
    }
}

#[test]
fn every_sample_has_its_family_and_the_labels_that_the_table_says() {
    let page = busy().render(Format::Prometheus);
    let kinds = kinds(&page);
    let mut shown = BTreeSet::new();
    for series in samples(&page).into_keys() {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let stems = ["_bucket", "_sum", "_count"].map(|end| name.strip_suffix(end));
        let mut stems = stems.into_iter().flatten();
        let histogram = stems.find(|stem| kinds.get(stem) == Some(&"histogram"));
        let family = histogram.unwrap_or(name);
        assert!(kinds.contains_key(family), "{series} has no family");
        if let Some(row) = FAMILIES.iter().find(|row| row.name == family) {
            let names = labels
                .split('"')
                .step_by(2)
                .map(|part| part.trim_matches([',', '=', '}']));
            let names: Vec<_> = names
                .filter(|name| !name.is_empty() && *name != "le")
                .collect();
            assert_eq!(names, row.labels, "{series}");
            shown.insert(family);
        }
    }
    assert_eq!(shown.len(), FAMILIES.len(), "everything has happened");
}

#[test]
fn a_model_may_have_any_name() {
    let metrics = server(false, false);
    metrics.model("a\"b\\c\nd", 1).cache(false);
    let page = metrics.render(Format::OpenMetrics);
    let series = r#"sardonyx_cache_lookups_total{model="a\"b\\c\nd",version="1",result="miss"} 1"#;
    assert!(page.lines().any(|line| line == series), "{page}");
}

#[test]
fn a_hundred_loads_and_unloads_leave_nothing() {
    let metrics = server(true, true);
    metrics.model("stays", 1);
    let before = metrics.render(Format::Prometheus).lines().count();
    for version in 0..100 {
        let model = metrics.model("comes and goes", version);
        model.request(&record(Door::KserveRest, Status::Ok));
        metrics.forget("comes and goes", version);
        assert_eq!(Arc::strong_count(&model), 1);
    }
    assert_eq!(metrics.render(Format::Prometheus).lines().count(), before);
}

#[test]
fn the_sums_of_tensorflow_serving_outlive_a_version() {
    let metrics = server(true, false);
    for version in 1..=3 {
        let model = metrics.model("m", version);
        model.request(&record(Door::TensorflowRest, Status::Ok));
        metrics.forget("m", version - 1);
    }
    let page = metrics.render(Format::Prometheus);
    let series = r#":tensorflow:serving:request_count{model_name="m",status="OK"}"#;
    assert_eq!(samples(&page)[series], 3.0);
}

#[test]
fn recording_takes_no_memory() {
    let metrics = busy();
    let model = metrics.model("m", 1);
    let record = record(Door::TensorflowGrpc, Status::Ok);
    let info = allocation_counter::measure(|| {
        for _ in 0..100 {
            let _in_flight = model.enter();
            model.request(&record);
            model.batch(4, 8, Duration::from_micros(77));
            model.shadow(ShadowResult::Agreed, Some(0.0));
            model.reject(Rejection::Invalid);
        }
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn what_is_in_flight_and_connected_comes_back_to_zero() {
    let metrics = Arc::new(server(false, false));
    let model = metrics.model("m", 1);
    let series = [
        r#"sardonyx_in_flight_requests{model="m",version="1"}"#,
        r#"sardonyx_connections{port="grpc"}"#,
    ];
    let values = || {
        let page = metrics.render(Format::Prometheus);
        series.map(|series| samples(&page)[series])
    };
    let held = (model.enter(), model.enter(), metrics.connect(Port::Grpc));
    assert_eq!(values(), [2.0, 1.0]);
    drop(held);
    assert_eq!(values(), [0.0, 0.0]);
}

#[test]
fn differences_that_are_no_numbers_are_the_largest() {
    let metrics = server(false, false);
    let model = metrics.model("m", 1);
    for difference in [f64::NAN, f64::INFINITY, 1e300, 0.0, 1e-9] {
        model.shadow(ShadowResult::Agreed, Some(difference));
    }
    let page = metrics.render(Format::Prometheus);
    let samples = samples(&page);
    let bucket = |bound: &str| {
        let start = r#"sardonyx_shadow_difference_bucket{model="m",version="1",le="#;
        samples[format!("{start}\"{bound}\"}}").as_str()]
    };
    assert_eq!(
        [bucket("1e-8"), bucket("1.0"), bucket("+Inf")],
        [2.0, 2.0, 5.0]
    );
}

#[test]
fn the_format_is_what_the_scraper_accepts() {
    let prometheus = "application/openmetrics-text;version=1.0.0,\
                      application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let cases = [
        (None, Format::Prometheus),
        (Some("*/*"), Format::Prometheus),
        (Some(prometheus), Format::OpenMetrics),
        (
            Some("text/plain, application/openmetrics-text;q=0.5"),
            Format::Prometheus,
        ),
        (Some("application/openmetrics-text;q=0"), Format::Prometheus),
    ];
    for (accept, format) in cases {
        assert_eq!(Format::accepted(accept), format, "{accept:?}");
    }
}

/// Families of a page recorded from a real Triton, with the names of their labels.
#[test]
fn triton_dashboards_find_what_they_know() {
    let golden = include_str!("../../tests/golden/triton_metrics.txt");
    let page = busy().render(Format::Prometheus);
    let ours = kinds(&page);
    for (family, kind) in kinds(golden) {
        assert_eq!(ours.get(family), Some(&kind), "{family}");
    }
    let shape = |series: &str| {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let names = labels
            .split('"')
            .step_by(2)
            .map(|part| part.trim_matches([',', '=', '}']));
        let names: BTreeSet<_> = names.map(str::to_owned).collect();
        (name.to_owned(), names)
    };
    let shapes: BTreeSet<_> = samples(&page).into_keys().map(shape).collect();
    for series in samples(golden).into_keys() {
        assert!(shapes.contains(&shape(series)), "{series}");
    }
}

/// The table of `docs/metrics.md` is the table of the code.
#[test]
fn the_documentation_names_every_family() {
    assert!(
        FAMILIES.is_sorted_by_key(|family| family.name),
        "sorted by name"
    );
    let rows: Vec<String> = FAMILIES
        .iter()
        .map(|family| {
            let labels = family.labels.iter().map(|label| format!("`{label}`"));
            let labels = labels.collect::<Vec<_>>().join(", ");
            let (name, kind, help) = (family.name, family.kind.name(), family.help);
            format!("| `{name}` | {kind} | {labels} | {help} |")
        })
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("the documentation is there");
    let documented: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `process_") || line.starts_with("| `sardonyx_"))
        .collect();
    assert_eq!(documented.join("\n"), rows.join("\n"));
}
