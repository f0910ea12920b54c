//! A model by names to text.

use std::collections::BTreeMap;
use std::fmt::Write;

use sardonyx_tensor::Tensor;

use super::PrintOptions;
use super::tensor::{self, quoted};
use super::types::{begins_type, is_float_word, is_identifier, name};
use crate::named::{NamedAttr, NamedGraph, NamedModel, NamedNode, NamedTensor, NamedValue};
use crate::{Attr, Dim, Fact};

/// Format version that is printed for a model that does not say which it has.
const DEFAULT_IR_VERSION: i64 = 10;

struct Printer {
    out: String,
    options: PrintOptions,
    depth: usize,
}

pub(super) fn model(model: &NamedModel, options: PrintOptions) -> String {
    let mut printer = Printer {
        out: String::new(),
        options,
        depth: 0,
    };
    printer.header(model);
    printer.graph(&model.graph);
    printer.out.push('\n');
    printer.out
}

impl Printer {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn header(&mut self, model: &NamedModel) {
        let info = &model.info;
        let ir_version = info.ir_version.unwrap_or(DEFAULT_IR_VERSION);
        let opsets = model.opsets.iter();
        let opsets = opsets.map(|(domain, version)| format!("{} : {version}", quoted(domain)));
        let opsets = opsets.collect::<Vec<_>>().join(", ");
        let mut lines = vec![
            format!("ir_version: {ir_version}"),
            format!("opset_import: [{opsets}]"),
        ];
        if !info.domain.is_empty() {
            lines.push(format!("domain: {}", quoted(&info.domain)));
        }
        if info.version != 0 {
            lines.push(format!("model_version: {}", info.version));
        }
        if !info.doc.is_empty() {
            lines.push(format!("doc_string: {}", quoted(&info.doc)));
        }
        if !model.metadata.is_empty() {
            lines.push(format!("metadata_props: [{}]", pairs(&model.metadata)));
        }
        let header = lines.join(",\n   ");
        self.push(&format!("<\n   {header}\n>\n"));
    }

    fn graph(&mut self, graph: &NamedGraph) {
        self.push(&format!("{} ", bare_or_quoted(&graph.name)));
        self.values(&graph.inputs, graph);
        self.push(" => ");
        self.values(&graph.outputs, graph);
        let is_input = |tensor: &&NamedTensor| graph.inputs.iter().any(|v| v.name == tensor.name);
        let constants = graph.initializers.iter().filter(|tensor| !is_input(tensor));
        let constants: Vec<String> = constants.map(|tensor| self.initializer(tensor)).collect();
        let known = graph.values.iter().filter(|value| value.fact.is_some());
        let known = known.map(value_text);
        let listed: Vec<String> = constants.into_iter().chain(known).collect();
        self.depth += 1;
        if !listed.is_empty() {
            let indent = self.indent();
            self.push(&format!(
                "\n{indent}<{}>",
                listed.join(&format!(",\n{indent} "))
            ));
        }
        let before_brace = if listed.is_empty() { " " } else { "\n" };
        let outer = "   ".repeat(self.depth - 1);
        self.push(before_brace);
        if !listed.is_empty() {
            self.push(&outer);
        }
        self.push("{\n");
        for node in &graph.nodes {
            self.node(node);
        }
        self.depth -= 1;
        self.push(&format!("{outer}}}"));
    }

    fn indent(&self) -> String {
        "   ".repeat(self.depth)
    }

    fn values(&mut self, values: &[NamedValue], graph: &NamedGraph) {
        let mut listed = Vec::with_capacity(values.len());
        for value in values {
            let is_input = std::ptr::eq(values, graph.inputs.as_slice());
            let default = graph
                .initializers
                .iter()
                .find(|tensor| tensor.name == value.name);
            listed.push(match default.filter(|_| is_input) {
                Some(default) => self.initializer(default),
                None => value_text(value),
            });
        }
        self.push(&format!("({})", listed.join(", ")));
    }

    fn initializer(&self, named: &NamedTensor) -> String {
        let mut out = tensor_type(&named.tensor);
        out.push_str(&format!(" {} = ", bare_or_quoted(&named.name)));
        tensor::print(&mut out, &named.tensor, self.options.max_elements);
        out
    }

    fn node(&mut self, node: &NamedNode) {
        let indent = self.indent();
        self.push(&indent);
        if !node.name.is_empty() {
            self.push(&format!("[{}] ", bare_or_quoted(&node.name)));
        }
        self.names(&node.outputs);
        self.push(" = ");
        if !node.domain.is_empty() {
            self.push(&format!("{}.", node.domain));
        }
        self.push(&node.op_type);
        let is_graph = |(_, attr): &(String, NamedAttr)| !matches!(attr, NamedAttr::Plain(_));
        let has_graph = node.attributes.iter().any(is_graph);
        if !has_graph {
            self.attributes(&node.attributes);
        }
        self.push(" (");
        self.names(&node.inputs);
        self.push(")");
        if has_graph {
            self.attributes(&node.attributes);
        }
        self.push("\n");
    }

    fn names(&mut self, names: &[String]) {
        let names: Vec<String> = names.iter().map(|name| bare_or_quoted(name)).collect();
        self.push(&names.join(", "));
    }

    fn attributes(&mut self, attributes: &[(String, NamedAttr)]) {
        for (index, (name, attr)) in attributes.iter().enumerate() {
            self.push(if index == 0 { " <" } else { ", " });
            self.push(&bare_or_quoted(name));
            if let Some(kind) = kind_of_empty(attr) {
                self.push(&format!(": {kind}"));
            }
            self.push(" = ");
            self.attribute(attr);
        }
        if !attributes.is_empty() {
            self.push(">");
        }
    }

    fn attribute(&mut self, attr: &NamedAttr) {
        match attr {
            NamedAttr::Reference(name) => self.push(&format!("@{}", bare_or_quoted(name))),
            NamedAttr::Graph(graph) => self.graph(graph),
            NamedAttr::Graphs(graphs) => {
                for (index, graph) in graphs.iter().enumerate() {
                    self.push(if index == 0 { "[" } else { ", " });
                    self.graph(graph);
                }
                self.push(if graphs.is_empty() { "[]" } else { "]" });
            }
            NamedAttr::Plain(attr) => {
                let text = self.plain(attr);
                self.push(&text);
            }
        }
    }

    fn plain(&self, attr: &Attr) -> String {
        let mut out = String::new();
        let text = |bytes: &Vec<u8>| quoted(&String::from_utf8_lossy(bytes));
        match attr {
            Attr::Int(value) => write!(out, "{value}").expect("a string takes everything"),
            Attr::Float(value) => out.push_str(&tensor::float32(*value)),
            Attr::String(bytes) => out.push_str(&text(bytes)),
            Attr::Tensor(tensor) => out.push_str(&self.tensor(tensor)),
            Attr::Type(fact) => out.push_str(&fact_text(fact)),
            Attr::Ints(values) => bracketed(&mut out, values),
            Attr::Floats(values) => bracketed(&mut out, values.iter().map(|&v| tensor::float32(v))),
            Attr::Strings(values) => bracketed(&mut out, values.iter().map(text)),
            Attr::Tensors(values) => bracketed(&mut out, values.iter().map(|v| self.tensor(v))),
            Attr::Graph(_) | Attr::Graphs(_) => {
                unreachable!("a plain attribute has no subgraph")
            }
        }
        out
    }

    fn tensor(&self, tensor: &Tensor) -> String {
        let mut out = format!("{} ", tensor_type(tensor));
        tensor::print(&mut out, tensor, self.options.max_elements);
        out
    }
}

fn bracketed<T: std::fmt::Display>(out: &mut String, items: impl IntoIterator<Item = T>) {
    out.push('[');
    tensor::list(out, items);
    out.push(']');
}

/// The word for the type of an empty list, which cannot be told from what is in it.
fn kind_of_empty(attr: &NamedAttr) -> Option<&'static str> {
    match attr {
        NamedAttr::Plain(Attr::Ints(values)) if values.is_empty() => Some("ints"),
        NamedAttr::Plain(Attr::Floats(values)) if values.is_empty() => Some("floats"),
        NamedAttr::Plain(Attr::Strings(values)) if values.is_empty() => Some("strings"),
        NamedAttr::Plain(Attr::Tensors(values)) if values.is_empty() => Some("tensors"),
        NamedAttr::Graphs(graphs) if graphs.is_empty() => Some("graphs"),
        _ => None,
    }
}

fn value_text(value: &NamedValue) -> String {
    let name = bare_or_quoted(&value.name);
    match &value.fact {
        Some(fact) => format!("{} {name}", fact_text(fact)),
        None => name,
    }
}

fn fact_text(fact: &Fact) -> String {
    let dtype = name(fact.dtype);
    match &fact.shape {
        None => format!("{dtype}[]"),
        Some(shape) if shape.is_empty() => dtype.to_owned(),
        Some(shape) => {
            let dims: Vec<String> = shape.iter().map(dim_text).collect();
            format!("{dtype}[{}]", dims.join(","))
        }
    }
}

fn dim_text(dim: &Dim) -> String {
    if dim.is_unknown() {
        return "?".to_owned();
    }
    let text = dim.to_string();
    if dim.value().is_some() || is_identifier(&text) {
        text
    } else {
        quoted(&text)
    }
}

fn tensor_type(tensor: &Tensor) -> String {
    fact_text(&Fact::of(tensor))
}

fn bare_or_quoted(name: &str) -> String {
    if is_identifier(name) && !begins_type(name) && !is_float_word(name) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn pairs(metadata: &BTreeMap<String, String>) -> String {
    let pairs = metadata.iter();
    let pairs = pairs.map(|(key, value)| format!("{}: {}", quoted(key), quoted(value)));
    pairs.collect::<Vec<_>>().join(", ")
}
