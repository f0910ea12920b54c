//! Hostile and damaged files, given to the program as its users would: each gets an error and
//! exit code 1, or is read where the damage does not matter; never a panic, a hang or run-away
//! memory.

mod data;
mod data_sets;
mod models;
mod runs;

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sardonyx::tensor::Philox;

use crate::support::{BINARY, Place};

/// Address space of a process, in KiB.
const MEMORY_KIB: u64 = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(20);

/// A command on a hostile file.
struct Case {
    name: String,
    arguments: Vec<String>,
    /// Whether success is wrong, too.
    must_fail: bool,
}

impl Case {
    fn new(name: impl Into<String>, arguments: &[&str], must_fail: bool) -> Case {
        Case {
            name: name.into(),
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            must_fail,
        }
    }
}

/// Runs all cases, some at a time. Fails with every case that went wrong; gives how many were
/// refused.
fn check(place: &Place, cases: &[Case]) -> usize {
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut wrong, mut n_refused) = (Vec::new(), 0);
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            match run(place, case) {
                Ok(refused) => n_refused += usize::from(refused),
                Err(problem) => {
                    wrong.push(format!("{} {:?}: {problem}", case.name, case.arguments))
                }
            }
        }
        (wrong, n_refused)
    };
    let (mut wrong, mut n_refused) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let n_threads = std::thread::available_parallelism().map_or(2, usize::from);
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let (found, refused) = thread.join().expect("no panic");
            wrong.extend(found);
            n_refused += refused;
        }
    });
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    n_refused
}

/// Gives whether the command was refused, or what was wrong with the way in which it ended.
fn run(place: &Place, case: &Case) -> Result<bool, String> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let log: PathBuf = place.path(&format!("stderr-{number}"));
    // A shell that cannot limit memory does without.
    let script = format!("ulimit -v {MEMORY_KIB} 2>/dev/null; exec \"$@\"");
    let mut process = Command::new("sh")
        .args(["-c", &script, "sh", BINARY, "--quiet", "--color", "never"])
        .args(case.arguments.iter().map(OsString::from))
        // What an allocator reserves for each of many threads is no memory that is used.
        .env("MALLOC_ARENA_MAX", "2")
        .current_dir(place.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).expect("created"))
        .spawn()
        .expect("a shell");
    #[expect(clippy::disallowed_methods, reason = "a hang is told by the clock")]
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().expect("a state") {
            break status;
        }
        if start.elapsed() > DEADLINE {
            process.kill().expect("it can be killed, or has ended");
            process.wait().expect("an end");
            return Err("it hangs".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let stderr = std::fs::read(&log).expect("a log");
    let stderr = String::from_utf8(stderr).map_err(|_| "stderr is not UTF-8".to_owned())?;
    let is_clean = !["panicked", "backtrace", "has a bug", "memory allocation"]
        .iter()
        .any(|word| stderr.contains(word));
    match status.code() {
        Some(0) if !case.must_fail && is_clean => Ok(false),
        // `error: ` and a reason.
        Some(1) if is_clean && stderr.starts_with("error: ") && stderr.trim_end().len() > 12 => {
            Ok(true)
        }
        _ => Err(format!("{status}: {stderr}")),
    }
}

/// Flips, overwrites, cuts out, doubles or inserts a few stretches, or ends early.
fn damage(good: &[u8], rng: &mut Philox) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..1 + rng.below(3) {
        if bytes.is_empty() {
            break;
        }
        let start = rng.below(bytes.len() as u64) as usize;
        let end = (start + 1 + rng.below(8) as usize).min(bytes.len());
        match rng.below(6) {
            0 => bytes.truncate(start),
            1 => drop(bytes.drain(start..end)),
            2 => bytes[start..end].fill(rng.next_u32() as u8),
            3 => {
                let stretch = bytes[start..end].to_vec();
                bytes.splice(start..start, stretch);
            }
            4 => bytes[start..end].fill(0xff),
            _ => bytes[start] ^= 1 << rng.below(8),
        }
    }
    bytes
}

fn noise(len: usize, rng: &mut Philox) -> Vec<u8> {
    (0..len).map(|_| rng.next_u32() as u8).collect()
}
