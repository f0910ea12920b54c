//! Where the time goes, by node.

use std::collections::BTreeMap;

use sardonyx_engine::NodeCost;
use serde::Serialize;

/// What a node costs in one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeTime {
    /// Name; of a group of nodes that run as one, that of the last.
    pub name: String,
    /// Operator, with its domain when that is not the standard one.
    pub op: String,
    /// The kernels that ran, in order; `host` for an operator without one.
    pub kernels: Vec<&'static str>,
    /// Time in milliseconds: that of all threads over their number.
    pub ms: f64,
    /// Share of the time of all nodes, 0 to 1.
    pub share: f64,
    /// Floating-point operations.
    pub flops: u64,
    /// Billions of them a second.
    pub gflops: f64,
    /// Bytes of what it reads and writes.
    pub bytes: u64,
}

/// Sums over the calls of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    pub(super) flops: u64,
    pub(super) bytes: u64,
    /// Time of all threads.
    pub(super) seconds: f64,
}

/// Sums over all calls; `None` when there are none.
pub(super) fn totals(costs: &[NodeCost]) -> Option<Totals> {
    let nanoseconds: u64 = costs.iter().map(|cost| cost.nanoseconds).sum();
    (!costs.is_empty()).then(|| Totals {
        flops: costs.iter().map(|cost| cost.flops).sum(),
        bytes: costs.iter().map(|cost| cost.bytes).sum(),
        seconds: nanoseconds as f64 / 1e9,
    })
}

/// The `top` nodes that took the most time of `threads` threads, the costliest first.
pub(super) fn costliest(costs: &[NodeCost], threads: usize, top: usize) -> Vec<NodeTime> {
    let total = totals(costs).map_or(0.0, |totals| totals.seconds);
    let mut by_node: BTreeMap<(&str, &str), NodeTime> = BTreeMap::new();
    for cost in costs {
        let empty = || NodeTime {
            name: cost.node.clone(),
            op: cost.op.clone(),
            kernels: Vec::new(),
            ms: 0.0,
            share: 0.0,
            flops: 0,
            gflops: 0.0,
            bytes: 0,
        };
        let node = by_node.entry((&cost.node, &cost.op)).or_insert_with(empty);
        if node.kernels.last() != Some(&cost.kernel) {
            node.kernels.push(cost.kernel);
        }
        let seconds = cost.nanoseconds as f64 / 1e9;
        node.ms += seconds * 1e3 / threads.max(1) as f64;
        node.share += seconds / total.max(f64::MIN_POSITIVE);
        node.flops += cost.flops;
        node.bytes += cost.bytes;
    }
    let mut nodes: Vec<NodeTime> = by_node.into_values().collect();
    for node in &mut nodes {
        node.gflops = node.flops as f64 / node.ms.max(f64::MIN_POSITIVE) / 1e6;
    }
    nodes.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    nodes.truncate(top);
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_node_are_summed() {
        let cost = |node: &str, kernel, nanoseconds| NodeCost {
            repeats: 1,
            node: node.to_owned(),
            op: "Op".to_owned(),
            kernel,
            nanoseconds,
            flops: 10,
            bytes: 100,
        };
        let costs = [
            cost("a", "x", 2_000_000),
            cost("b", "x", 1_000_000),
            cost("a", "y", 4_000_000),
            cost("c", "x", 1_000_000),
        ];
        let nodes = costliest(&costs, 2, 2);
        assert_eq!(nodes.len(), 2);
        let a = &nodes[0];
        assert_eq!((a.name.as_str(), &a.kernels[..]), ("a", &["x", "y"][..]));
        assert!(
            (a.ms - 3.0).abs() < 1e-9 && (a.share - 0.75).abs() < 1e-9,
            "{a:?}"
        );
        assert_eq!((a.flops, a.bytes), (20, 200));
        assert!(costliest(&[], 2, 2).is_empty());
    }
}
