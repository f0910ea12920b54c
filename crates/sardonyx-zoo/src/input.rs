use sardonyx_ir::{Dim, Fact};
use sardonyx_tensor::DType;

/// What a model is fed: a name, an element type and a shape whose first dimension is the batch
/// `N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
}

impl Input {
    /// `f32[N, shape...]`, called `input`.
    pub fn new(shape: &[usize]) -> Input {
        Input {
            name: "input".to_owned(),
            dtype: DType::F32,
            shape: shape.to_vec(),
        }
    }

    /// Images `f32[N, channels, height, width]`.
    pub fn image(channels: usize, height: usize, width: usize) -> Input {
        Input::new(&[channels, height, width])
    }

    /// Rows of a table, `f32[N, features]`.
    pub fn features(features: usize) -> Input {
        Input::new(&[features])
    }

    /// Sequences of vectors, `f32[N, steps, features]`.
    pub fn sequence(steps: usize, features: usize) -> Input {
        Input::new(&[steps, features])
    }

    /// Sequences of token ids, `i64[N, steps]`.
    pub fn tokens(steps: usize) -> Input {
        Input::new(&[steps]).of(DType::I64)
    }

    /// The same with another name.
    pub fn named(mut self, name: &str) -> Input {
        name.clone_into(&mut self.name);
        self
    }

    /// The same with another element type, such as `u8` for the bytes of images.
    pub fn of(mut self, dtype: DType) -> Input {
        self.dtype = dtype;
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn fact(&self) -> Fact {
        let sizes = self.shape.iter().copied().map(Dim::known);
        Fact::new(self.dtype, std::iter::once(Dim::symbol("N")).chain(sizes))
    }
}
