//! Activations that plan operators apply to their result while it is in registers, and their
//! derivative read off the result (`Gate`), so that the input of the activation is never kept.

use sardonyx_ir::{Attr, Node, ValueId};
use sardonyx_tensor::Tensor;

use crate::{
    Builder, EvalCx, Example, GradCx, InferCx, Inferred, OpError, Operator, Result, Schema,
    element_flops,
};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&Gate];

/// An activation in a plan operator's epilogue.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// None.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, low), high)`.
    Clip {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
    /// `x` or, below zero, `slope * x`.
    LeakyRelu {
        /// Factor below zero.
        slope: f32,
    },
    /// `min(max(slope * x + offset, 0), 1)`.
    HardSigmoid {
        /// Factor.
        slope: f32,
        /// Summand.
        offset: f32,
    },
    /// `x * min(max(x / 6 + 1/2, 0), 1)`.
    HardSwish,
}

impl Activation {
    /// The activation that a plan operator's attributes `activation`, `alpha` and `beta` name.
    ///
    /// # Errors
    /// When they name none.
    pub fn of(node: &Node) -> Result<Activation> {
        Activation::named(node, ["activation", "alpha", "beta"])
    }

    /// The activation whose gate a plan operator applies to its result, a gradient: attributes
    /// `gate`, `gate_alpha`, `gate_beta`.
    ///
    /// # Errors
    /// When they name none, or one whose derivative cannot be read off its value.
    pub fn gate_of(node: &Node) -> Result<Activation> {
        let gate = Activation::named(node, ["gate", "gate_alpha", "gate_beta"])?;
        if gate.is_gate() {
            return Ok(gate);
        }
        Err(OpError::invalid(
            node,
            "its gate's derivative cannot be read off its value",
        ))
    }

    fn named(node: &Node, [name, alpha, beta]: [&str; 3]) -> Result<Activation> {
        let (alpha, beta) = (node.float(alpha, 0.0)?, node.float(beta, 0.0)?);
        Ok(match node.text(name, "")? {
            "" => Activation::None,
            "Relu" => Activation::Relu,
            "Clip" => Activation::Clip {
                low: alpha,
                high: beta,
            },
            "LeakyRelu" => Activation::LeakyRelu { slope: alpha },
            "HardSigmoid" => Activation::HardSigmoid {
                slope: alpha,
                offset: beta,
            },
            "HardSwish" => Activation::HardSwish,
            other => {
                let problem = format!("activation `{other}` is not one of a plan operator");
                return Err(OpError::invalid(node, problem));
            }
        })
    }

    /// The activation that standard node `node` computes, if it is one of these. `bounds` gives
    /// the constant bounds of a `Clip`.
    ///
    /// # Errors
    /// When an attribute has the wrong type.
    pub fn of_standard(
        node: &Node,
        bounds: impl Fn() -> Option<(f32, f32)>,
    ) -> Result<Option<Activation>> {
        if node.domain != sardonyx_ir::ONNX {
            return Ok(None);
        }
        Ok(Some(match node.op_type.as_str() {
            "Relu" => Activation::Relu,
            "Clip" => match bounds() {
                Some((low, high)) => Activation::Clip { low, high },
                None => return Ok(None),
            },
            "LeakyRelu" => Activation::LeakyRelu {
                slope: node.float("alpha", 0.01)?,
            },
            "HardSigmoid" => Activation::HardSigmoid {
                slope: node.float("alpha", 0.2)?,
                offset: node.float("beta", 0.5)?,
            },
            "HardSwish" => Activation::HardSwish,
            _ => return Ok(None),
        }))
    }

    /// The attributes that name it.
    pub fn attributes(self) -> Vec<(&'static str, Attr)> {
        let named = |name: &str, alpha, beta| {
            let alpha = ("alpha", Attr::Float(alpha));
            vec![
                ("activation", Attr::from(name)),
                alpha,
                ("beta", Attr::Float(beta)),
            ]
        };
        match self {
            Activation::None => Vec::new(),
            Activation::Relu => vec![("activation", Attr::from("Relu"))],
            Activation::Clip { low, high } => named("Clip", low, high),
            Activation::LeakyRelu { slope } => named("LeakyRelu", slope, 0.0),
            Activation::HardSigmoid { slope, offset } => named("HardSigmoid", slope, offset),
            Activation::HardSwish => vec![("activation", Attr::from("HardSwish"))],
        }
    }

    /// The attributes that [`Activation::gate_of`] reads.
    pub fn gate_attributes(self) -> Vec<(&'static str, Attr)> {
        let renamed = |name| match name {
            "activation" => "gate",
            "alpha" => "gate_alpha",
            _ => "gate_beta",
        };
        let attributes = self.attributes().into_iter();
        attributes
            .map(|(name, value)| (renamed(name), value))
            .collect()
    }

    /// Its value.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Activation::None => x,
            Activation::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Activation::Clip { low, high } if x < f64::from(low.min(high)) => f64::from(low),
            Activation::Clip { high, .. } if x > f64::from(high) => f64::from(high),
            Activation::Clip { .. } => x,
            Activation::LeakyRelu { slope } => {
                if x < 0.0 {
                    f64::from(slope) * x
                } else {
                    x
                }
            }
            Activation::HardSigmoid { slope, offset } => {
                (f64::from(slope) * x + f64::from(offset)).clamp(0.0, 1.0)
            }
            Activation::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        }
    }

    /// Its derivative as a function of its own value `y`, where there is one.
    pub fn derivative_at_output(self, y: f64) -> Option<f64> {
        let open = |is_open: bool| Some(f64::from(u8::from(is_open)));
        match self {
            Activation::None => Some(1.0),
            Activation::Relu => open(y > 0.0),
            Activation::Clip { low, high } => open(y > f64::from(low) && y < f64::from(high)),
            Activation::LeakyRelu { slope } if slope > 0.0 => {
                Some(if y > 0.0 { 1.0 } else { f64::from(slope) })
            }
            _ => None,
        }
    }

    /// Whether the derivative can be read off the value: then it may be fused while training.
    pub fn is_gate(self) -> bool {
        self.derivative_at_output(0.0).is_some()
    }
}

/// Emits the gradient before an activation from `dy`, the one behind it, and `y`, its value.
///
/// # Errors
/// When the derivative cannot be read off the value.
pub fn emit_gate(
    builder: &mut Builder<'_>,
    activation: Activation,
    [y, dy]: [ValueId; 2],
) -> Result<ValueId> {
    if activation == Activation::None {
        return Ok(dy);
    }
    builder.own("Gate", &[y, dy], &activation.attributes())
}

/// Adds a residual and applies a gate to a gradient, as the input gradients of layers can: `slots`
/// are their optional inputs, and attributes name the gate's activation.
///
/// # Errors
/// When an input has another number of elements.
pub(crate) fn finish_gradient(cx: &EvalCx<'_>, slots: [usize; 2], dx: &mut [f64]) -> Result<()> {
    let input = |slot: usize| -> Result<Option<Vec<f64>>> {
        let Some(tensor) = cx.optional(slot) else {
            return Ok(None);
        };
        if tensor.len() != dx.len() {
            return Err(cx.invalid(format!("input {slot} has another size than its result")));
        }
        Ok(Some(tensor.to_f64()?))
    };
    let (residual, gate) = (input(slots[0])?, input(slots[1])?);
    for (dx, residual) in dx.iter_mut().zip(residual.into_iter().flatten()) {
        *dx += residual;
    }
    let activation = Activation::gate_of(cx.node)?;
    for (dx, y) in dx.iter_mut().zip(gate.into_iter().flatten()) {
        *dx *= activation.derivative_at_output(y).unwrap_or(f64::NAN);
    }
    Ok(())
}

/// `dy` where the activation was open, by its value `y`.
#[derive(Debug)]
struct Gate;

const SCHEMA: Schema = Schema::own("Gate", 2);

impl Operator for Gate {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        if !Activation::of(cx.node)?.is_gate() {
            return Err(cx.invalid("its derivative cannot be read off its value"));
        }
        Ok(vec![cx.input(1)?.fact.clone().into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let activation = Activation::of(cx.node)?;
        let (y, dy) = (cx.input(0)?.to_f64()?, cx.input(1)?);
        let pairs = y.into_iter().zip(dy.to_f64()?);
        let values = pairs.map(|(y, dy)| Some(activation.derivative_at_output(y)? * dy));
        let values = values.collect::<Option<_>>();
        let values = values.ok_or_else(|| cx.invalid("its derivative needs its input"))?;
        Ok(vec![Tensor::from_f64(dy.dtype(), dy.shape(), values)?])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        Err(cx.not_differentiable("it is part of a gradient itself"))
    }

    fn flops(&self, _cx: &InferCx<'_>, outputs: &[Inferred]) -> Option<u64> {
        element_flops(outputs, 1)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str| {
            let example = Example::new(SCHEMA, name).attr("activation", name);
            let example = example
                .uniform(&[3, 3], (-1.0, 1.0))
                .uniform(&[3, 3], (-1.0, 1.0));
            example.no_grad("it is part of a gradient itself")
        };
        vec![
            example("Relu"),
            example("Clip").attr("alpha", 0.0f32).attr("beta", 0.5f32),
            example("LeakyRelu").attr("alpha", 0.1f32),
        ]
    }
}
