//! A run as it goes: a bar on a terminal, a line for each epoch everywhere.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sardonyx::data::Severity;
use sardonyx::train::{EpochEvent, Event, StepEvent};
use sardonyx::training::{Notice, Watch};

use super::Output;

/// Signals after which the process no longer waits for the run to end by itself.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Tells of a run on stderr, and lets Ctrl-C end it after a checkpoint.
pub(crate) fn watch(output: &Output) -> Watch<'_> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Without a handler Ctrl-C ends the process at once; the last checkpoint is then what stays.
    let _ = ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::abort();
        }
        flag.store(true, Ordering::Relaxed);
    });
    let mut progress = Progress {
        output,
        bar: None,
        unit: "sample",
    };
    Watch {
        tell: Box::new(move |notice| progress.tell(notice)),
        stop,
    }
}

struct Progress<'o> {
    output: &'o Output,
    bar: Option<ProgressBar>,
    unit: &'static str,
}

impl Progress<'_> {
    fn tell(&mut self, notice: &Notice<'_>) {
        match notice {
            Notice::Data {
                source,
                sizes,
                unit,
                findings,
                imputed,
            } => {
                self.unit = unit;
                let (train, validation, test) = (sizes.train, sizes.validation, sizes.test);
                self.say(&format!(
                    "data: {source}: {train} to train on, {validation} to validate, {test} to test"
                ));
                for column in *imputed {
                    let (name, fill) = (&column.name, &column.fill);
                    self.say(&format!("note: missing cells of `{name}` become {fill}"));
                }
                let worth_saying = findings.iter().filter(|f| f.severity >= Severity::Warning);
                worth_saying.for_each(|finding| self.say(&finding.to_string()));
            }
            Notice::Folder(folder) => self.say(&format!("run: {}", folder.path().display())),
            Notice::Train(event) => self.train(event),
            _ => {}
        }
    }

    fn train(&mut self, event: &Event<'_>) {
        match event {
            Event::Start(start) => {
                let mebibytes = start.memory_bytes.iter().sum::<usize>() as f64 / 1_048_576.0;
                let (n, flops) = (start.n_parameters, start.flops as f64 / 1e6);
                self.say(&format!(
                    "model: {n} parameters, {mebibytes:.1} MiB, {flops:.1} million operations a step"
                ));
                if self.output.is_talking() && stderr().is_terminal() {
                    self.bar = Some(bar(start.epochs * start.steps_per_epoch));
                }
            }
            Event::Step(step) => {
                if let Some(bar) = &self.bar {
                    bar.set_position(step.step);
                    bar.set_prefix(format!("epoch {}/{}", step.epoch, step.epochs));
                    bar.set_message(step_text(step, self.unit));
                }
            }
            Event::Epoch(epoch) => self.say(&epoch_text(epoch)),
            _ => {}
        }
    }

    /// A line that the bar does not overwrite.
    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.output.say(text)),
            None => self.output.say(text),
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(n_steps: u64) -> ProgressBar {
    let template = "{prefix} {wide_bar} {percent}% {msg} {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    let bar = ProgressBar::with_draw_target(Some(n_steps), ProgressDrawTarget::stderr_with_hz(8));
    bar.set_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn step_text(step: &StepEvent, unit: &str) -> String {
    let (loss, accuracy) = (step.loss, 100.0 * step.accuracy);
    let speed = rate(step.n_samples as f64, step.seconds);
    format!("loss {loss:.4} accuracy {accuracy:.1} % {speed} {unit}s/s")
}

fn epoch_text(event: &EpochEvent<'_>) -> String {
    let record = event.record;
    let mut text = format!("epoch {:>3}/{}", record.epoch, event.epochs);
    let mut add = |name: &str, value: Option<f64>, percent: bool| {
        if let Some(value) = value {
            text += &match percent {
                true => format!("  {name} {:.2} %", 100.0 * value),
                false => format!("  {name} {value:.4}"),
            };
        }
    };
    add("loss", record.train_loss, false);
    add("accuracy", record.train_accuracy, true);
    add("val loss", record.validation_loss, false);
    add("val accuracy", record.validation_accuracy, true);
    let best = if event.is_best { "  best so far" } else { "" };
    format!("{text}  {:.2} s{best}", record.seconds)
}

fn rate(count: f64, seconds: f64) -> String {
    match seconds > 0.0 {
        true => format!("{:.0}", count / seconds),
        false => "-".to_owned(),
    }
}
