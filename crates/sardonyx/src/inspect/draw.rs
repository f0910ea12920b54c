//! The graph as a picture: one self-contained SVG, inputs at the top, boxes coloured by what their
//! operators do, with attributes, weights and the shape of the output.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use sardonyx_ir::{Graph, Producer, ValueId};
use sardonyx_ops::OpError;

use super::layout::{Boxes, Places, place};
use super::{NodeRow, Port};
use crate::error::{Error, Result};

/// Most nodes of a drawing; beyond, no one can read it.
const MAX_NODES: usize = 4_000;
/// Space around the drawing, in pixels like all sizes here.
const MARGIN: f64 = 20.0;
/// Height of a box's head.
const HEAD_HEIGHT: f64 = 22.0;
/// Height of a line of details.
const LINE_HEIGHT: f64 = 15.0;
/// Space left and right of a text.
const PADDING: f64 = 9.0;
/// Advance of a character of the details, which are of one width.
const CHARACTER_WIDTH: f64 = 6.65;
/// Advance of a character of the head, wide ones being rare in operators' names.
const HEAD_CHARACTER_WIDTH: f64 = 7.9;
/// Longest line of details, in characters.
const MAX_CHARACTERS: usize = 44;

/// Colours of the heads by operator; the rest is grey.
const COLOURS: [(&str, &[&str]); 6] = [
    (
        "#2f6db5",
        &[
            "Conv",
            "ConvTranspose",
            "Gemm",
            "MatMul",
            "LSTM",
            "GRU",
            "Attention",
        ],
    ),
    (
        "#2e7d4f",
        &[
            "Clip",
            "Elu",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "LeakyRelu",
            "LogSoftmax",
            "Mish",
            "PRelu",
            "Relu",
            "Selu",
            "Sigmoid",
            "Softmax",
            "Softplus",
            "Swish",
            "Tanh",
        ],
    ),
    (
        "#8a5a9e",
        &[
            "BatchNormalization",
            "GroupNormalization",
            "InstanceNormalization",
            "LayerNormalization",
            "LpNormalization",
            "RMSNormalization",
        ],
    ),
    (
        "#b0652b",
        &[
            "AveragePool",
            "GlobalAveragePool",
            "GlobalMaxPool",
            "LpPool",
            "MaxPool",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceSum",
        ],
    ),
    (
        "#a03c4c",
        &["Add", "Concat", "Div", "Mul", "Pow", "Sub", "Sum", "Where"],
    ),
    (
        "#7a6f2b",
        &[
            "Cast",
            "Constant",
            "Expand",
            "Flatten",
            "Gather",
            "Identity",
            "Reshape",
            "Shape",
            "Slice",
            "Split",
            "Squeeze",
            "Transpose",
            "Unsqueeze",
        ],
    ),
];

const OTHER_COLOUR: &str = "#5c6670";
const PORT_COLOUR: &str = "#24292f";

const STYLE: &str = "\
.back{fill:#fff}.line{fill:none;stroke:#8b949e;stroke-width:1.3}\
.box{fill:#f6f8fa;stroke:#c4ccd4}.head{font:600 13px system-ui,sans-serif;fill:#fff}\
.detail{font:11px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#24292f}\
.shape{fill:#57606a}text{text-anchor:middle}";

/// A box of the drawing.
struct Item {
    title: String,
    head: String,
    colour: &'static str,
    is_port: bool,
    details: Vec<String>,
    shape: Option<String>,
}

impl Item {
    fn port(port: &Port) -> Item {
        Item {
            title: port.fact(),
            head: shorten(&port.name),
            colour: PORT_COLOUR,
            is_port: true,
            details: Vec::new(),
            shape: Some(port.fact()),
        }
    }

    fn node(row: &NodeRow) -> Item {
        let op = row.op.rsplit('.').next().unwrap_or(&row.op);
        let known = COLOURS.iter().find(|(_, ops)| ops.contains(&op));
        let details = row.detail.split(" | ").filter(|part| !part.is_empty());
        let outputs: Vec<String> = row
            .outputs
            .iter()
            .map(|o| format!("{}: {}", o.name, o.fact()))
            .collect();
        Item {
            title: format!("{} {}\n{}", row.op, row.name, outputs.join("\n")),
            head: shorten(&row.op),
            colour: known.map_or(OTHER_COLOUR, |(colour, _)| colour),
            is_port: false,
            details: details.map(shorten).collect(),
            shape: row.outputs.first().map(|output| shorten(&output.fact())),
        }
    }

    fn size(&self) -> (f64, f64) {
        let lines = self.details.iter().chain(&self.shape);
        let details = lines.map(|line| line.chars().count() as f64 * CHARACTER_WIDTH);
        let head = self.head.chars().count() as f64 * HEAD_CHARACTER_WIDTH;
        let width = details.fold(head, f64::max) + 2.0 * PADDING;
        let n_lines = self.details.len() + usize::from(self.shape.is_some());
        let below = if n_lines > 0 {
            n_lines as f64 * LINE_HEIGHT + 6.0
        } else {
            0.0
        };
        (width.max(64.0), HEAD_HEIGHT + below)
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The drawing of a graph whose nodes are `rows`, in the order of computation.
///
/// # Errors
/// When the graph has too many nodes to draw, or a cycle.
pub(super) fn svg(graph: &Graph, rows: &[NodeRow]) -> Result<String> {
    if rows.len() > MAX_NODES {
        let problem = format!(
            "the graph has {} nodes, at most {MAX_NODES} are drawn",
            rows.len()
        );
        return Err(Error::config("svg", problem));
    }
    let (mut items, boxes) = scene(graph, rows)?;
    hide_repeated_shapes(&mut items, &boxes);
    let sizes = items.iter().map(Item::size).collect();
    let boxes = Boxes { sizes, ..boxes };
    let places = place(&boxes);
    Ok(render(graph, &items, &boxes, &places))
}

/// Boxes for inputs, nodes and outputs, and a line for each use of a value.
fn scene(graph: &Graph, rows: &[NodeRow]) -> Result<(Vec<Item>, Boxes)> {
    let order = graph.topological_order().map_err(OpError::from)?;
    let port = |id: ValueId| Item::port(&Port::new(graph, id));
    let fed: Vec<ValueId> = graph.inputs.clone();
    let mut items: Vec<Item> = fed.iter().map(|&id| port(id)).collect();
    items.extend(rows.iter().map(Item::node));
    let inputs: BTreeMap<ValueId, usize> = fed.iter().enumerate().map(|(b, &id)| (id, b)).collect();
    let nodes: BTreeMap<_, usize> = order
        .iter()
        .enumerate()
        .map(|(b, &id)| (id, b + fed.len()))
        .collect();
    let producers = graph.producers();
    let source = |id: ValueId| match producers[id.index()] {
        Some(Producer::Node(node, _)) => nodes.get(&node).copied(),
        Some(Producer::Input) => inputs.get(&id).copied(),
        Some(Producer::Initializer) | None => None,
    };
    let mut lines = BTreeSet::new();
    for (&node, &to) in &nodes {
        let used = graph.node(node).inputs.iter().flatten();
        lines.extend(used.filter_map(|&id| Some((source(id)?, to))));
    }
    for &id in &graph.outputs {
        items.push(port(id));
        lines.extend(source(id).map(|from| (from, items.len() - 1)));
    }
    let boxes = Boxes {
        sizes: Vec::new(),
        lines: lines.into_iter().collect(),
    };
    Ok((items, boxes))
}

/// A shape is shown where it changes: not in a box whose every source has the same.
fn hide_repeated_shapes(items: &mut [Item], boxes: &Boxes) {
    let shapes: Vec<Option<String>> = items.iter().map(|item| item.shape.clone()).collect();
    for (index, item) in items.iter_mut().enumerate() {
        let mut sources = boxes.lines.iter().filter(|(_, to)| *to == index).peekable();
        if !item.is_port
            && sources.peek().is_some()
            && sources.all(|&(from, _)| shapes[from] == item.shape)
        {
            item.shape = None;
        }
    }
}

fn render(graph: &Graph, items: &[Item], boxes: &Boxes, places: &Places) -> String {
    let (width, height) = (places.width + 2.0 * MARGIN, places.height + 2.0 * MARGIN);
    let mut out = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("a string takes any text");
        out.push('\n');
    };
    put(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">"
    ));
    put(format_args!("<title>{}</title>", escape(&graph.name)));
    put(format_args!("<style>{STYLE}</style>"));
    put(format_args!(
        "<rect class=\"back\" width=\"100%\" height=\"100%\"/>"
    ));
    put(format_args!(
        "<g transform=\"translate({MARGIN} {MARGIN})\">"
    ));
    for points in &places.lines {
        put(format_args!(
            "<path class=\"line\" d=\"{}\"/>",
            curve(points)
        ));
    }
    for (index, item) in items.iter().enumerate() {
        let (center, top) = places.boxes[index];
        put(format_args!(
            "{}",
            box_text(item, boxes.sizes[index], (center, top))
        ));
    }
    put(format_args!("</g>\n</svg>"));
    out
}

/// Through the points, leaving and reaching each straight down.
fn curve(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        let piece = match index.checked_sub(1).map(|before| points[before]) {
            None => format!("M{x:.1} {y:.1}"),
            Some((from_x, from_y)) if (from_x - x).abs() < 0.05 || from_y == y => {
                format!("L{x:.1} {y:.1}")
            }
            Some((from_x, from_y)) => {
                let middle = from_y.midpoint(y);
                format!("C{from_x:.1} {middle:.1} {x:.1} {middle:.1} {x:.1} {y:.1}")
            }
        };
        path.push_str(&piece);
    }
    path
}

fn box_text(item: &Item, (width, height): (f64, f64), (center, top): (f64, f64)) -> String {
    let left = center - width / 2.0;
    let radius = if item.is_port { 11.0 } else { 4.0 };
    let mut text = format!(
        "<g><title>{}</title><rect class=\"box\" x=\"{left:.1}\" y=\"{top:.1}\" \
         width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius}\"/>\
         <rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{HEAD_HEIGHT}\" \
         rx=\"{radius}\" fill=\"{}\"/>\
         <text class=\"head\" x=\"{center:.1}\" y=\"{:.1}\">{}</text>",
        escape(&item.title),
        item.colour,
        top + 15.5,
        escape(&item.head),
    );
    let details = item.details.iter().map(|line| ("detail", line));
    let lines = details.chain(item.shape.iter().map(|line| ("detail shape", line)));
    for (index, (class, line)) in lines.enumerate() {
        let y = top + HEAD_HEIGHT + 13.0 + index as f64 * LINE_HEIGHT;
        let line = escape(line);
        write!(
            text,
            "<text class=\"{class}\" x=\"{center:.1}\" y=\"{y:.1}\">{line}</text>"
        )
        .expect("a string takes any text");
    }
    text.push_str("</g>");
    text
}

/// Text as XML takes it: names in a model may be anything.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            char if char.is_control() => out.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}
