use sardonyx_ir::{Attr, ValueId};
use sardonyx_tensor::Tensor;

use crate::{Fans, Init, Layer, Result, Scope};

/// Batch normalization over axis 1 (Ioffe and Szegedy, arXiv 1502.03167): parameters `weight` and
/// `bias`, state `running_mean` and `running_var`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNorm {
    weight: Init,
    epsilon: Option<f32>,
    momentum: Option<f32>,
}

impl Default for BatchNorm {
    fn default() -> BatchNorm {
        BatchNorm::new()
    }
}

impl BatchNorm {
    /// Weight one, bias zero, epsilon and momentum of the model's defaults.
    pub const fn new() -> BatchNorm {
        BatchNorm {
            weight: Init::ONES,
            epsilon: None,
            momentum: None,
        }
    }

    /// Initial weights; zeros in the last normalization of a residual branch let the block start
    /// as the identity.
    pub fn weight(mut self, init: Init) -> BatchNorm {
        self.weight = init;
        self
    }

    /// What is added to the variance.
    pub fn epsilon(mut self, epsilon: f32) -> BatchNorm {
        self.epsilon = Some(epsilon);
        self
    }

    /// Share of the old running statistics that a step keeps.
    pub fn momentum(mut self, momentum: f32) -> BatchNorm {
        self.momentum = Some(momentum);
        self
    }
}

impl Layer for BatchNorm {
    fn kind(&self) -> &'static str {
        "batch_norm"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let channels = scope.size(input, 1)?;
        let defaults = scope.defaults();
        let momentum = self.momentum.unwrap_or(defaults.momentum);
        if !(0.0..=1.0).contains(&momentum) {
            let problem = format!("its momentum {momentum} is not between 0 and 1");
            return Err(scope.problem(&[input], problem));
        }
        let fans = Fans::new(1, 1);
        let inputs = [
            Some(input),
            Some(scope.parameter("weight", &[channels], (self.weight, fans))?),
            Some(scope.parameter("bias", &[channels], (Init::ZEROS, fans))?),
            Some(scope.state("running_mean", channels, 0.0)?),
            Some(scope.state("running_var", channels, 1.0)?),
        ];
        let epsilon = self.epsilon.unwrap_or(defaults.epsilon);
        let attributes = [
            ("epsilon", Attr::Float(epsilon)),
            ("momentum", Attr::Float(momentum)),
        ];
        scope.node(("", "BatchNormalization"), &inputs, &attributes)
    }
}

/// Layer normalization over the last axis (Ba, Kiros and Hinton, arXiv 1607.06450): parameters
/// `weight` and `bias`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LayerNorm {
    epsilon: Option<f32>,
}

impl LayerNorm {
    /// Weight one, bias zero, epsilon of the model's defaults.
    pub const fn new() -> LayerNorm {
        LayerNorm { epsilon: None }
    }

    /// What is added to the variance.
    pub fn epsilon(mut self, epsilon: f32) -> LayerNorm {
        self.epsilon = Some(epsilon);
        self
    }
}

impl Layer for LayerNorm {
    fn kind(&self) -> &'static str {
        "layer_norm"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let rank = scope.shape(input)?.len();
        let width = scope.size(input, rank.saturating_sub(1))?;
        let fans = Fans::new(1, 1);
        let inputs = [
            Some(input),
            Some(scope.parameter("weight", &[width], (Init::ONES, fans))?),
            Some(scope.parameter("bias", &[width], (Init::ZEROS, fans))?),
        ];
        let epsilon = self.epsilon.unwrap_or(scope.defaults().layer_epsilon);
        let attributes = [("axis", Attr::Int(-1)), ("epsilon", Attr::Float(epsilon))];
        scope.node(("", "LayerNormalization"), &inputs, &attributes)
    }
}

/// Drops each element with this probability while training (Srivastava et al., JMLR 2014); the
/// others are scaled up, so that nothing happens at inference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout(pub f32);

impl Layer for Dropout {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let rate = self.0;
        if !(0.0..1.0).contains(&rate) {
            let problem = format!("its rate {rate} is not in 0..1; hint: half is 0.5, not 50");
            return Err(scope.problem(&[input], problem));
        }
        let ratio = scope.constant("ratio", Tensor::scalar(rate))?;
        scope.node(("", "Dropout"), &[Some(input), Some(ratio)], &[])
    }
}
