//! What is logged is what is read back, whatever happens to the file in between.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sardonyx_tensor::{DType, Tensor, f16};
use serde_json::Value;

use super::*;
use crate::metrics::{Format, LogKind, Metrics, MetricsOptions, Phases};

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(MetricsOptions::default()))
}

fn open(path: &Path, max_bytes: u64, metrics: &Arc<Metrics>) -> LineLog {
    let file = LogFile {
        path: path.to_owned(),
        max_bytes,
        max_files: 3,
    };
    let sink = Sink::File(file);
    LineLog::open(sink, 1024, LogKind::Request, Arc::clone(metrics)).expect("a writable folder")
}

fn entry(number: u64) -> RequestEntry {
    let floats = Tensor::new([2, 2], vec![0.1_f32, f32::NAN, f32::INFINITY, -1e-30]);
    let image = Tensor::zeros(DType::U8, [1, 3, 8, 8]).expect("small");
    let phases = Phases {
        parse: Some(Duration::from_nanos(1500)),
        compute: Some(Duration::from_micros(70)),
        ..Phases::default()
    };
    RequestEntry {
        time: Timestamp(1_700_000_000_000_000 + number),
        model: "m".to_owned(),
        version: 3,
        door: "kserve_rest".to_owned(),
        id: number.to_string(),
        traceparent: None,
        code: "OK".to_owned(),
        inputs: BTreeMap::from([
            (
                "x".to_owned(),
                LoggedTensor::new(&floats.expect("matches"), 4),
            ),
            ("image".to_owned(), LoggedTensor::new(&image, 0)),
        ]),
        outputs: BTreeMap::from([(
            "label".to_owned(),
            LoggedTensor::new(&Tensor::vector(vec!["a\nb".to_owned()]), 8),
        )]),
        latency_us: Latency::new(&phases, Duration::from_micros(90)),
    }
}

fn ids(path: &Path) -> (Vec<u64>, u64) {
    let mut reader = read_log(path).expect("it is there");
    let ids = reader
        .by_ref()
        .map(|entry| entry.expect("readable").id.parse().expect("a number"))
        .collect();
    (ids, reader.skipped())
}

#[test]
fn entries_come_back_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("requests.jsonl");
    let log = open(&path, 1 << 20, &metrics());
    log.push_json(entry(1));
    drop(log);
    let text = fs::read_to_string(&path).expect("written");
    assert_eq!(text.lines().count(), 1);
    let line: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(line["time"], "2023-11-14T22:13:20.000001Z");
    assert_eq!(
        line["inputs"]["x"].to_string(),
        r#"{"dtype":"f32","shape":[2,2],"values":[0.1,"NaN","Infinity",-1e-30]}"#
    );
    assert_eq!(line["latency_us"]["parse"], 1.5);
    assert_eq!(line["latency_us"].get("queue"), None);
    let hash = line["inputs"]["image"]["sha256"].as_str().expect("a hash");
    // What `head -c 192 /dev/zero | sha256sum` says.
    assert_eq!(hash, ZEROS_192);
    let read = read_log(&path).expect("there").next().expect("one");
    let read = read.expect("readable");
    // NaN equals nothing: the text tells.
    assert_eq!(format!("{read:?}"), format!("{:?}", entry(1)));
    assert!(read.inputs["x"].is_whole() && !read.inputs["image"].is_whole());
}

const ZEROS_192: &str = "5d89f056865052bcb89c910d2d62872e029fb273c3db03f8968a52a41593c1b5";

#[test]
fn every_type_of_element_comes_back() {
    let halves = vec![f16::from_f32(0.1), f16::MAX];
    let tensors = [
        Tensor::vector(vec![0.1_f64, f64::MIN_POSITIVE, 1e300]),
        Tensor::vector(halves),
        Tensor::vector(vec![f32::MAX, f32::MIN_POSITIVE, -0.0, 16_777_217.0]),
        Tensor::vector(vec![i64::MIN, i64::MAX]),
        Tensor::vector(vec![u64::MAX]),
        Tensor::vector(vec![-128_i8, 127]),
        Tensor::vector(vec![true, false]),
        Tensor::scalar(7_i32),
        Tensor::zeros(DType::F32, [0, 3]).expect("empty"),
    ];
    for tensor in tensors {
        let text = serde_json::to_string(&LoggedTensor::new(&tensor, 9)).expect("JSON");
        let back: LoggedTensor = serde_json::from_str(&text).expect("what was written");
        assert_eq!(back.to_tensor(), Some(tensor), "{text}");
    }
    let wrong = r#"{"dtype":"int8","shape":[1],"values":[300]}"#;
    assert!(serde_json::from_str::<LoggedTensor>(wrong).is_err());
}

#[test]
fn a_line_that_was_cut_off_spoils_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("requests.jsonl");
    let metrics = metrics();
    let log = open(&path, 1 << 20, &metrics);
    (0..3).for_each(|number| log.push_json(entry(number)));
    drop(log);
    let whole = fs::read(&path).expect("written");
    for cut in [1, 10, 100] {
        fs::write(&path, &whole[..whole.len() - cut]).expect("writable");
        assert_eq!(ids(&path), (vec![0, 1], 1), "cut by {cut}");
        let log = open(&path, 1 << 20, &metrics);
        log.push_json(entry(7));
        drop(log);
        // A line that lacks its end alone is whole again.
        let expected = if cut == 1 {
            vec![0, 1, 2, 7]
        } else {
            vec![0, 1, 7]
        };
        assert_eq!(ids(&path), (expected, u64::from(cut > 1)), "cut by {cut}");
    }
}

#[test]
fn full_files_make_room_and_are_read_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("requests.jsonl");
    let line_bytes = serde_json::to_vec(&entry(10)).expect("JSON").len() as u64 + 1;
    let metrics = metrics();
    // Opened twice: what is there counts.
    for start in [10, 15] {
        let log = open(&path, 3 * line_bytes, &metrics);
        (start..start + 5).for_each(|number| log.push_json(entry(number)));
        drop(log);
    }
    assert_eq!(ids(&path), ((10..20).collect(), 0));
    let log = open(&path, 3 * line_bytes, &metrics);
    (20..30).for_each(|number| log.push_json(entry(number)));
    drop(log);
    let names = fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(names, 4, "three full files and the one that is written");
    assert_eq!(ids(&path), ((19..30).collect(), 0));
}

/// A stream that waits for a permit before each write.
struct Slow(Receiver<()>, Arc<Mutex<Vec<u8>>>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Without a permit giver everything may pass.
        let _ = self.0.recv();
        self.1.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_disk_delays_nobody_and_drops_are_counted() {
    let metrics = metrics();
    let written = Arc::new(Mutex::new(Vec::new()));
    let (permits, gate): (Sender<()>, _) = channel();
    let sink = Sink::Stream(Box::new(Slow(gate, Arc::clone(&written))));
    let log = LineLog::open(sink, 4, LogKind::Access, Arc::clone(&metrics)).expect("a thread");
    for number in 0..100 {
        // Had this to wait for the disk, the test would never end.
        log.push(move |line| line.extend_from_slice(format!("{number}").as_bytes()));
    }
    drop(permits);
    log.flush();
    let count = |result: &str| {
        let page = metrics.render(Format::Prometheus);
        let start = format!(r#"sardonyx_log_lines_total{{log="access",result="{result}"}} "#);
        let line = page.lines().find_map(|line| line.strip_prefix(&start));
        line.expect("a sample").parse::<usize>().expect("a number")
    };
    let lines = written
        .lock()
        .expect("whole")
        .split(|byte| *byte == b'\n')
        .count()
        - 1;
    assert_eq!(count("written"), lines);
    assert_eq!(count("written") + count("dropped"), 100);
    assert!(count("dropped") > 0);
}

#[test]
fn a_log_that_cannot_be_written_is_an_error_with_a_hint() {
    let file = LogFile {
        path: "/nowhere/at/all.jsonl".into(),
        max_bytes: 1,
        max_files: 1,
    };
    let error = LineLog::open(Sink::File(file), 1, LogKind::Request, metrics());
    let message = error.expect_err("there is no such folder").message;
    assert!(message.contains("; hint: "), "{message}");
}

#[test]
fn access_lines_are_words_that_no_client_can_break() {
    let entry = AccessEntry {
        time: Timestamp(0),
        remote: "127.0.0.1:5".to_owned(),
        caller: None,
        method: "POST".into(),
        path: "/v1/models/m:predict\n1970 forged".to_owned(),
        model: Some("m".to_owned()),
        version: Some(2),
        http_status: 200,
        code: "OK".into(),
        request_bytes: 10,
        response_bytes: 20,
        duration_us: 30,
        id: "a b".to_owned(),
        traceparent: None,
    };
    let mut line = Vec::new();
    entry.write(AccessFormat::Text, &mut line);
    assert_eq!(
        String::from_utf8_lossy(&line),
        "1970-01-01T00:00:00.000000Z 127.0.0.1:5 POST \
         /v1/models/m:predict\\n1970\\u{20}forged 200 OK in=10 out=20 us=30 id=a\\u{20}b model=m \
         version=2"
    );
    line.clear();
    entry.write(AccessFormat::Json, &mut line);
    assert!(!line.contains(&b'\n'));
    let read: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!(read["path"], entry.path);
    assert_eq!(read.get("caller"), None);
}
