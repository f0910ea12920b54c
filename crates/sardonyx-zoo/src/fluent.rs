//! The short methods of [`Model`], one for each layer in common use. A layer with more settings
//! goes through [`Model::layer`].

use crate::Model;
use crate::layers::{
    Activation, BatchNorm, Conv2d, Dense, Dropout, Embedding, Flatten, GlobalAvgPool, LayerNorm,
    Mean, Normalize, Pool2d, PositionalEmbedding, Recurrent, RecurrentKind, Rescale, Reshape, Size,
};

impl Model {
    /// `(x - mean) / std` by channel, as nodes of the model: see [`Normalize`].
    pub fn normalize(self, mean: &[f32], std: &[f32]) -> Model {
        self.layer(Normalize {
            mean: mean.to_vec(),
            std: std.to_vec(),
        })
    }

    /// `x * scale + offset`, as nodes of the model: see [`Rescale`].
    pub fn rescale(self, scale: f32, offset: f32) -> Model {
        self.layer(Rescale { scale, offset })
    }

    /// Convolution without padding: see [`Conv2d`] for all settings.
    pub fn conv2d(self, filters: usize, kernel: impl Into<Size>) -> Model {
        self.layer(Conv2d::new(filters, kernel))
    }

    /// Convolution of each channel by itself, without padding: see [`Conv2d::depthwise`].
    pub fn depthwise_conv2d(self, kernel: impl Into<Size>) -> Model {
        self.layer(Conv2d::depthwise(kernel))
    }

    /// Fully connected layer.
    pub fn dense(self, units: usize) -> Model {
        self.layer(Dense::new(units))
    }

    /// Largest elements of windows that do not overlap: see [`Pool2d`] for all settings.
    pub fn max_pool2d(self, kernel: impl Into<Size>) -> Model {
        self.layer(Pool2d::max(kernel))
    }

    /// Means of windows that do not overlap: see [`Pool2d`] for all settings.
    pub fn avg_pool2d(self, kernel: impl Into<Size>) -> Model {
        self.layer(Pool2d::average(kernel))
    }

    /// The mean of each channel, `[N, channels]`.
    pub fn global_avg_pool(self) -> Model {
        self.layer(GlobalAvgPool)
    }

    /// All dimensions but the batch become one.
    pub fn flatten(self) -> Model {
        self.layer(Flatten)
    }

    /// All dimensions but the batch become these.
    pub fn reshape(self, shape: &[usize]) -> Model {
        self.layer(Reshape(shape.to_vec()))
    }

    /// The mean over an axis, which goes away.
    pub fn mean(self, axis: usize) -> Model {
        self.layer(Mean(axis))
    }

    /// Batch normalization over axis 1.
    pub fn batch_norm(self) -> Model {
        self.layer(BatchNorm::new())
    }

    /// Layer normalization over the last axis.
    pub fn layer_norm(self) -> Model {
        self.layer(LayerNorm::new())
    }

    /// Drops elements with this probability while training.
    pub fn dropout(self, rate: f32) -> Model {
        self.layer(Dropout(rate))
    }

    /// A learnt vector for each token id.
    pub fn embedding(self, vocabulary: usize, width: usize) -> Model {
        self.layer(Embedding::new(vocabulary, width))
    }

    /// Adds a learnt vector to each step of a sequence.
    pub fn positional_embedding(self) -> Model {
        self.layer(PositionalEmbedding::default())
    }

    /// Elman's recurrent layer; gives its last state `[N, hidden]`.
    pub fn rnn(self, hidden: usize) -> Model {
        self.layer(Recurrent::new(RecurrentKind::Rnn, hidden))
    }

    /// Gated recurrent units; gives their last state `[N, hidden]`.
    pub fn gru(self, hidden: usize) -> Model {
        self.layer(Recurrent::new(RecurrentKind::Gru, hidden))
    }

    /// Long short-term memory; gives its last state `[N, hidden]`.
    pub fn lstm(self, hidden: usize) -> Model {
        self.layer(Recurrent::new(RecurrentKind::Lstm, hidden))
    }

    /// `max(x, 0)`.
    pub fn relu(self) -> Model {
        self.layer(Activation::Relu)
    }

    /// `x` above zero, `slope * x` below.
    pub fn leaky_relu(self, slope: f32) -> Model {
        self.layer(Activation::LeakyRelu(slope))
    }

    /// `min(max(x, 0), 6)`.
    pub fn relu6(self) -> Model {
        self.layer(Activation::Relu6)
    }

    /// `x * max(0, min(1, x / 6 + 1 / 2))`.
    pub fn hard_swish(self) -> Model {
        self.layer(Activation::HardSwish)
    }

    /// `x` times the normal distribution function at `x`.
    pub fn gelu(self) -> Model {
        self.layer(Activation::Gelu)
    }

    /// `1 / (1 + exp(-x))`.
    pub fn sigmoid(self) -> Model {
        self.layer(Activation::Sigmoid)
    }

    /// Hyperbolic tangent.
    pub fn tanh(self) -> Model {
        self.layer(Activation::Tanh)
    }

    /// Probabilities along the last axis.
    pub fn softmax(self) -> Model {
        self.layer(Activation::Softmax)
    }
}
