//! The dashboard and the rules of `deploy/` on a real Prometheus: it reads our metrics, every query
//! has data, every rule works.
//!
//! What is scraped are the server's own metrics, with everything happening all the time: no server
//! fails, drops and disagrees so reliably.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sardonyx_serve::batch::Observer;
use sardonyx_serve::metrics::{
    Door, FAMILIES, Format, LogKind, LogResult, Metrics, MetricsOptions, Phases, Pick, Port,
    Rejection, Reload, RequestRecord, ShadowResult, Status, Verb, VersionState,
};

#[test]
fn every_query_of_the_dashboard_has_data() {
    let Some(python) = std::env::var_os("SARDONYX_PYTHON") else {
        let message = "SARDONYX_PYTHON is not set: NOT checked: the dashboard's queries";
        writeln!(std::io::stderr(), "{message}").expect("stderr takes text");
        return;
    };
    let is_there = Command::new("prometheus").arg("--version").output().is_ok();
    if !is_there {
        let message = "there is no prometheus: NOT checked: the dashboard's queries";
        writeln!(std::io::stderr(), "{message}").expect("stderr takes text");
        return;
    }
    // Two servers, of which Prometheus reads both in the format that it prefers.
    let addresses = [serve(), serve()].join(",");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(python)
        .arg(root.join("crates/sardonyx/tests/witness/dashboards.py"))
        .arg("prometheus")
        .arg(root.join("deploy"))
        .arg(&addresses)
        .output()
        .expect("SARDONYX_PYTHON runs");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("have data"), "{stdout}");
}

#[test]
fn dashboard_and_rules_name_no_family_that_is_not_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let mut found = 0;
    for file in [
        "grafana/sardonyx-serving.json",
        "prometheus/rules.yml",
        "prometheus/rules_test.yml",
    ] {
        let text = std::fs::read_to_string(root.join(file)).expect("it is there");
        let words =
            text.split(|char: char| !(char.is_alphanumeric() || char == '_' || char == ':'));
        let ours = words.filter(|word| {
            (word.starts_with("sardonyx_") || word.starts_with("process_")) && !word.contains(':')
        });
        for name in ours {
            let ends = ["", "_bucket", "_sum", "_count"];
            let mut stems = ends.iter().filter_map(|end| name.strip_suffix(end));
            let is_there = stems.any(|stem| FAMILIES.iter().any(|family| family.name == stem));
            assert!(is_there, "{file}: {name}");
            found += 1;
        }
    }
    assert!(found > 100, "{found} names were looked at");
}

/// Serves the metrics of a busy server for as long as the test runs; returns its address.
fn serve() -> String {
    let metrics = Arc::new(Metrics::new(MetricsOptions {
        tensorflow_names: true,
        triton_names: true,
        ..MetricsOptions::default()
    }));
    let busy = Arc::clone(&metrics);
    std::thread::spawn(move || {
        loop {
            happen(&busy);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A scraper that hangs up reads nothing.
            let _ = stream.and_then(|stream| answer(stream, &metrics));
        }
    });
    address
}

fn answer(stream: TcpStream, metrics: &Metrics) -> std::io::Result<()> {
    let mut accept = None;
    for line in BufReader::new(&stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("accept")
        {
            accept = Some(value.trim().to_owned());
        }
    }
    let format = Format::accepted(accept.as_deref());
    let page = metrics.render(format);
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        format.content_type(),
        page.len()
    )
}

/// Everything that a server counts, once.
fn happen(metrics: &Arc<Metrics>) {
    metrics.set_ready(true);
    drop(metrics.connect(Port::Http));
    metrics.loaded(true);
    metrics.loaded(false);
    metrics.reloaded(Reload::Keys, false);
    metrics.reject(Door::KserveGrpc, Rejection::Unauthorised);
    metrics.cached(1 << 20, 100, 1);
    for kind in LogKind::ALL {
        metrics.logged(*kind, LogResult::Written, 9);
        metrics.logged(*kind, LogResult::Dropped, 1);
    }
    for version in [1, 2] {
        let model = metrics.model("a \"model\"", version);
        model.set_state(VersionState::Available);
        model.set_load_time(Duration::from_millis(120), Duration::from_millis(20));
        model.set_bytes(1 << 20);
        model.set_weight(0.5);
        model.watch_queue(1024, || 3);
        model.pick(Pick::Weight);
        model.cache(version == 1);
        model.cache(false);
        model.dropped(1, 1);
        model.shadow(ShadowResult::Agreed, Some(1e-7));
        model.shadow(ShadowResult::Disagreed, Some(0.1));
        model.batch(4, 8, Duration::from_micros(700));
        for (door, status) in Door::ALL.iter().zip([
            Status::Ok,
            Status::Ok,
            Status::Internal,
            Status::ResourceExhausted,
        ]) {
            let _in_flight = model.enter();
            let part = Some(Duration::from_micros(80 * version));
            model.request(&RequestRecord {
                door: *door,
                verb: Verb::Infer,
                status,
                rows: 2,
                phases: Phases {
                    parse: part,
                    queue: part,
                    compute: part,
                    serialise: part,
                },
                total: Duration::from_micros(400 * version),
            });
        }
    }
}
