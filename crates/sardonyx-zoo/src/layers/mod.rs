//! The layers. Each is a plain struct of its settings, built by `new` and methods, and knows how
//! to emit itself; [`Model`](crate::Model) has a short method for the common ones.

mod activation;
mod attention;
mod conv;
mod dense;
mod embedding;
mod merge;
mod norm;
mod pool;
mod preprocess;
mod recurrent;
mod shape;
mod window;

use sardonyx_ir::ValueId;

use crate::{Result, Scope};

pub use activation::Activation;
pub use attention::SelfAttention;
pub use conv::Conv2d;
pub use dense::Dense;
pub use embedding::{Embedding, PositionalEmbedding};
pub(crate) use merge::Merge;
pub use norm::{BatchNorm, Dropout, LayerNorm};
pub use pool::{GlobalAvgPool, Pool2d};
pub use preprocess::{Normalize, Rescale};
pub use recurrent::{Recurrent, RecurrentKind};
pub use shape::{Flatten, Mean, Reshape, Transpose};
pub use window::{Padding, Size};

/// A layer: its settings, and how it becomes nodes.
pub trait Layer {
    /// What names chosen for it start with, such as `conv2d`.
    fn kind(&self) -> &'static str;

    /// Emits nodes and parameters that compute the layer on `input`, and returns its output.
    ///
    /// # Errors
    /// When the layer does not fit its input, or its settings contradict each other.
    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId>;
}
