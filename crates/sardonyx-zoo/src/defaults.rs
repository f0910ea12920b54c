use crate::Init;

/// Settings of layers that do not say otherwise, which differ between frameworks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// Weights of convolutions and dense layers.
    pub weight: Init,
    /// Their biases.
    pub bias: Init,
    /// Weights of embeddings.
    pub embedding: Init,
    /// What normalizations add to the variance.
    pub epsilon: f32,
    /// Epsilon of layer normalization.
    pub layer_epsilon: f32,
    /// Share of the old running statistics that batch normalization keeps at a step, as in ONNX
    /// and Keras (PyTorch's `momentum` is one minus this).
    pub momentum: f32,
}

impl Defaults {
    /// PyTorch's: `kaiming_uniform_(a=sqrt(5))`, epsilon 1e-5, momentum 0.9.
    pub const PYTORCH: Defaults = Defaults {
        weight: Init::PYTORCH,
        bias: Init::PYTORCH,
        embedding: Init::Normal(1.0),
        epsilon: 1e-5,
        layer_epsilon: 1e-5,
        momentum: 0.9,
    };
    /// Keras's: Glorot uniform, zero bias, epsilon 1e-3, momentum 0.99.
    pub const KERAS: Defaults = Defaults {
        weight: Init::GLOROT_UNIFORM,
        bias: Init::ZEROS,
        embedding: Init::Uniform(0.05),
        epsilon: 1e-3,
        layer_epsilon: 1e-3,
        momentum: 0.99,
    };
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults::PYTORCH
    }
}
