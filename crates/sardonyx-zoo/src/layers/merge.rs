use sardonyx_ir::{Attr, ValueId};

use crate::{Result, Scope, ZooError};

/// How several branches become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    Add,
    Multiply,
    Concat(usize),
}

impl Merge {
    /// Merges `here` with `others`; `None` among them is a place that was never reached.
    pub(crate) fn emit(
        self,
        scope: &mut Scope,
        here: ValueId,
        others: &[Option<ValueId>],
    ) -> Result<ValueId> {
        let (kind, op) = match self {
            Merge::Add => ("add", "Add"),
            Merge::Multiply => ("multiply", "Mul"),
            Merge::Concat(_) => ("concat", "Concat"),
        };
        scope.enter(None, kind)?;
        let foreign = || ZooError::ForeignHandle {
            layer: kind.to_owned(),
        };
        let mut inputs = vec![here];
        for other in others {
            inputs.push(other.ok_or_else(foreign)?);
        }
        if self == Merge::Add {
            check_equal(scope, &inputs)?;
        }
        if let Merge::Concat(axis) = self {
            let inputs: Vec<_> = inputs.into_iter().map(Some).collect();
            return scope.node(("", op), &inputs, &[("axis", Attr::Int(axis as i64))]);
        }
        let mut merged = here;
        for (index, &other) in inputs.iter().enumerate().skip(1) {
            let is_last = index + 1 == inputs.len();
            let suffix = if is_last {
                String::new()
            } else {
                index.to_string()
            };
            merged = scope.node((&suffix, op), &[Some(merged), Some(other)], &[])?;
        }
        Ok(merged)
    }
}

/// ONNX would broadcast; in a skip connection that is a mistake which nothing else would show.
fn check_equal(scope: &Scope, inputs: &[ValueId]) -> Result<()> {
    let first = scope.shape(inputs[0])?;
    for &other in &inputs[1..] {
        if scope.shape(other)? != first {
            let problem = "the branches differ in shape; \
                hint: give the shortcut a convolution of the same stride and filters";
            return Err(scope.problem(inputs, problem));
        }
    }
    Ok(())
}
