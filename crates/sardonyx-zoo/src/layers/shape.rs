use sardonyx_ir::{Attr, Dim, ValueId};

use crate::{Layer, Result, Scope};

/// All dimensions but the batch become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flatten;

impl Layer for Flatten {
    fn kind(&self) -> &'static str {
        "flatten"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        scope.node(("", "Flatten"), &[Some(input)], &[("axis", Attr::Int(1))])
    }
}

/// All dimensions but the batch become these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reshape(pub Vec<usize>);

impl Layer for Reshape {
    fn kind(&self) -> &'static str {
        "reshape"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let shape = scope.shape(input)?;
        let rest = Dim::product(shape.iter().skip(1)).and_then(|dim| dim.value());
        let wanted = self
            .0
            .iter()
            .try_fold(1usize, |n, &size| n.checked_mul(size));
        if self.0.contains(&0) || rest.is_some_and(|rest| Some(rest) != wanted) {
            return Err(scope.problem(&[input], format!("it cannot give {:?}", self.0)));
        }
        // Zero keeps the batch as it is.
        let sizes = self.0.iter().map(|&size| size as i64);
        let shape: Vec<i64> = std::iter::once(0).chain(sizes).collect();
        let shape = scope.ints("shape", &shape)?;
        scope.node(("", "Reshape"), &[Some(input), Some(shape)], &[])
    }
}

/// The axes in another order, the batch's included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transpose(pub Vec<usize>);

impl Layer for Transpose {
    fn kind(&self) -> &'static str {
        "transpose"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let attributes = [("perm", Attr::from(&self.0[..]))];
        scope.node(("", "Transpose"), &[Some(input)], &attributes)
    }
}

/// The mean over an axis, which goes away: over axis 1 the mean of a sequence's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mean(pub usize);

impl Layer for Mean {
    fn kind(&self) -> &'static str {
        "mean"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let axes = scope.ints("axes", &[self.0 as i64])?;
        let attributes = [("keepdims", Attr::Int(0))];
        scope.node(("", "ReduceMean"), &[Some(input), Some(axes)], &attributes)
    }
}
