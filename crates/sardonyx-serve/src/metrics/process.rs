//! What the operating system knows of this process and its machine, read from `/proc`.
//!
//! Where there is no such folder, the values are left out.

use std::fs;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::UNIX_EPOCH;

/// The process, and what was last read of the processors.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) start_seconds: f64,
    /// Busy and total ticks of all processors at the last reading.
    ticks: Mutex<(u64, u64)>,
}

/// Numbers of a process at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) resident_bytes: Option<f64>,
    pub(super) virtual_bytes: Option<f64>,
    pub(super) threads: Option<f64>,
    pub(super) open_fds: Option<f64>,
    pub(super) max_fds: Option<f64>,
}

/// Memory of a machine, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct MachineMemory {
    pub(super) total: u64,
    pub(super) used: u64,
}

impl Process {
    pub(super) fn new() -> Process {
        let since = crate::clock::system_now().duration_since(UNIX_EPOCH);
        Process {
            start_seconds: since.map_or(0.0, |since| since.as_secs_f64()),
            ticks: Mutex::default(),
        }
    }

    /// Share of all processors that was busy since the last call, from 0 to 1.
    pub(super) fn processor_share(&self) -> Option<f64> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let (busy, total) = processor_ticks(&text)?;
        let mut last = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = total.saturating_sub(last.1);
        let worked = busy.saturating_sub(last.0);
        *last = (busy, total);
        Some(if passed == 0 {
            0.0
        } else {
            worked as f64 / passed as f64
        })
    }
}

impl Usage {
    pub(super) fn now() -> Usage {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let kilobytes = |key| field(&status, key).map(|value| value as f64 * 1024.0);
        // The listing itself has a descriptor open.
        let open_fds = fs::read_dir("/proc/self/fd").map(|entries| entries.count() as f64 - 1.0);
        Usage {
            resident_bytes: kilobytes("VmRSS:"),
            virtual_bytes: kilobytes("VmSize:"),
            threads: field(&status, "Threads:").map(|value| value as f64),
            open_fds: open_fds.ok(),
            max_fds: field(&limits, "Max open files").map(|value| value as f64),
        }
    }
}

/// Processor time of all threads of the process, those that have ended too.
pub(super) fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The machine's memory, and how much of it is taken.
pub(super) fn machine_memory() -> Option<MachineMemory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = field(&text, "MemTotal:")? * 1024;
    let available = field(&text, "MemAvailable:")? * 1024;
    Some(MachineMemory {
        total,
        used: total.saturating_sub(available),
    })
}

/// The first number behind `key` at the start of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Busy and total ticks of the line that sums all processors up (proc(5): user, nice, system,
/// idle, iowait, irq, softirq, steal; guest time is within user time).
fn processor_ticks(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let total: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Some((total - idle, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_those_that_were_not_idle() {
        let text = "cpu  10 1 5 70 14 0 0 0 3 0\ncpu0 1 2 3 4\n";
        assert_eq!(processor_ticks(text), Some((16, 100)));
        assert_eq!(processor_ticks("cpu  x"), None);
    }

    #[test]
    fn fields_are_found_at_the_start_of_lines() {
        let text =
            "Name:\tx\nVmRSS:\t    5120 kB\nMax open files            1024    524288 files\n";
        assert_eq!(field(text, "VmRSS:"), Some(5120));
        assert_eq!(field(text, "Max open files"), Some(1024));
        assert_eq!(field(text, "VmSize:"), None);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let usage = Usage::now();
        assert!(usage.resident_bytes.is_none_or(|bytes| bytes > 1e5));
        assert!(cpu_seconds() > 0.0);
    }
}
