//! The confusion matrix as a picture, and the pairs of classes that are confused most.

use super::html::{Escaped, percent, put, shortened, weight};
use crate::metrics::{ClassReport, ConfusionMatrix};

/// Above this many classes the matrix would be a carpet: only the list of pairs is shown.
const MAX_CLASSES: usize = 64;
/// Pairs that are listed.
const MAX_PAIRS: usize = 12;
/// Characters of a class name beside the matrix.
const MAX_NAME: usize = 16;

/// Matrix and list side by side.
pub(super) fn render(out: &mut String, matrix: &ConfusionMatrix, classes: &[ClassReport]) {
    out.push_str("<div class=\"split\">\n");
    if matrix.n_classes() <= MAX_CLASSES {
        picture(out, matrix, classes);
    }
    pairs(out, matrix, classes);
    out.push_str("</div>\n");
}

fn picture(out: &mut String, matrix: &ConfusionMatrix, classes: &[ClassReport]) {
    let n = classes.len();
    let cell = (560.0 / n.max(1) as f64).clamp(11.0, 46.0).floor();
    let names: Vec<String> = classes
        .iter()
        .map(|c| shortened(&c.name, MAX_NAME))
        .collect();
    let longest = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(1) as f64;
    let left = 26.0 + 6.6 * longest.max(2.0);
    // Names that do not fit above a column are turned.
    let turned = 6.8 * longest > cell;
    let top = 26.0 + if turned { 6.8 * longest } else { 16.0 };
    let side = cell * n as f64;
    put!(
        out,
        "<figure class=\"matrix\"><figcaption><b>Confusion matrix</b>\
         <span class=\"note\">row: true class, column: predicted</span></figcaption>\n\
         <svg viewBox=\"0 0 {w:.0} {h:.0}\" style=\"max-width:{w:.0}px\" role=\"img\" \
         aria-label=\"Confusion matrix\">\n\
         <text class=\"name middle\" x=\"{:.1}\" y=\"11\">predicted</text>\
         <text class=\"name middle\" transform=\"translate(11 {:.1}) rotate(-90)\">true</text>\n",
        left + side / 2.0,
        top + side / 2.0,
        w = left + side + 2.0,
        h = top + side + 2.0,
    );
    for (class, name) in names.iter().enumerate() {
        let middle = (class as f64 + 0.5) * cell;
        let (x, y) = (left + middle, top - 7.0);
        let name = Escaped(name);
        put!(
            out,
            "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
            left - 7.0,
            top + middle + 4.0
        );
        match turned {
            true => put!(
                out,
                "<text class=\"tick\" transform=\"translate({:.1} {y:.1}) rotate(-90)\">{name}\
                 </text>\n",
                x + 4.0
            ),
            false => put!(
                out,
                "<text class=\"tick middle\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>\n"
            ),
        }
    }
    for label in 0..n {
        for predicted in 0..n {
            let corner = (left + predicted as f64 * cell, top + label as f64 * cell);
            render_cell(out, matrix, classes, (label, predicted), (corner, cell));
        }
    }
    out.push_str("</svg></figure>\n");
}

/// A cell: shade for the share of its row, number, tooltip. Errors have another colour than hits,
/// and a steeper shade, so that the few that there are can be seen.
fn render_cell(
    out: &mut String,
    matrix: &ConfusionMatrix,
    classes: &[ClassReport],
    (label, predicted): (usize, usize),
    ((x, y), size): ((f64, f64), f64),
) {
    let value = matrix.cell(label, predicted);
    let support = classes[label].support;
    let share = if support > 0.0 { value / support } else { 0.0 };
    let (class, shade) = match label == predicted {
        true => ("hits", 0.10 + 0.78 * share),
        false => (
            "miss",
            if value > 0.0 {
                0.12 + 0.76 * share.sqrt()
            } else {
                0.0
            },
        ),
    };
    let shade = if value == 0.0 { 0.0 } else { shade };
    put!(
        out,
        "<g class=\"cell\"><rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
         height=\"{:.1}\" fill-opacity=\"{shade:.3}\"/>",
        x + 0.75,
        y + 0.75,
        size - 1.5,
        size - 1.5
    );
    let text = weight(value);
    let room = 0.62 * 12.0 * text.chars().count() as f64 + 3.0 < size;
    if value > 0.0 && room {
        let ink = if shade > 0.5 { "light" } else { "" };
        put!(
            out,
            "<text class=\"count middle {ink}\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
            x + size / 2.0,
            y + size / 2.0 + 4.0
        );
    }
    put!(
        out,
        "<title>true {}, predicted {}\n{text} of {} ({})</title></g>\n",
        Escaped(&classes[label].name),
        Escaped(&classes[predicted].name),
        weight(support),
        percent(Some(share), 1)
    );
}

fn pairs(out: &mut String, matrix: &ConfusionMatrix, classes: &[ClassReport]) {
    let n = matrix.n_classes();
    let mut pairs: Vec<(f64, usize, usize)> = (0..n * n)
        .map(|index| (matrix.cells()[index], index / n, index % n))
        .filter(|&(value, label, predicted)| value > 0.0 && label != predicted)
        .collect();
    // A stable sort: of equal pairs the one of the lower classes comes first.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    out.push_str("<figure class=\"pairs\"><figcaption><b>Most confused</b></figcaption>\n");
    if pairs.is_empty() {
        out.push_str("<p class=\"note\">No sample was taken for another class.</p></figure>\n");
        return;
    }
    out.push_str(
        "<table><thead><tr><th>true</th><th>predicted</th><th class=\"n\">samples</th>\
         <th class=\"n\">of class</th></tr></thead><tbody>\n",
    );
    for (value, label, predicted) in pairs.into_iter().take(MAX_PAIRS) {
        let share = value / classes[label].support;
        put!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            Escaped(&shortened(&classes[label].name, 24)),
            Escaped(&shortened(&classes[predicted].name, 24)),
            weight(value),
            percent(Some(share), 1)
        );
    }
    out.push_str("</tbody></table></figure>\n");
}
