use std::collections::BTreeMap;

use super::{MAX_DEPTH, MAX_VALUES};
use crate::error::{GraphError, Result};
use crate::{Graph, ValueId};

/// A graph under construction, and what it reads of the graph around it.
#[derive(Debug)]
struct Level {
    graph: Graph,
    /// Value of the graph around by the input that stands for it, and back.
    captured: Vec<(ValueId, ValueId)>,
    inner: BTreeMap<ValueId, ValueId>,
}

/// Names in force: those of a graph or of a function's body.
#[derive(Debug)]
struct Frame {
    names: BTreeMap<String, Option<ValueId>>,
    level: usize,
    /// A function's body does not see the names around its call.
    opaque: bool,
}

/// Graphs within graphs under construction, and the names in force in the innermost one.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    levels: Vec<Level>,
    frames: Vec<Frame>,
}

/// A finished graph with the values around it that stand behind its last inputs.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) graph: Graph,
    pub(super) captured: Vec<ValueId>,
}

impl Scopes {
    /// Begins a graph inside the current one.
    pub(super) fn push_graph(&mut self, graph: Graph) -> Result<()> {
        self.levels.push(Level {
            graph,
            captured: Vec::new(),
            inner: BTreeMap::new(),
        });
        self.push_frame(false, "subgraphs")
    }

    /// Ends the current graph: what it captured becomes its last inputs.
    pub(super) fn pop_graph(&mut self) -> Finished {
        self.frames.pop();
        let mut level = self.levels.pop().expect("a graph was begun");
        let (captured, inner): (Vec<_>, Vec<_>) = level.captured.into_iter().unzip();
        level.graph.captures = inner.len();
        level.graph.inputs.extend(inner);
        Finished {
            graph: level.graph,
            captured,
        }
    }

    /// Begins the body of a function.
    pub(super) fn push_body(&mut self) -> Result<()> {
        self.push_frame(true, "function calls")
    }

    /// Ends the body of a function.
    pub(super) fn pop_body(&mut self) {
        self.frames.pop();
    }

    fn push_frame(&mut self, opaque: bool, what: &'static str) -> Result<()> {
        if self.frames.len() >= MAX_DEPTH {
            let max = MAX_DEPTH;
            return Err(GraphError::TooDeep { what, max });
        }
        self.frames.push(Frame {
            names: BTreeMap::new(),
            level: self.levels.len() - 1,
            opaque,
        });
        Ok(())
    }

    /// The current graph.
    pub(super) fn graph(&mut self) -> &mut Graph {
        let level = self.levels.last_mut();
        &mut level.expect("a graph was begun").graph
    }

    /// A new value of the current graph.
    pub(super) fn add_value(&mut self, name: &str) -> Result<ValueId> {
        if self.graph().value_count() >= MAX_VALUES {
            let (what, max) = ("values", MAX_VALUES);
            return Err(GraphError::TooMany { what, max });
        }
        Ok(self.graph().add_value(name, None))
    }

    /// What `name` stands for where it was defined by the current graph or body itself.
    pub(super) fn own(&self, name: &str) -> Option<Option<ValueId>> {
        self.frames.last()?.names.get(name).copied()
    }

    /// Lets `name` stand for a value of the current graph, or for one that is left out.
    pub(super) fn bind(&mut self, name: &str, value: Option<ValueId>) {
        let frame = self.frames.last_mut().expect("a graph was begun");
        frame.names.insert(name.to_owned(), value);
    }

    /// What `name` stands for in the current graph. A value of a graph around it becomes an input
    /// of the current one, and of those in between.
    pub(super) fn resolve(&mut self, name: &str) -> Result<Option<Option<ValueId>>> {
        let mut found = None;
        for frame in self.frames.iter().rev() {
            if let Some(&value) = frame.names.get(name) {
                found = Some((frame.level, value));
                break;
            }
            if frame.opaque {
                break;
            }
        }
        let Some((level, value)) = found else {
            return Ok(None);
        };
        let Some(mut value) = value else {
            return Ok(Some(None));
        };
        for inside in level + 1..self.levels.len() {
            value = self.capture(inside, value)?;
        }
        Ok(Some(Some(value)))
    }

    /// The input of graph `inside` that stands for value `outer` of the graph around it.
    fn capture(&mut self, inside: usize, outer: ValueId) -> Result<ValueId> {
        if let Some(&inner) = self.levels[inside].inner.get(&outer) {
            return Ok(inner);
        }
        let around = &self.levels[inside - 1].graph;
        let (name, fact) = (
            around.value_name(outer).to_owned(),
            around.fact(outer).cloned(),
        );
        let level = &mut self.levels[inside];
        if level.graph.value_count() >= MAX_VALUES {
            let (what, max) = ("values", MAX_VALUES);
            return Err(GraphError::TooMany { what, max });
        }
        let inner = level.graph.add_value(&name, fact);
        level.captured.push((outer, inner));
        level.inner.insert(outer, inner);
        Ok(inner)
    }
}
