//! The thread that writes lines, and the file that it keeps from growing for ever.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use serde::Serialize;

use crate::error::{Code, Result, ServeError};
use crate::metrics::{LogKind, LogResult, Metrics};

/// A file of lines that starts anew when it is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The file that is written. Full ones stay beside it as `PATH.1`, the newest, and so on.
    pub path: PathBuf,
    /// Size at which a file is full, in bytes.
    pub max_bytes: u64,
    /// Most full files that are kept.
    pub max_files: usize,
}

/// Where lines go.
pub enum Sink {
    /// Into a file.
    File(LogFile),
    /// Into a stream, such as stdout.
    Stream(Box<dyn Write + Send>),
}

/// Makes a line, without its end.
type Line = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

enum Order {
    Line(Line),
    /// Answers when everything before it is in the file.
    Flush(SyncSender<()>),
}

/// A log that is written line by line, by a thread of its own.
///
/// Dropping it writes what it still has.
#[derive(Debug)]
pub struct LineLog {
    orders: Option<SyncSender<Order>>,
    writer: Option<JoinHandle<()>>,
    metrics: Arc<Metrics>,
    kind: LogKind,
}

impl LineLog {
    /// Opens the log. Up to `max_waiting` lines wait to be written; `metrics` counts what becomes
    /// of them.
    ///
    /// # Errors
    /// When the file cannot be opened, or there are no more threads.
    pub fn open(
        sink: Sink,
        max_waiting: usize,
        kind: LogKind,
        metrics: Arc<Metrics>,
    ) -> Result<LineLog> {
        let mut output = Output::open(sink)?;
        let (orders, received) = sync_channel(max_waiting);
        let counted = Arc::clone(&metrics);
        let writer = std::thread::Builder::new()
            .name(format!("{}-log", kind.label()))
            .spawn(move || work(&received, &mut output, kind, &counted))
            .map_err(crate::error::internal)?;
        Ok(LineLog {
            orders: Some(orders),
            writer: Some(writer),
            metrics,
            kind,
        })
    }

    /// Hands over a line that `make` appends, without its end, on the writer's thread. Never
    /// waits: when the writer is behind, the line is dropped and counted.
    pub fn push(&self, make: impl FnOnce(&mut Vec<u8>) + Send + 'static) {
        let Some(orders) = &self.orders else { return };
        match orders.try_send(Order::Line(Box::new(make))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.logged(self.kind, LogResult::Dropped, 1);
            }
        }
    }

    /// Hands over an object that becomes a line of JSON, as [`LineLog::push`] does.
    pub fn push_json(&self, entry: impl Serialize + Send + 'static) {
        self.push(move |line| push_json(&entry, line));
    }

    /// Where it counts its lines.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Waits until every line that was handed over is in the file.
    pub fn flush(&self) {
        let (done, waited) = sync_channel(1);
        if let Some(orders) = &self.orders
            && orders.send(Order::Flush(done)).is_ok()
        {
            // A writer that ends without an answer has nothing more to write.
            let _ = waited.recv();
        }
    }
}

impl Drop for LineLog {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was already reported by the panic hook.
            let _ = writer.join();
        }
    }
}

/// Appends `entry` as JSON; nothing when it cannot be written so.
pub(super) fn push_json(entry: &impl Serialize, line: &mut Vec<u8>) {
    let start = line.len();
    if serde_json::to_writer(&mut *line, entry).is_err() {
        line.truncate(start);
    }
}

/// Writes until the log is dropped. What waits is written at once, then the file is brought up to
/// date before it sleeps.
fn work(orders: &Receiver<Order>, output: &mut Output, kind: LogKind, metrics: &Metrics) {
    let mut line = Vec::new();
    let mut pending = 0;
    let mut next = orders.recv().ok();
    while let Some(order) = next {
        match order {
            Order::Line(make) => {
                line.clear();
                make(&mut line);
                line.push(b'\n');
                match output.write(&line) {
                    Ok(()) => pending += 1,
                    Err(_) => metrics.logged(kind, LogResult::Failed, 1),
                }
            }
            Order::Flush(done) => {
                settle(output, kind, metrics, &mut pending);
                // Who asked may have left.
                let _ = done.send(());
            }
        }
        next = orders.try_recv().ok().or_else(|| {
            settle(output, kind, metrics, &mut pending);
            orders.recv().ok()
        });
    }
    settle(output, kind, metrics, &mut pending);
}

fn settle(output: &mut Output, kind: LogKind, metrics: &Metrics, pending: &mut u64) {
    let result = match output.writer.flush() {
        Ok(()) => LogResult::Written,
        Err(_) => LogResult::Failed,
    };
    if *pending > 0 {
        metrics.logged(kind, result, *pending);
    }
    *pending = 0;
}

/// Where the lines go now.
struct Output {
    file: Option<LogFile>,
    writer: BufWriter<Box<dyn Write + Send>>,
    written_bytes: u64,
}

impl Output {
    fn open(sink: Sink) -> Result<Output> {
        let (file, stream, written_bytes) = match sink {
            Sink::Stream(stream) => (None, stream, 0),
            Sink::File(file) => {
                let (opened, bytes) = open(&file.path).map_err(|error| {
                    let path = file.path.display();
                    let message = format!(
                        "cannot write the log {path}: {error}; hint: its folder must be there and \
                         writable"
                    );
                    ServeError::new(Code::FailedPrecondition, message)
                })?;
                (Some(file), opened, bytes)
            }
        };
        Ok(Output {
            file,
            writer: BufWriter::with_capacity(1 << 16, stream),
            written_bytes,
        })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let added = line.len() as u64;
        if let Some(file) = &self.file
            && self.written_bytes > 0
            && self.written_bytes + added > file.max_bytes
        {
            self.writer.flush()?;
            rotate(file)?;
            let (opened, bytes) = open(&file.path)?;
            self.writer = BufWriter::with_capacity(1 << 16, opened);
            self.written_bytes = bytes;
        }
        self.writer.write_all(line)?;
        self.written_bytes += added;
        Ok(())
    }
}

/// The path of the full file `index`, of which 1 is the newest.
pub(super) fn rotated(path: &Path, index: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    PathBuf::from(name)
}

/// Makes room for a new file: each full one moves up by one, the oldest goes.
fn rotate(file: &LogFile) -> io::Result<()> {
    if file.max_files == 0 {
        return std::fs::remove_file(&file.path);
    }
    for index in (1..file.max_files).rev() {
        let from = rotated(&file.path, index);
        if from.exists() {
            std::fs::rename(from, rotated(&file.path, index + 1))?;
        }
    }
    std::fs::rename(&file.path, rotated(&file.path, 1))
}

/// Opens a file to append to, readable by its owner alone: requests are personal. A last line
/// that was cut off is ended, so that it spoils no other.
fn open(path: &Path) -> io::Result<(Box<dyn Write + Send>, u64)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(path)?;
    let mut bytes = file.seek(SeekFrom::End(0))?;
    if bytes > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            bytes += 1;
        }
    }
    Ok((Box::new(file), bytes))
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Sink::File(file) => f.debug_tuple("File").field(file).finish(),
            Sink::Stream(_) => f.write_str("Stream"),
        }
    }
}
