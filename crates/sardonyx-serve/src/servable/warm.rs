//! Requests that lie beside a model: a version answers them before it takes any other.
//!
//! They are what TensorFlow Serving reads (`assets.extra/tf_serving_warmup_requests`, records of
//! `PredictionLog`), or lines of `warmup.jsonl`, each the body of a request of TensorFlow
//! Serving's `:predict` or of KServe's `infer`.

use std::borrow::Cow;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use hyper::body::Bytes;
use prost::Message;
use sardonyx_tensor::Tensor;
use sardonyx_wire::Value;
use sardonyx_wire::kserve::decode_infer;
use sardonyx_wire::proto::prediction_log::{LogKind, PredictionLog};
use sardonyx_wire::proto::serving::Input;
use sardonyx_wire::tensorflow::{bind_examples, bind_tensors, decode_predict};

use crate::error::{Code, Result, ServeError, invalid};
use crate::signature::Signature;

/// Where TensorFlow Serving's records are, from the model's folder.
pub(crate) const WARM_UP_RECORDS: &str = "assets.extra/tf_serving_warmup_requests";
/// Where lines are.
pub(crate) const WARM_UP_LINES: &str = "warmup.jsonl";

/// Most requests of a file, as TensorFlow Serving has it.
const MAX_REQUESTS: usize = 1000;
/// Most bytes of one of them.
const MAX_REQUEST_BYTES: u64 = 256 << 20;

/// A file of requests, read one after the other.
pub(super) struct Requests {
    path: PathBuf,
    reader: BufReader<File>,
    form: Form,
    count: usize,
}

#[derive(Clone, Copy)]
enum Form {
    Records,
    Lines,
}

impl Requests {
    /// The file beside the model at `model`, if there is one.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn beside(model: &Path) -> Result<Option<Requests>> {
        let folder = model.parent().unwrap_or(Path::new(""));
        let places = [
            (WARM_UP_RECORDS, Form::Records),
            (WARM_UP_LINES, Form::Lines),
        ];
        for (name, form) in places {
            let path = folder.join(name);
            match File::open(&path) {
                Ok(file) => {
                    let reader = BufReader::new(file);
                    let count = 0;
                    return Ok(Some(Requests {
                        path,
                        reader,
                        form,
                        count,
                    }));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&path, &error)),
            }
        }
        Ok(None)
    }

    /// Hands the inputs of every request to `run`, in the order of the signature.
    ///
    /// # Errors
    /// When a request cannot be read, does not suit the model, or those of `run`.
    pub(super) fn each(
        mut self,
        signature: &Signature,
        mut run: impl FnMut(&[Tensor]) -> Result<()>,
    ) -> Result<()> {
        loop {
            self.count += 1;
            let read = match self.form {
                Form::Records => self.record(),
                Form::Lines => self.line(),
            };
            let Some(body) = read.map_err(|error| self.wrong(&error))? else {
                return Ok(());
            };
            if self.count > MAX_REQUESTS {
                return Err(self.wrong(&format!("there are more than {MAX_REQUESTS}")));
            }
            let inputs = match self.form {
                Form::Records => from_record(&body, signature),
                Form::Lines => from_line(&body, signature),
            };
            inputs
                .and_then(|inputs| run(&inputs))
                .map_err(|error| self.wrong(&error.message))?;
        }
    }

    fn wrong(&self, error: &dyn Display) -> ServeError {
        failed(
            &self.path,
            &format!("warm-up request {}: {error}", self.count),
        )
    }

    /// The next line that is not blank.
    fn line(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            let mut line = Vec::new();
            let count = (&mut self.reader)
                .take(MAX_REQUEST_BYTES)
                .read_until(b'\n', &mut line)?;
            if count == 0 {
                return Ok(None);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line.into()));
            }
        }
    }

    /// The next record of TensorFlow's `TFRecord`: a length, its check sum, bytes, theirs.
    fn record(&mut self) -> std::io::Result<Option<Bytes>> {
        let damaged = |what: &str| std::io::Error::new(ErrorKind::InvalidData, what.to_owned());
        if self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut head = [0; 12];
        self.reader.read_exact(&mut head)?;
        let (length, sum) = head.split_at(8);
        if masked_crc(length) != little(sum) {
            return Err(damaged("the length of a record is damaged"));
        }
        let length = length
            .iter()
            .rev()
            .fold(0, |all, &byte| all << 8 | u64::from(byte));
        if length > MAX_REQUEST_BYTES {
            return Err(damaged("a record is larger than 256 MiB"));
        }
        let mut bytes = Vec::new();
        (&mut self.reader).take(length).read_to_end(&mut bytes)?;
        let mut sum = [0; 4];
        self.reader.read_exact(&mut sum)?;
        if masked_crc(&bytes) != little(&sum) {
            return Err(damaged("a record is damaged"));
        }
        Ok(Some(bytes.into()))
    }
}

fn failed(path: &Path, error: &dyn Display) -> ServeError {
    let message = format!("{}: {error}", path.display());
    ServeError::new(Code::FailedPrecondition, message)
}

fn little(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |all, &byte| all << 8 | u32::from(byte))
}

/// CRC-32C, turned as `TFRecord` has it.
fn masked_crc(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
    let byte = |sum: u32, &byte: &u8| (0..8).fold(sum ^ u32::from(byte), step);
    let sum = !bytes.iter().fold(!0, byte);
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The inputs of a kept request.
fn from_record(bytes: &Bytes, signature: &Signature) -> Result<Vec<Tensor>> {
    let specs = &signature.inputs;
    let examples = |input: Option<Input>| bind_examples(&input.unwrap_or_default(), specs);
    let unknown = |kind: &str| {
        let message = format!("a {kind} cannot be run; hint: keep requests of Predict");
        Err(ServeError::new(Code::Unimplemented, message))
    };
    let log = PredictionLog::decode(bytes.clone()).map_err(invalid)?;
    let named = match log.log_type {
        Some(LogKind::Predict(log)) => bind_tensors(log.request.unwrap_or_default().inputs, specs)?,
        Some(LogKind::Classify(log)) => examples(log.request.unwrap_or_default().input)?,
        Some(LogKind::Regress(log)) => examples(log.request.unwrap_or_default().input)?,
        Some(LogKind::MultiInference(log)) => examples(log.request.unwrap_or_default().input)?,
        Some(LogKind::SessionRun(_)) => return unknown("SessionRunLog"),
        Some(LogKind::PredictStreamed(_)) => return unknown("PredictStreamedLog"),
        None => return unknown("PredictionLog without a request"),
    };
    bound(signature, named)
}

/// The inputs of a request's body: KServe's where `inputs` are tensors with names.
fn from_line(body: &Bytes, signature: &Signature) -> Result<Vec<Tensor>> {
    let specs = &signature.inputs;
    let text: serde_json::Value = serde_json::from_slice(body).map_err(invalid)?;
    if text["inputs"][0]["datatype"].is_string() {
        let request = decode_infer(body, None, specs)?;
        let named = request
            .inputs
            .into_iter()
            .map(|input| (input.name, input.value));
        return bound(signature, named.collect());
    }
    let decoded = decode_predict(body, &|_| Ok(specs.as_slice()))?;
    bound(signature, decoded.inputs)
}

fn bound(signature: &Signature, named: Vec<(String, Value)>) -> Result<Vec<Tensor>> {
    let named = named.into_iter();
    signature.bind(named.map(|(name, value)| (Cow::Owned(name), value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    use crate::metrics::{Metrics, MetricsOptions};
    use crate::servable::{Servable, ServableOptions};

    const DOUBLE: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
        double (float[N,2] x) => (float[N,2] y) { y = Add(x, x) }"#;

    /// A model with a file of requests beside it.
    fn place(name: &str, requests: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let graph = sardonyx_ir::text::parse(DOUBLE).expect("a graph");
        sardonyx_model::save(&folder.path().join("model.onnx"), &graph).expect("saved");
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, requests).expect("written");
        folder
    }

    fn load(folder: &Path) -> Result<Servable> {
        let metrics = Metrics::new(MetricsOptions::default());
        let pool = Arc::new(sardonyx_kernels::Pool::new(1).expect("threads"));
        let options = ServableOptions::new(pool);
        let model = folder.join("model.onnx");
        Servable::load("double", 1, &model, &options, metrics.model("double", 1))
    }

    /// The inputs that a version is warmed with.
    fn inputs(folder: &Path) -> Vec<Vec<f64>> {
        let signature = load(folder).expect("it loads").signature().clone();
        let mut seen = Vec::new();
        let requests = Requests::beside(&folder.join("model.onnx")).expect("readable");
        let noted = |inputs: &[Tensor]| {
            seen.push(inputs[0].to_f64().map_err(invalid)?);
            Ok(())
        };
        let each = requests.expect("a file").each(&signature, noted);
        each.expect("good requests");
        seen
    }

    const RECORDS: &[u8] = include_bytes!("../../tests/golden/warmup.tfrecord");
    const KEPT: &str = "assets.extra/tf_serving_warmup_requests";

    #[test]
    fn records_that_tensorflow_wrote_are_read() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        let folder = place(KEPT, RECORDS);
        assert_eq!(inputs(folder.path()), [vec![1.0, 2.0], ten]);
    }

    #[test]
    fn lines_are_requests_of_either_protocol() {
        let lines = r#"{"instances": [[1, 2]]}

            {"inputs": {"x": [[3, 4]]}}
            {"inputs": [[5, 6]]}
            {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [7, 8]}]}"#;
        let folder = place("warmup.jsonl", lines.as_bytes());
        let expected = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]];
        assert_eq!(inputs(folder.path()), expected);
    }

    #[test]
    fn what_is_wrong_fails_the_load_and_is_said() {
        let mut damaged = RECORDS.to_vec();
        damaged[30] ^= 1;
        let wrong = [
            (KEPT, &damaged[..], "request 1: a record is damaged"),
            (KEPT, &RECORDS[..RECORDS.len() - 1], "request 2: "),
            (KEPT, b"no records", "request 1: "),
            (
                "warmup.jsonl",
                b"{\"instances\": [[1, 2]]}\n{",
                "request 2: ",
            ),
            (
                "warmup.jsonl",
                b"{\"instances\": [[1, 2, 3]]}",
                "request 1: ",
            ),
        ];
        for (name, requests, expected) in wrong {
            let folder = place(name, requests);
            let message = load(folder.path()).expect_err("it is wrong").message;
            assert!(
                message.contains(name) && message.contains(expected),
                "{message}"
            );
        }
    }

    #[test]
    fn check_sums_are_those_of_the_standard() {
        // RFC 3720, B.4: CRC-32C of 32 bytes of zeros and of ones.
        let masked = |sum: u32| sum.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked_crc(&[0; 32]), masked(0x8a91_36aa));
        assert_eq!(masked_crc(&[0xff; 32]), masked(0x62a8_ab43));
        assert_eq!(masked_crc(b"123456789"), masked(0xe306_9283));
    }
}
