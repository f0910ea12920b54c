//! The order of calls: updates of state as early as nothing reads the old state any more, and
//! calls that are independent of each other in one stage, so that only a barrier between stages
//! is needed.

use std::collections::BTreeMap;

use sardonyx_ir::{Graph, Node, ValueId};
use sardonyx_kernels::{Call, Chain, Region, Stage};

use crate::lower::{Lowered, Slot};

/// Whether `node` changes state in place: its operator's name says so.
fn is_update(node: &Node) -> bool {
    node.domain == sardonyx_ir::SARDONYX && node.op_type.ends_with("Update")
}

/// Values that share memory: each belongs to the set of another, or is one of its own.
#[derive(Default)]
struct Shared(BTreeMap<ValueId, ValueId>);

impl Shared {
    fn root(&self, mut value: ValueId) -> ValueId {
        while let Some(&other) = self.0.get(&value) {
            value = other;
        }
        value
    }

    fn join(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.0.insert(b, a);
        }
    }
}

/// Moves updates of state, which stand anywhere behind what they need, right behind the last node
/// that makes what they read or touches what they change. `lowered` are nodes by index, in a
/// topological order.
pub(crate) fn place_updates(
    graph: &Graph,
    lowered: Vec<(usize, Lowered)>,
) -> Vec<(usize, Lowered)> {
    let is_update: Vec<bool> = {
        let mut flags = vec![false; graph.node_slots()];
        graph
            .nodes()
            .for_each(|(id, node)| flags[id.index()] = is_update(node));
        flags
    };
    let (updates, others): (Vec<_>, Vec<_>) =
        lowered.into_iter().partition(|(node, _)| is_update[*node]);
    let mut shared = Shared::default();
    for (_, node) in &others {
        for &(input, output) in &node.aliases {
            shared.join(input, output);
        }
    }
    let mut last_touch: BTreeMap<ValueId, usize> = BTreeMap::new();
    for (index, (_, node)) in others.iter().enumerate() {
        for slot in node.calls.iter().flat_map(|call| &call.operands) {
            if let Slot::Value(value) = *slot {
                last_touch.insert(shared.root(value), index);
            }
        }
    }
    let mut behind: Vec<Vec<(usize, Lowered)>> = Vec::new();
    behind.resize_with(others.len() + 1, Vec::new);
    for (node, update) in updates {
        let operands = update.calls.iter().flat_map(|call| &call.operands);
        let touched = operands.filter_map(|slot| match *slot {
            Slot::Value(value) => last_touch.get(&shared.root(value)),
            _ => None,
        });
        let place = touched.max().map_or(0, |last| last + 1);
        behind[place].push((node, update));
    }
    let mut order = Vec::new();
    for (index, node) in others.into_iter().enumerate() {
        order.append(&mut behind[index]);
        order.push(node);
    }
    order.extend(behind.pop().into_iter().flatten());
    order
}

/// Most calls of one stage: beyond it the search for conflicts costs more than a barrier.
const MAX_STAGE_CALLS: usize = 64;

/// How many stages a call may be brought forward: what it makes should still be in cache when it
/// is read.
const MAX_FORWARD: usize = 4;

/// What the calls of a stage touch, and whether they write it.
type Touched = Vec<(Region, bool)>;

/// Groups calls into stages, and says which call (by its place in `calls`) comes where.
pub(crate) fn stages(calls: Vec<Call>) -> (Vec<Stage>, Vec<usize>) {
    let mut stages: Vec<(Vec<usize>, Touched)> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        let own = regions(call);
        let clashes = |touched: &Touched| {
            own.iter().any(|&(region, writes)| {
                let clash = |&(other, written): &(Region, bool)| {
                    (writes || written) && region.overlaps(other)
                };
                touched.iter().any(clash)
            })
        };
        let lowest = stages.len().saturating_sub(MAX_FORWARD);
        let mut at = stages.len();
        let mut place = None;
        while at > lowest && !clashes(&stages[at - 1].1) {
            at -= 1;
            if stages[at].0.len() < MAX_STAGE_CALLS {
                place = Some(at);
            }
        }
        let place = place.unwrap_or_else(|| {
            stages.push((Vec::new(), Vec::new()));
            stages.len() - 1
        });
        stages[place].0.push(index);
        stages[place].1.extend(own);
    }
    let order: Vec<usize> = stages.iter().flat_map(|(calls, _)| calls.clone()).collect();
    let mut calls: Vec<Option<Call>> = calls.into_iter().map(Some).collect();
    let mut take = |index: usize| Chain {
        calls: vec![calls[index].take().expect("a call is in one stage")],
    };
    let stages = stages.into_iter().map(|(indices, _)| Stage {
        chains: indices.into_iter().map(&mut take).collect(),
    });
    (stages.collect(), order)
}

fn regions(call: &Call) -> Touched {
    let specs = call.kernel.operands();
    let operands = call.operands.iter().zip(&specs);
    operands
        .filter_map(|(region, spec)| Some(((*region)?, spec.access.writes())))
        .collect()
}
