//! The text form of a graph: ONNX's textual syntax (that of `onnx.parser` and `onnx.printer`), for
//! people to read and for tests to write graphs in.
//!
//! ```text
//! <ir_version: 8, opset_import: ["" : 17]>
//! classifier (float[N,128] X) => (float[N,10] C)
//!    <float[10] bias = {0,0,0,0,0,0,0,0,0,0}>
//! {
//!    [scores] S = Softmax <axis = 1> (X)
//!    C = Add (S, bias)
//! }
//! ```
//!
//! What the syntax cannot say is not printed: notes and key-value pairs of nodes and values. Two
//! things are read and printed beyond it: a list of tensors or of subgraphs as an attribute, and a
//! subgraph whose name is not an identifier. `float16` and `bfloat16` elements are written as the
//! integers that have their bits, as ONNX does.

mod cursor;
mod function;
mod parse;
mod print;
mod tensor;
mod types;

use crate::named::{assemble, disassemble};
use crate::{Graph, GraphError};

/// Why a text is not a graph.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TextError {
    /// The text breaks the syntax.
    #[error("line {line}, column {column}: {problem}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The text is well written but not a graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// How a graph is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrintOptions {
    /// Tensors of more elements are printed as `{...}`, which cannot be read back.
    pub max_elements: usize,
}

impl PrintOptions {
    /// Every tensor in full.
    pub const FULL: PrintOptions = PrintOptions {
        max_elements: usize::MAX,
    };
}

impl Default for PrintOptions {
    fn default() -> PrintOptions {
        PrintOptions { max_elements: 64 }
    }
}

/// The text of a graph, its nodes in topological order.
///
/// # Errors
/// As [`disassemble`].
pub fn print(graph: &Graph, options: PrintOptions) -> crate::Result<String> {
    Ok(print::model(&disassemble(graph)?, options))
}

/// The graph that a text describes.
///
/// # Errors
/// [`TextError`], with the place of the first mistake.
pub fn parse(text: &str) -> Result<Graph, TextError> {
    Ok(assemble(&parse::model(text)?)?)
}

#[cfg(test)]
mod tests;
