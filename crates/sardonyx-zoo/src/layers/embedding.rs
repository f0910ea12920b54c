use sardonyx_ir::{Attr, ValueId};

use crate::{Fans, Init, Layer, Result, Scope};

/// A row of `weight [vocabulary, width]` for each token id: `[N, steps]` becomes
/// `[N, steps, width]` by ONNX `Gather`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Embedding {
    vocabulary: usize,
    width: usize,
    weight: Option<Init>,
}

impl Embedding {
    /// Vectors of `width` numbers for ids below `vocabulary`.
    pub fn new(vocabulary: usize, width: usize) -> Embedding {
        Embedding {
            vocabulary,
            width,
            weight: None,
        }
    }

    /// Initial weights.
    pub fn weight(mut self, init: Init) -> Embedding {
        self.weight = Some(init);
        self
    }
}

impl Layer for Embedding {
    fn kind(&self) -> &'static str {
        "embedding"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        if !scope.dtype(input)?.is_integer() {
            let problem = "it takes token ids; hint: give the model `Input::tokens(steps)`";
            return Err(scope.problem(&[input], problem));
        }
        if self.vocabulary == 0 || self.width == 0 {
            let (rows, width) = (self.vocabulary, self.width);
            return Err(scope.problem(&[input], format!("its table is {rows}x{width}")));
        }
        let init = self.weight.unwrap_or(scope.defaults().embedding);
        let fans = Fans::new(self.vocabulary, self.width);
        let weight = scope.parameter("weight", &[self.vocabulary, self.width], (init, fans))?;
        let inputs = [Some(weight), Some(input)];
        scope.node(("", "Gather"), &inputs, &[("axis", Attr::Int(0))])
    }
}

/// Adds a learnt vector to each step of `[N, steps, width]`, so that order matters to attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionalEmbedding {
    /// Initial weights.
    pub weight: Init,
}

impl Default for PositionalEmbedding {
    /// Normal with deviation 0.02, as in BERT and GPT-2.
    fn default() -> PositionalEmbedding {
        PositionalEmbedding {
            weight: Init::Normal(0.02),
        }
    }
}

impl Layer for PositionalEmbedding {
    fn kind(&self) -> &'static str {
        "positional_embedding"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        scope.ranked(input, 3, "[N, steps, width]")?;
        let (steps, width) = (scope.size(input, 1)?, scope.size(input, 2)?);
        let init = (self.weight, Fans::new(steps, width));
        let weight = scope.parameter("weight", &[steps, width], init)?;
        scope.node(("", "Add"), &[Some(input), Some(weight)], &[])
    }
}
