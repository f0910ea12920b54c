use sardonyx_ir::{Attr, ValueId};

use crate::{Fans, Init, Layer, Result, Scope};

/// A fully connected layer over the last axis. Over `[N, features]` it is a `Gemm` with `weight
/// [units, features]` transposed, as PyTorch writes it; over a sequence `[N, steps, features]` a
/// `MatMul` with `weight [features, units]` and an `Add`, as `Gemm` takes matrices only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dense {
    units: usize,
    has_bias: bool,
    weight: Option<Init>,
    bias: Option<Init>,
}

impl Dense {
    /// This many outputs, with bias.
    pub fn new(units: usize) -> Dense {
        Dense {
            units,
            has_bias: true,
            weight: None,
            bias: None,
        }
    }

    /// Without bias.
    pub fn no_bias(mut self) -> Dense {
        self.has_bias = false;
        self
    }

    /// Initial weights.
    pub fn weight(mut self, init: Init) -> Dense {
        self.weight = Some(init);
        self
    }

    /// Initial biases.
    pub fn bias(mut self, init: Init) -> Dense {
        self.bias = Some(init);
        self
    }

    /// Checks the input and returns its rank and number of features.
    fn check(&self, scope: &Scope, input: ValueId) -> Result<(usize, usize)> {
        let rank = scope.shape(input)?.len();
        let problem = match rank {
            _ if self.units == 0 => "it has no units",
            2 | 3 => return Ok((rank, scope.size(input, rank - 1)?)),
            4 => "it does not take images; hint: put `flatten()` or a global pool before it",
            _ => "it takes [N, features] or [N, steps, features]",
        };
        Err(scope.problem(&[input], problem))
    }
}

impl Layer for Dense {
    fn kind(&self) -> &'static str {
        "dense"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let (rank, features) = self.check(scope, input)?;
        let fans = Fans::new(features, self.units);
        let defaults = scope.defaults();
        let (is_gemm, weight) = (rank == 2, self.weight.unwrap_or(defaults.weight));
        let shape = match is_gemm {
            true => [self.units, features],
            false => [features, self.units],
        };
        let weight = scope.parameter("weight", &shape, (weight, fans))?;
        let bias = match self.has_bias {
            true => {
                let init = (self.bias.unwrap_or(defaults.bias), fans);
                Some(scope.parameter("bias", &[self.units], init)?)
            }
            false => None,
        };
        if is_gemm {
            let mut inputs = vec![Some(input), Some(weight)];
            inputs.extend(bias.map(Some));
            return scope.node(("", "Gemm"), &inputs, &[("transB", Attr::Int(1))]);
        }
        let Some(bias) = bias else {
            return scope.node(("", "MatMul"), &[Some(input), Some(weight)], &[]);
        };
        let product = scope.node(("product", "MatMul"), &[Some(input), Some(weight)], &[])?;
        scope.node(("", "Add"), &[Some(product), Some(bias)], &[])
    }
}
