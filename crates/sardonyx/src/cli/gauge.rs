//! How far a measurement is, as a bar on a terminal.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Output;

const PARTS: u64 = 1000;

/// A bar from nothing to all; nothing where stderr is no terminal or is to be quiet. It draws only
/// when told, so that no thread of its own disturbs what is measured.
pub(crate) struct Gauge(Option<ProgressBar>);

impl Gauge {
    pub(crate) fn new(output: &Output) -> Gauge {
        if !(output.is_talking() && stderr().is_terminal()) {
            return Gauge(None);
        }
        let template = "{msg} {wide_bar} {percent}%";
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let bar = ProgressBar::with_draw_target(Some(PARTS), ProgressDrawTarget::stderr_with_hz(8));
        bar.set_style(style.progress_chars("=> "));
        Gauge(Some(bar))
    }

    /// Shows that the share `done` of `what` is done.
    pub(crate) fn show(&mut self, done: f64, what: &str) {
        if let Some(bar) = &self.0 {
            if bar.message() != what {
                bar.set_message(what.to_owned());
            }
            bar.set_position((done * PARTS as f64) as u64);
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
