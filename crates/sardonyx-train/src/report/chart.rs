//! The frame that every chart shares: axes, grid and a scale from values to pixels.

use super::axis::Axis;
use super::html::{Escaped, put};

/// A chart's plane within its SVG picture, in pixels.
pub(super) struct Chart {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Chart {
    /// A chart of this size with room for labels.
    pub(super) fn new(width: f64, height: f64, x: Axis, y: Axis) -> Chart {
        Chart {
            width,
            height,
            left: 46.0,
            right: 12.0,
            top: 18.0,
            bottom: 38.0,
            x,
            y,
        }
    }

    /// Horizontal position of a value.
    pub(super) fn px(&self, value: f64) -> f64 {
        self.left + self.x.share(value) * (self.width - self.left - self.right)
    }

    /// Vertical position of a value.
    pub(super) fn py(&self, value: f64) -> f64 {
        self.height - self.bottom - self.y.share(value) * (self.height - self.top - self.bottom)
    }

    /// Opens the picture; `title` is what a screen reader says.
    pub(super) fn open(&self, out: &mut String, title: &str) {
        put!(
            out,
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n",
            self.width,
            self.height,
            Escaped(title)
        );
    }

    /// Horizontal grid lines and the labels of both axes.
    pub(super) fn axes(&self, out: &mut String, x_name: &str, percent: bool) {
        let (right, floor) = (self.width - self.right, self.height - self.bottom);
        for &tick in &self.y.ticks {
            let y = self.py(tick);
            let label = if percent {
                self.y.percent_label(tick)
            } else {
                self.y.label(tick)
            };
            put!(
                out,
                "<path class=\"grid\" d=\"M{:.1} {y:.1}H{right:.1}\"/>\
                 <text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>\n",
                self.left,
                self.left - 8.0,
                y + 4.0
            );
        }
        for &tick in &self.x.ticks {
            put!(
                out,
                "<text class=\"tick middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
                self.px(tick),
                floor + 17.0,
                self.x.label(tick)
            );
        }
        put!(
            out,
            "<path class=\"base\" d=\"M{:.1} {floor:.1}H{right:.1}\"/>\
             <text class=\"name middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            self.left,
            (self.left + right) / 2.0,
            self.height - 4.0,
            Escaped(x_name)
        );
    }

    /// The name of the vertical axis, written along it.
    pub(super) fn y_name(&self, out: &mut String, name: &str) {
        let middle = (self.top + self.height - self.bottom) / 2.0;
        put!(
            out,
            "<text class=\"name middle\" transform=\"translate(10 {middle:.1}) rotate(-90)\">{}\
             </text>\n",
            Escaped(name)
        );
    }

    /// Opens a group of which only what lies within the plane is shown. `id` is unique in the page.
    pub(super) fn open_clip(&self, out: &mut String, id: &str) {
        // Two pixels more at each side, for the width of a line along the edge.
        put!(
            out,
            "<clipPath id=\"{id}\"><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             </clipPath><g clip-path=\"url(#{id})\">\n",
            self.left - 2.0,
            self.top - 2.0,
            self.width - self.left - self.right + 4.0,
            self.height - self.top - self.bottom + 4.0
        );
    }

    /// The line through `points`, interrupted where a value is not finite. A lone point is a dot.
    pub(super) fn line(&self, out: &mut String, class: &str, points: &[(f64, f64)]) {
        let finite = |point: &(f64, f64)| point.0.is_finite() && point.1.is_finite();
        let mut path = String::new();
        for piece in points.split(|point| !finite(point)) {
            for (index, &(x, y)) in piece.iter().enumerate() {
                let command = if index == 0 { 'M' } else { 'L' };
                put!(&mut path, "{command}{:.1} {:.1}", self.px(x), self.py(y));
            }
            if let [(x, y)] = piece {
                let (x, y) = (self.px(*x), self.py(*y));
                put!(
                    out,
                    "<circle class=\"{class} dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>"
                );
            }
        }
        put!(out, "<path class=\"line {class}\" d=\"{path}\"/>\n");
    }
}
