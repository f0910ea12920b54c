use serde::{Deserialize, Serialize};

/// On what and with what a run was made. Gathered by the caller: nothing here asks the system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Version of Sardonyx.
    pub version: String,
    /// Operating system and its version.
    pub os: String,
    /// Processor architecture: `x86_64`, `aarch64`.
    pub arch: String,
    /// Name of the processor.
    pub cpu: String,
    /// Instruction sets that the kernels use.
    pub instruction_sets: Vec<String>,
    /// Threads used.
    pub n_threads: usize,
    /// Main memory in bytes, where it is known.
    pub memory_bytes: Option<u64>,
    /// The command line.
    pub command: Vec<String>,
    /// Start of the run, RFC 3339.
    pub started: String,
}

impl Environment {
    /// Name and value of each fact that is known, in reading order.
    pub fn rows(&self) -> Vec<(String, String)> {
        let memory = self.memory_bytes.map(|bytes| {
            let gibibytes = bytes as f64 / (1u64 << 30) as f64;
            format!("{gibibytes:.1} GiB")
        });
        let threads = match self.n_threads {
            0 => String::new(),
            n => n.to_string(),
        };
        [
            ("Sardonyx", self.version.clone()),
            ("Started", self.started.clone()),
            ("Command", self.command.join(" ")),
            ("System", self.os.clone()),
            ("Processor", self.cpu.clone()),
            ("Architecture", self.arch.clone()),
            ("Instruction sets", self.instruction_sets.join(", ")),
            ("Threads", threads),
            ("Memory", memory.unwrap_or_default()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}
