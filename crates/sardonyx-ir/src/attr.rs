use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_tensor::Tensor;

use crate::{Fact, Graph};

/// A node's attributes by name.
pub type Attributes = BTreeMap<String, Attr>;

/// Value of a node's attribute: the kinds of ONNX.
#[derive(Debug, Clone, PartialEq)]
pub enum Attr {
    /// One integer.
    Int(i64),
    /// One float.
    Float(f32),
    /// One string; ONNX does not promise UTF-8.
    String(Vec<u8>),
    /// A tensor.
    Tensor(Arc<Tensor>),
    /// A subgraph, such as a branch of `If`.
    Graph(Arc<Graph>),
    /// A type.
    Type(Fact),
    /// Integers.
    Ints(Vec<i64>),
    /// Floats.
    Floats(Vec<f32>),
    /// Strings.
    Strings(Vec<Vec<u8>>),
    /// Tensors.
    Tensors(Vec<Arc<Tensor>>),
    /// Subgraphs.
    Graphs(Vec<Arc<Graph>>),
}

impl From<i64> for Attr {
    fn from(value: i64) -> Attr {
        Attr::Int(value)
    }
}

impl From<f32> for Attr {
    fn from(value: f32) -> Attr {
        Attr::Float(value)
    }
}

impl From<&str> for Attr {
    fn from(value: &str) -> Attr {
        Attr::String(value.as_bytes().to_vec())
    }
}

impl From<Vec<i64>> for Attr {
    fn from(values: Vec<i64>) -> Attr {
        Attr::Ints(values)
    }
}

impl From<&[usize]> for Attr {
    fn from(values: &[usize]) -> Attr {
        Attr::Ints(values.iter().map(|&value| value as i64).collect())
    }
}

impl From<Vec<f32>> for Attr {
    fn from(values: Vec<f32>) -> Attr {
        Attr::Floats(values)
    }
}

impl From<Tensor> for Attr {
    fn from(value: Tensor) -> Attr {
        Attr::Tensor(Arc::new(value))
    }
}
