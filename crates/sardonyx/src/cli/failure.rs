//! Errors as people read them: what, and on a line of its own how to mend it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;

use anstyle::{AnsiColor, Style};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Sardonyx(#[from] sardonyx::Error),
    #[error("cannot write to stdout: {0}")]
    Stdout(#[from] io::Error),
    #[error("the run was interrupted; hint: continue it with `sardonyx resume {}`", run.display())]
    Interrupted { run: PathBuf },
    #[error("the report cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Result of a verb.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(super) fn is_internal(&self) -> bool {
        match self {
            Failure::Sardonyx(error) => error.is_internal(),
            Failure::Stdout(_) | Failure::Interrupted { .. } => false,
            Failure::Json(_) => true,
        }
    }

    pub(super) fn report(&self) {
        say(&self.to_string());
    }
}

/// Splits `problem; hint: advice` into an `error:` and a `hint:` line on stderr.
fn say(message: &str) {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let cyan = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
    // Names from files are part of messages: they must not steer the terminal.
    let safe = |char: char| if char.is_control() { ' ' } else { char };
    let message: String = message.chars().map(safe).collect();
    let (problem, hint) = message.split_once("; hint: ").unwrap_or((&message, ""));
    let mut text = format!("{red}error:{red:#} {problem}\n");
    if !hint.is_empty() {
        writeln!(text, " {cyan}hint:{cyan:#} {hint}").expect("a string takes any text");
    }
    // There is no place left to report an error of stderr to.
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Message and place of the last panic.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Panics are kept for [`report_panic`] instead of being printed as they happen.
pub(super) fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        if let Ok(mut last) = PANIC.lock() {
            *last = format!("{text} ({place})");
        }
    }));
}

pub(super) fn report_panic() {
    let last = PANIC.lock().map(|last| last.clone()).unwrap_or_default();
    let version = sardonyx::VERSION;
    say(&format!(
        "sardonyx {version} has a bug: {last}; hint: please report it with this message and the \
         command line"
    ));
}
