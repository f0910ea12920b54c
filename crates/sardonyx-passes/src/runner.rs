use std::collections::BTreeSet;

use sardonyx_ir::{Graph, Patch, Replacements};

use crate::Result;

/// More rounds than any terminating rewrite needs; passing it is a bug in a pass.
const MAX_ROUNDS: usize = 1000;

/// Runs `pass` once and applies its patches in order. A patch that an earlier one has made
/// impossible is left out. Returns how many were applied.
///
/// # Errors
/// When the pass fails, or its result is not a graph that can be typed.
pub fn apply(graph: &mut Graph, pass: impl Fn(&Graph) -> Result<Vec<Patch>>) -> Result<usize> {
    let mut applied = 0;
    let mut replaced = Replacements::default();
    let patches = pass(graph)?;
    let labels: BTreeSet<String> = match cfg!(debug_assertions) {
        true => patches.iter().map(|patch| patch.label.clone()).collect(),
        false => BTreeSet::new(),
    };
    for patch in patches {
        if patch.is_empty() || !patch.apply_after(graph, &mut replaced) {
            continue;
        }
        applied += 1;
    }
    if applied > 0 {
        replaced.settle(graph);
        debug_assert_eq!(graph.verify(), Ok(()), "after {labels:?}");
        sardonyx_ops::infer(graph)?;
    }
    Ok(applied)
}

/// Runs `pass` until it finds nothing more. Returns how many patches were applied.
///
/// # Errors
/// As [`apply`].
pub fn apply_until_stable(
    graph: &mut Graph,
    pass: impl Fn(&Graph) -> Result<Vec<Patch>>,
) -> Result<usize> {
    let mut total = 0;
    for _ in 0..MAX_ROUNDS {
        match apply(graph, &pass)? {
            0 => return Ok(total),
            applied => total += applied,
        }
    }
    panic!("a pass did not come to rest in {MAX_ROUNDS} rounds");
}
