//! What the system tells about the machine. Everything is optional: a system that does not tell
//! is no error.

use std::fs::File;
use std::io::Read;

use sardonyx_kernels::Isa;
use sardonyx_train::Environment;
use serde::Serialize;

use crate::clock;

/// Longest system file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Caches of one core, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Caches {
    /// First level, data.
    pub l1_bytes: u64,
    /// Second level.
    pub l2_bytes: u64,
    /// Third level, which cores may share.
    pub l3_bytes: u64,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) os: String,
    pub(crate) arch: String,
    pub(crate) cpu: Option<String>,
    pub(crate) isas: Vec<String>,
    pub(crate) threads: usize,
    pub(crate) caches: Option<Caches>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) memory_available_bytes: Option<u64>,
    pub(crate) memory_limit_bytes: Option<u64>,
}

impl Machine {
    pub(crate) fn look() -> Machine {
        let memory = read("/proc/meminfo");
        let kibibytes = |name: &str| {
            let line = field(memory.as_deref()?, name)?;
            let number = line.split_whitespace().next()?;
            number.parse::<u64>().ok()?.checked_mul(1024)
        };
        let limit = read("/sys/fs/cgroup/memory.max")
            .or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
        let total = kibibytes("MemTotal");
        // A control group without a limit says "max", or a number beyond all memory.
        let limit = limit
            .and_then(|text| text.trim().parse::<u64>().ok())
            .filter(|limit| total.is_none_or(|total| *limit < total));
        Machine {
            os: os(),
            arch: std::env::consts::ARCH.to_owned(),
            cpu: read("/proc/cpuinfo").and_then(|text| field(&text, "model name")),
            isas: Isa::available().iter().map(ToString::to_string).collect(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            caches: caches(),
            memory_bytes: total,
            memory_available_bytes: kibibytes("MemAvailable"),
            memory_limit_bytes: limit,
        }
    }

    /// As a run's folder keeps it.
    pub(crate) fn environment(self, n_threads: usize, command: Vec<String>) -> Environment {
        Environment {
            version: crate::VERSION.to_owned(),
            os: self.os,
            arch: self.arch,
            cpu: self.cpu.unwrap_or_default(),
            instruction_sets: vec![Isa::detect().to_string()],
            n_threads,
            memory_bytes: self.memory_limit_bytes.or(self.memory_bytes),
            command,
            started: clock::rfc3339(clock::since_epoch()),
        }
    }
}

/// Most memory that this process had at any time, in bytes.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = read("/proc/self/status")?;
    let line = field(&status, "VmHWM")?;
    let kibibytes: u64 = line.strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn read(path: &str) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The value of the first line `name: value`, as the files under `/proc` write them.
fn field(text: &str, name: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = pairs.find(|(found, _)| found.trim() == name)?;
    Some(value.trim().to_owned())
}

fn os() -> String {
    let release = read("/etc/os-release");
    let pretty = release.as_deref().and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(line.trim_matches('"').to_owned())
    });
    let kernel = read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned());
    let name = pretty.unwrap_or_else(|| std::env::consts::OS.to_owned());
    match kernel {
        Some(kernel) => format!("{name}, kernel {kernel}"),
        None => name,
    }
}

fn caches() -> Option<Caches> {
    let mut caches = Caches::default();
    for index in 0..8 {
        let read = |name: &str| {
            let text = read(&format!(
                "/sys/devices/system/cpu/cpu0/cache/index{index}/{name}"
            ))?;
            Some(text.trim().to_owned())
        };
        let (Some(level), Some(kind), Some(size)) = (read("level"), read("type"), read("size"))
        else {
            break;
        };
        let kibibytes = size
            .strip_suffix('K')
            .and_then(|size| size.parse::<u64>().ok());
        let bytes = kibibytes.unwrap_or(0) * 1024;
        match (level.as_str(), kind.as_str()) {
            ("1", "Data" | "Unified") => caches.l1_bytes = bytes,
            ("2", "Data" | "Unified") => caches.l2_bytes = bytes,
            ("3", "Data" | "Unified") => caches.l3_bytes = bytes,
            _ => {}
        }
    }
    (caches != Caches::default()).then_some(caches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "MemTotal:       24617340 kB\nmodel name\t: A CPU @ 3:00\n";
        assert_eq!(field(text, "MemTotal").as_deref(), Some("24617340 kB"));
        assert_eq!(field(text, "model name").as_deref(), Some("A CPU @ 3:00"));
        assert_eq!(field(text, "MemFree"), None);
    }
}
