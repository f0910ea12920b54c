//! Where words go: reports to stdout, as text or as one JSON object; talk to stderr.

use std::io::{self, Write};

use serde::Serialize;

use super::Result;

/// The streams of this run.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Output {
        Output { json, quiet }
    }

    /// Writes a report to stdout: as JSON when asked for, else as `text` has it.
    pub(crate) fn report<R: Serialize>(
        &mut self,
        report: &R,
        text: impl FnOnce(&R) -> String,
    ) -> Result<()> {
        let mut stdout = io::BufWriter::new(anstream::stdout());
        if self.json {
            serde_json::to_writer(&mut stdout, report).map_err(|error| {
                match error.io_error_kind() {
                    Some(kind) => super::Failure::Stdout(kind.into()),
                    None => super::Failure::Json(error),
                }
            })?;
            stdout.write_all(b"\n")?;
        } else {
            stdout.write_all(text(report).as_bytes())?;
        }
        Ok(stdout.flush()?)
    }

    /// Tells an event of something that goes on: as a line of JSON on stdout when asked for, else
    /// as talk.
    pub(crate) fn event<E: Serialize>(
        &mut self,
        event: &E,
        text: impl FnOnce(&E) -> String,
    ) -> Result<()> {
        if self.json {
            return self.report(event, text);
        }
        self.say(&text(event));
        Ok(())
    }

    /// Whether anything is said on stderr.
    pub(super) fn is_talking(&self) -> bool {
        !self.quiet
    }

    /// Says something on stderr, unless all is to be quiet.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            // Talk is not worth failing for.
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }
}
