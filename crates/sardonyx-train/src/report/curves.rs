//! Learning curves: loss, accuracy and learning rate over the epochs.

use super::EpochRecord;
use super::axis::Axis;
use super::chart::Chart;
use super::html::put;

/// Above this many epochs only every so-and-so-many has its own tooltip.
const MAX_TOOLTIPS: usize = 250;

/// One quantity, over training and over validation data.
struct Quantity {
    name: &'static str,
    percent: bool,
    train: fn(&EpochRecord) -> Option<f64>,
    validation: fn(&EpochRecord) -> Option<f64>,
}

const QUANTITIES: [Quantity; 3] = [
    Quantity {
        name: "Loss",
        percent: false,
        train: |record| record.train_loss,
        validation: |record| record.validation_loss,
    },
    Quantity {
        name: "Accuracy",
        percent: true,
        train: |record| record.train_accuracy,
        validation: |record| record.validation_accuracy,
    },
    Quantity {
        name: "Learning rate",
        percent: false,
        train: |record| record.learning_rate,
        validation: |_| None,
    },
];

/// A chart per quantity that was recorded at all.
pub(super) fn render(out: &mut String, history: &[EpochRecord], best_epoch: Option<u64>) {
    out.push_str("<div class=\"charts\">\n");
    for quantity in &QUANTITIES {
        let known = |record: &EpochRecord| {
            (quantity.train)(record).is_some() || (quantity.validation)(record).is_some()
        };
        if history.iter().any(known) {
            render_one(out, quantity, history, best_epoch);
        }
    }
    out.push_str("</div>\n");
}

fn render_one(
    out: &mut String,
    quantity: &Quantity,
    history: &[EpochRecord],
    best_epoch: Option<u64>,
) {
    let points = |value: fn(&EpochRecord) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |r: &EpochRecord| (r.epoch as f64, value(r).unwrap_or(f64::NAN));
        history.iter().map(point).collect()
    };
    let (train, validation) = (points(quantity.train), points(quantity.validation));
    let paired = validation.iter().any(|point| !point.1.is_nan());
    let first = history.first().map_or(1.0, |record| record.epoch as f64);
    let last = history.last().map_or(1.0, |record| record.epoch as f64);
    let values = train.iter().chain(&validation).map(|point| point.1);
    let mut y = Axis::around(values, 5);
    if quantity.percent {
        y.high = y.high.min(1.0);
        y.ticks.retain(|&tick| tick <= 1.0 + 1e-9);
    }
    let chart = Chart::new(352.0, 240.0, Axis::whole(first, last, 5), y);
    let key = match paired {
        true => "<span class=\"key train\">train</span><span class=\"key val\">validation</span>",
        false => "",
    };
    put!(
        out,
        "<figure><figcaption><b>{}</b>{key}</figcaption>\n",
        quantity.name
    );
    chart.open(out, quantity.name);
    chart.axes(out, "epoch", quantity.percent);
    if let Some(best) = best_epoch.map(|epoch| epoch as f64)
        && paired
        && history.len() > 1
        && (first..=last).contains(&best)
    {
        mark_best(out, &chart, best);
    }
    chart.line(out, if paired { "train" } else { "val" }, &train);
    if paired {
        chart.line(out, "val", &validation);
    }
    tooltips(out, &chart, quantity, history);
    out.push_str("</svg></figure>\n");
}

/// A dotted line at the best epoch, its name above the curves on the side that has room.
fn mark_best(out: &mut String, chart: &Chart, best: f64) {
    let x = chart.px(best);
    let (anchor, shift) = if chart.x.share(best) > 0.7 {
        ("end", 4.0)
    } else {
        ("", -4.0)
    };
    put!(
        out,
        "<path class=\"best\" d=\"M{x:.1} {:.1}V{:.1}\"/>\
         <text class=\"tick {anchor}\" x=\"{:.1}\" y=\"{:.1}\">best</text>\n",
        chart.top,
        chart.height - chart.bottom,
        x + shift,
        chart.top - 4.0
    );
}

/// An invisible column over each epoch that names its values.
fn tooltips(out: &mut String, chart: &Chart, quantity: &Quantity, history: &[EpochRecord]) {
    let stride = history.len().div_ceil(MAX_TOOLTIPS).max(1);
    let plane = chart.width - chart.left - chart.right;
    let column = plane / (history.len().div_ceil(stride).max(2) - 1) as f64;
    for record in history.iter().step_by(stride) {
        let text = |value: Option<f64>| match value {
            Some(value) if quantity.percent => format!("{:.2}%", value * 100.0),
            Some(value) if value != 0.0 && value.abs() < 1e-3 => format!("{value:.3e}"),
            Some(value) => format!("{value:.4}"),
            None => String::new(),
        };
        let mut title = format!("epoch {}", record.epoch);
        match (quantity.validation)(record) {
            None => put!(&mut title, ": {}", text((quantity.train)(record))),
            validation => {
                put!(&mut title, "\ntrain {}", text((quantity.train)(record)));
                put!(&mut title, "\nvalidation {}", text(validation));
            }
        }
        let middle = chart.px(record.epoch as f64);
        let x = (middle - column / 2.0).max(chart.left);
        let right = (middle + column / 2.0).min(chart.width - chart.right);
        put!(
            out,
            "<rect class=\"hit\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{title}</title></rect>\n",
            chart.top,
            (right - x).max(0.0),
            chart.height - chart.top - chart.bottom
        );
    }
}
