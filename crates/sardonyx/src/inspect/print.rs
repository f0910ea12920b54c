//! The report for people to read.

use super::{InspectReport, Port};
use crate::text::{Facts, Table, bytes, count, list};

impl InspectReport {
    /// A table of the nodes and what there is to say of the whole; the graph's own text instead,
    /// when that was asked for.
    pub fn to_text(&self) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        let cost = |cost: Option<u64>| cost.map_or("?".to_owned(), count);
        let mut nodes = Table::new(&["node", "output", ">parameters", ">FLOPs", ">bytes", "what"]);
        for node in &self.nodes {
            let name = if node.name.is_empty() {
                &node.op
            } else {
                &node.name
            };
            let shape = node.outputs.first().map_or(String::new(), Port::fact);
            let parameters = if node.parameters == 0 {
                String::new()
            } else {
                count(node.parameters)
            };
            let what = [node.op.as_str(), &node.detail].join(" ");
            nodes.row([
                name,
                &shape,
                &parameters,
                &cost(node.flops),
                &cost(node.bytes),
                &what,
            ]);
        }
        let totals = &self.totals;
        let sizes = list(&self.dims, |(name, size)| format!("{name} = {size}"));
        let sizes = if sizes.is_empty() {
            sizes
        } else {
            format!(" (for {sizes})")
        };
        let port = |port: &Port| format!("{} {}", port.name, port.fact());
        let mut facts = Facts::new();
        facts.row("model", &self.name);
        facts.row("inputs", list(&self.inputs, port));
        facts.row("outputs", list(&self.outputs, port));
        facts.row("nodes", count(totals.nodes as u64));
        let (parameters, size) = (count(totals.parameters), bytes(totals.parameter_bytes));
        facts.row("parameters", format!("{parameters} ({size})"));
        facts.row("FLOPs", format!("{}{sizes}", cost(totals.flops)));
        facts.row(
            "traffic",
            format!("{}{sizes}", totals.bytes.map_or("?".to_owned(), bytes)),
        );
        let opsets = list(&self.opsets, |(domain, version)| {
            format!("{domain} {version}")
        });
        facts.row("operator sets", opsets.trim());
        facts.row("file", self.file_bytes.map_or(String::new(), bytes));
        for (key, value) in &self.metadata {
            facts.row(key, value);
        }
        [nodes.text(), facts.text()].join("\n")
    }
}
