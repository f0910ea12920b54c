use sardonyx_ir::{Attr, ValueId};
use sardonyx_tensor::Tensor;

use super::Dense;
use crate::{Layer, Result, Scope};

/// Multi-head self-attention over `[N, steps, width]` (Vaswani et al., arXiv 1706.03762), written
/// out as matrix products and a softmax. Parameters: `qkv.weight [width, 3 * width]`, `qkv.bias`,
/// `out.weight [width, width]`, `out.bias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfAttention {
    heads: usize,
}

impl SelfAttention {
    /// This many heads, which must divide the width.
    pub fn new(heads: usize) -> SelfAttention {
        SelfAttention { heads }
    }

    /// `[N, steps, width]` to `[N, heads, ...]` with the last two axes in the order of `perm`.
    fn heads_first(
        self,
        scope: &mut Scope,
        (name, input): (&str, ValueId),
        (shape, perm): (ValueId, [usize; 4]),
    ) -> Result<ValueId> {
        let reshape = format!("{name}_heads");
        let split = scope.node((&reshape, "Reshape"), &[Some(input), Some(shape)], &[])?;
        let transpose = format!("{name}_transposed");
        let attributes = [("perm", Attr::from(&perm[..]))];
        scope.node((&transpose, "Transpose"), &[Some(split)], &attributes)
    }

    fn weigh(self, scope: &mut Scope, qkv: [ValueId; 3], head: usize) -> Result<ValueId> {
        let [query, key, value] = qkv;
        let shape = scope.ints("heads_shape", &[0, 0, self.heads as i64, head as i64])?;
        let rows = (shape, [0, 2, 1, 3]);
        let query = self.heads_first(scope, ("query", query), rows)?;
        let key = self.heads_first(scope, ("key", key), (shape, [0, 2, 3, 1]))?;
        let value = self.heads_first(scope, ("value", value), rows)?;
        let scale = scope.constant("scale", Tensor::scalar(1.0 / (head as f32).sqrt()))?;
        let query = scope.node(("scaled", "Mul"), &[Some(query), Some(scale)], &[])?;
        let scores = scope.node(("scores", "MatMul"), &[Some(query), Some(key)], &[])?;
        let last = [("axis", Attr::Int(-1))];
        let weights = scope.node(("weights", "Softmax"), &[Some(scores)], &last)?;
        scope.node(("mixed", "MatMul"), &[Some(weights), Some(value)], &[])
    }
}

impl Layer for SelfAttention {
    fn kind(&self) -> &'static str {
        "attention"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        scope.ranked(input, 3, "[N, steps, width]")?;
        let width = scope.size(input, 2)?;
        if self.heads == 0 || !width.is_multiple_of(self.heads) {
            let problem = format!("{} heads do not divide the width {width}", self.heads);
            return Err(scope.problem(&[input], problem));
        }
        let qkv = scope.nested("qkv", &Dense::new(width.saturating_mul(3)), input)?;
        let sizes = scope.ints("split_sizes", &[width as i64; 3])?;
        let last = [("axis", Attr::Int(-1))];
        let inputs = [Some(qkv), Some(sizes)];
        let parts = scope.nodes(
            ("split", "Split"),
            &inputs,
            &last,
            &["query", "key", "value"],
        )?;
        let parts = <[ValueId; 3]>::try_from(parts).expect("a split in three has three outputs");
        let mixed = self.weigh(scope, parts, width / self.heads)?;
        let perm = [("perm", Attr::from(&[0, 2, 1, 3][..]))];
        let rows = scope.node(("mixed_transposed", "Transpose"), &[Some(mixed)], &perm)?;
        let shape = scope.ints("merged_shape", &[0, 0, width as i64])?;
        let merged = scope.node(("merged", "Reshape"), &[Some(rows), Some(shape)], &[])?;
        scope.nested("out", &Dense::new(width), merged)
    }
}
