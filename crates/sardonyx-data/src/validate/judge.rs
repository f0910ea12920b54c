use crate::dataset::Kind;
use crate::view::View;

use super::count::feature_name;
use super::{CrossReport, Finding, PartReport, Severity};

/// Imbalance from which it is a warning, and from which it is a note.
const IMBALANCE: (f64, f64) = (10.0, 3.0);

/// Share of repeated samples above which they are more than a note.
const DUPLICATE_SHARE: f64 = 0.01;

/// Ratio of the largest raw values of two parts above which one of them must be scaled otherwise.
const RANGE_RATIO: f32 = 16.0;

/// Names listed in a message before the rest is only counted.
const NAMES_SHOWN: usize = 5;

pub(super) fn findings(
    parts: &[(&str, &View)],
    reports: &[PartReport],
    pairs: &[CrossReport],
) -> Vec<Finding> {
    let mut out = Vec::new();
    for (index, ((_, view), report)) in parts.iter().zip(reports).enumerate() {
        let mut say = |severity, code, message: String, hint| {
            out.push(Finding {
                severity,
                code,
                part: report.name.clone(),
                message,
                hint,
            });
        };
        if report.n_rows == 0 {
            let hint = "check the path and the split";
            say(
                Severity::Error,
                "no-samples",
                "there is no sample".into(),
                hint,
            );
            continue;
        }
        judge_classes(view, report, index == 0, &mut say);
        judge_values(view, report, &mut say);
        judge_repeats(report, &mut say);
        if index > 0 {
            judge_against(parts[0].1, &reports[0], view, report, &mut say);
        }
    }
    for pair in pairs.iter().filter(|pair| pair.n_shared > 0) {
        out.push(judge_pair(pair));
    }
    out
}

type Say<'a> = dyn FnMut(Severity, &'static str, String, &'static str) + 'a;

fn judge_classes(view: &View, report: &PartReport, is_train: bool, say: &mut Say<'_>) {
    let names = view.dataset().class_names();
    let empty: Vec<&str> = (0..report.class_counts.len())
        .filter(|&class| report.class_counts[class] == 0)
        .map(|class| names[class].as_str())
        .collect();
    if is_train && !names.is_empty() && names.len() - empty.len() < 2 {
        say(
            Severity::Error,
            "one-class",
            "all samples are of one class".into(),
            "a classifier needs samples of two classes or more",
        );
    } else if !empty.is_empty() {
        say(
            if is_train {
                Severity::Warning
            } else {
                Severity::Note
            },
            "empty-class",
            format!("no sample of {}", list("class", "classes", &empty)),
            if is_train {
                "add samples of it or take the class out: it cannot be learned"
            } else {
                "scores of the class cannot be measured here"
            },
        );
    }
    let imbalance = report.imbalance.unwrap_or(1.0);
    if imbalance >= IMBALANCE.1 {
        let is_strong = imbalance >= IMBALANCE.0;
        say(
            if is_strong {
                Severity::Warning
            } else {
                Severity::Note
            },
            "imbalance",
            format!("the largest class has {imbalance:.1} times the samples of the smallest"),
            "look at F1 or the scores of each class, not at accuracy alone",
        );
    }
}

fn judge_values(view: &View, report: &PartReport, say: &mut Say<'_>) {
    let dataset = view.dataset();
    let at = report
        .first_not_finite
        .as_ref()
        .map_or(String::new(), |location| {
            format!(", the first in sample {}, {}", location.row, location.name)
        });
    if report.n_nan > 0 {
        let (severity, hint) = if dataset.schema().is_some() {
            (
                Severity::Warning,
                "they are imputed from the training rows before training",
            )
        } else {
            (
                Severity::Error,
                "remove these samples or replace the values",
            )
        };
        let message = format!("{} values are missing or NaN{at}", report.n_nan);
        say(severity, "nan", message, hint);
    }
    if report.n_infinite > 0 {
        let message = format!("{} values are infinite{at}", report.n_infinite);
        let hint = "remove these samples or clip the values";
        say(Severity::Error, "infinite", message, hint);
    }
    if report.n_bad_targets > 0 {
        let message = format!("{} targets are NaN or infinite", report.n_bad_targets);
        say(Severity::Error, "target", message, "remove these samples");
    }
    let constant = &report.constant_features;
    if !constant.is_empty() {
        let names: Vec<String> = constant
            .iter()
            .take(NAMES_SHOWN)
            .map(|&feature| feature_name(dataset, feature))
            .collect();
        let more = if constant.len() > names.len() {
            ", ..."
        } else {
            ""
        };
        let is_table = matches!(dataset.kind(), Kind::Table { .. });
        say(
            if is_table {
                Severity::Warning
            } else {
                Severity::Note
            },
            "constant",
            format!(
                "{} of {} features have one value only ({}{more})",
                constant.len(),
                dataset.kind().sample_len(),
                names.join("; ")
            ),
            "they carry no information; a table is smaller without them",
        );
    }
    if let (Some((low, high)), Some((least, most))) = (report.range, dataset.nominal_range())
        && (low < least || high > most)
    {
        say(
            Severity::Warning,
            "range",
            format!("values go from {low} to {high}, the format's from {least} to {most}"),
            "check how the data was made",
        );
    }
}

fn judge_repeats(report: &PartReport, say: &mut Say<'_>) {
    if report.n_duplicates > 0 {
        let share = report.n_duplicates as f64 / report.n_rows as f64;
        say(
            if share > DUPLICATE_SHARE {
                Severity::Warning
            } else {
                Severity::Note
            },
            "duplicates",
            format!(
                "{} of {} samples repeat an earlier one",
                report.n_duplicates, report.n_rows
            ),
            "remove them before splitting, or they may end up on both sides",
        );
    }
    if report.n_conflicts > 0 {
        say(
            Severity::Warning,
            "conflict",
            format!(
                "{} groups of equal samples have different targets",
                report.n_conflicts
            ),
            "at least one target of each group is wrong",
        );
    }
}

fn judge_against(
    train: &View,
    train_report: &PartReport,
    view: &View,
    report: &PartReport,
    say: &mut Say<'_>,
) {
    if train.dataset().kind() != view.dataset().kind() {
        say(
            Severity::Error,
            "kind",
            format!(
                "samples are {:?}, those of `{}` are {:?}",
                view.dataset().kind(),
                train_report.name,
                train.dataset().kind()
            ),
            "give every part the same size and columns",
        );
    }
    if train.dataset().class_names() != view.dataset().class_names() {
        say(
            Severity::Error,
            "class-names",
            format!("the classes are not those of `{}`", train_report.name),
            "read both parts together, so that they share their classes",
        );
    }
    let largest = |range: Option<(f32, f32)>| range.map(|(low, high)| low.abs().max(high.abs()));
    let is_image = matches!(view.dataset().kind(), Kind::Image { .. });
    if let (true, Some(a), Some(b)) = (is_image, largest(train_report.range), largest(report.range))
        && a.max(b) > RANGE_RATIO * a.min(b)
    {
        say(
            Severity::Warning,
            "scale",
            format!("values reach {b}, those of `{}` {a}", train_report.name),
            "one of the parts seems to be scaled already: give both raw",
        );
    }
}

fn judge_pair(pair: &CrossReport) -> Finding {
    let example = pair.example.map_or(String::new(), |(first, second)| {
        format!(", such as sample {second}, which is sample {first} there")
    });
    let conflicts = match pair.n_conflicts {
        0 => String::new(),
        n => format!("; {n} of them with another target"),
    };
    Finding {
        severity: Severity::Warning,
        code: "leak",
        part: pair.second.clone(),
        message: format!(
            "{} samples also occur in `{}`{example}{conflicts}",
            pair.n_shared, pair.first
        ),
        hint: "remove them from one side: scores on seen samples are too good",
    }
}

fn list(one: &str, many: &str, names: &[&str]) -> String {
    let shown = &names[..names.len().min(NAMES_SHOWN)];
    let quoted: Vec<String> = shown.iter().map(|name| format!("`{name}`")).collect();
    let noun = if names.len() == 1 { one } else { many };
    match names.len() - shown.len() {
        0 => format!("{noun} {}", quoted.join(", ")),
        more => format!("{noun} {} and {more} more", quoted.join(", ")),
    }
}
