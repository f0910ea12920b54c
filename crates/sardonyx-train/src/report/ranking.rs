//! ROC curves, and the reliability diagram.

use super::axis::Axis;
use super::chart::Chart;
use super::html::{Escaped, number, percent, put, shortened, weight};
use crate::metrics::{Calibration, ClassReport, ClassificationReport};

/// More curves than this cannot be told apart: the best ones are left out.
const MAX_CURVES: usize = 60;

/// Both pictures side by side.
pub(super) fn render(out: &mut String, report: &ClassificationReport) {
    out.push_str("<div class=\"charts two\">\n");
    roc(out, report);
    reliability(out, &report.calibration);
    out.push_str("</div>\n");
}

/// One curve per class against the rest; the class with the smallest area stands out.
fn roc(out: &mut String, report: &ClassificationReport) {
    let mut classes: Vec<(f64, &ClassReport)> = report
        .classes
        .iter()
        .filter_map(|class| Some((class.roc_auc?, class)))
        .collect();
    classes.sort_by(|a, b| a.0.total_cmp(&b.0));
    classes.truncate(MAX_CURVES);
    let corner = corner(&classes);
    let chart = Chart {
        left: 58.0,
        ..Chart::new(
            500.0,
            380.0,
            Axis::from_zero(corner),
            Axis::up_to_one(corner),
        )
    };
    let mean = number(report.roc_auc_macro_of_defined, 4);
    let part = if corner < 1.0 {
        ", upper left corner"
    } else {
        ""
    };
    put!(
        out,
        "<figure><figcaption><b>ROC, each class against the rest</b>\
         <span class=\"note\">mean area {mean}{part}</span></figcaption>\n"
    );
    chart.open(out, "ROC curves");
    chart.axes(out, "false-positive rate", false);
    chart.y_name(out, "true-positive rate");
    chart.open_clip(out, "roc");
    chart.line(out, "chance", &[(0.0, 0.0), (1.0, 1.0)]);
    // The worst is drawn last, over the others.
    for (rank, (area, class)) in classes.iter().enumerate().rev() {
        let points: Vec<(f64, f64)> = class.roc.iter().map(|p| (p.x, p.y)).collect();
        let style = if rank == 0 { "worst" } else { "faint" };
        put!(out, "<g class=\"curve\">");
        chart.line(out, style, &points);
        put!(
            out,
            "<title>{}: area {area:.4}</title></g>\n",
            Escaped(&class.name)
        );
    }
    out.push_str("</g>\n");
    if let Some((area, class)) = classes.first() {
        put!(
            out,
            "<text class=\"label worst end\" x=\"{:.1}\" y=\"{:.1}\">lowest: {}, {area:.4}\
             </text>\n",
            chart.width - chart.right - 8.0,
            chart.height - chart.bottom - 14.0,
            Escaped(&shortened(&class.name, 24))
        );
    }
    out.push_str("</svg></figure>\n");
}

/// The side of the upper left corner in which the curves differ: curves of good classifiers lie
/// wholly in it, and the rest of the plane would be empty.
fn corner(classes: &[(f64, &ClassReport)]) -> f64 {
    let has_arrived = |side: f64, class: &ClassReport| {
        let early = class.roc.iter().take_while(|point| point.x <= side / 2.0);
        early.map(|point| point.y).fold(0.0, f64::max) >= 1.0 - side / 2.0
    };
    let holds_all = |side: &f64| {
        !classes.is_empty() && classes.iter().all(|(_, class)| has_arrived(*side, class))
    };
    [0.1, 0.2, 0.5].into_iter().find(holds_all).unwrap_or(1.0)
}

/// Accuracy over confidence per bin, and how many samples each bin has.
fn reliability(out: &mut String, calibration: &Calibration) {
    let chart = Chart {
        left: 58.0,
        bottom: 112.0,
        ..Chart::new(500.0, 380.0, Axis::from_zero(1.0), Axis::up_to_one(1.0))
    };
    put!(
        out,
        "<figure><figcaption><b>Calibration</b><span class=\"note\">expected error {}, largest \
         {}</span></figcaption>\n",
        number(Some(calibration.ece), 4),
        number(Some(calibration.mce), 4)
    );
    chart.open(out, "Calibration diagram");
    chart.axes(out, "confidence", false);
    chart.y_name(out, "accuracy");
    chart.line(out, "chance", &[(0.0, 0.0), (1.0, 1.0)]);
    let total: f64 = calibration.bins.iter().map(|bin| bin.weight).sum();
    let most = calibration
        .bins
        .iter()
        .map(|bin| bin.weight)
        .fold(0.0, f64::max);
    let floor = chart.height - chart.bottom;
    // Below the numbers of the axis hangs the histogram, between these two lines.
    let (top, base) = (floor + 30.0, chart.height - 22.0);
    put!(
        out,
        "<text class=\"name end\" x=\"{:.1}\" y=\"{:.1}\">samples</text>\n",
        chart.left - 8.0,
        base
    );
    let mut dots = Vec::new();
    for bin in &calibration.bins {
        let (Some(confidence), Some(accuracy)) = (bin.confidence, bin.accuracy) else {
            continue;
        };
        dots.push((confidence, accuracy));
        let (x, right) = (chart.px(bin.lower), chart.px(bin.upper));
        let height = ((base - top) * bin.weight / most).max(1.0);
        let (cx, cy, perfect) = (
            chart.px(confidence),
            chart.py(accuracy),
            chart.py(confidence),
        );
        put!(
            out,
            "<g class=\"bin\"><rect class=\"hit\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{w:.1}\" \
             height=\"{:.1}\"/><rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
             height=\"{height:.1}\"/><path class=\"gap\" d=\"M{cx:.1} {perfect:.1}V{cy:.1}\"/>\
             <circle class=\"val dot\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"4\"/>\
             <title>confidence {} to {}\nmean {}, accuracy {}\n{} samples ({})</title></g>\n",
            chart.top,
            base - chart.top,
            x + 1.0,
            base - height,
            (right - x - 2.0).max(0.5),
            number(Some(bin.lower), 2),
            number(Some(bin.upper), 2),
            percent(bin.confidence, 1),
            percent(bin.accuracy, 1),
            weight(bin.weight),
            percent(Some(bin.weight / total), 1),
            w = right - x,
        );
    }
    out.push_str("</svg></figure>\n");
}
