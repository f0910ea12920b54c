//! The global pools: one window over all spatial axes. Their gradients are those of the windowed
//! pools.

use sardonyx_ir::ValueId;
use sardonyx_tensor::Tensor;

use crate::ops::average_pool::{average_pool, average_pool_grad};
use crate::ops::conv::common_float;
use crate::ops::lp_pool::{lp_pool, lp_pool_grad, order};
use crate::ops::max_pool::{max_pool, max_pool_grad};
use crate::pool::{PoolGeometry, infer_pool, pool_flops};
use crate::{EvalCx, Example, GradCx, InferCx, Inferred, Operator, Result, Schema};

/// Operators of this file.
pub static OPS: &[&dyn Operator] = &[&GlobalPool::Average, &GlobalPool::Lp, &GlobalPool::Max];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GlobalPool {
    Average,
    Lp,
    Max,
}

impl Operator for GlobalPool {
    fn schema(&self) -> Schema {
        match self {
            GlobalPool::Average => Schema::standard("GlobalAveragePool", 1, 1),
            GlobalPool::Lp => Schema::standard("GlobalLpPool", 2, 1),
            GlobalPool::Max => Schema::standard("GlobalMaxPool", 1, 1),
        }
    }

    fn infer(&self, cx: &InferCx<'_>) -> Result<Vec<Inferred>> {
        common_float(cx)?;
        if *self == GlobalPool::Lp {
            order(cx.node)?;
        }
        Ok(vec![infer_pool(cx)?.into()])
    }

    fn eval(&self, cx: &EvalCx<'_>) -> Result<Vec<Tensor>> {
        let x = cx.input(0)?;
        Ok(vec![match self {
            GlobalPool::Average => average_pool(cx.node, x)?,
            GlobalPool::Lp => lp_pool(cx.node, x)?,
            GlobalPool::Max => max_pool(&PoolGeometry::read(cx.node, x.shape())?, x)?.0,
        }])
    }

    fn grad(&self, cx: &mut GradCx<'_, '_>) -> Result<Vec<Option<ValueId>>> {
        match self {
            GlobalPool::Average => average_pool_grad(cx),
            GlobalPool::Lp => lp_pool_grad(cx),
            GlobalPool::Max => max_pool_grad(cx),
        }
    }

    fn flops(&self, cx: &InferCx<'_>, _outputs: &[Inferred]) -> Option<u64> {
        pool_flops(cx)
    }

    fn examples(&self) -> Vec<Example> {
        let example = |name: &str, x: &[usize]| Example::new(self.schema(), name).distinct(x);
        vec![
            example("of images", &[2, 3, 4, 5]),
            example("of sequences", &[2, 3, 5]),
            example("of volumes", &[1, 2, 3, 2, 3]),
            example("of no sample", &[0, 3, 2]),
        ]
    }
}
