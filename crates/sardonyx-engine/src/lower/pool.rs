//! Pooling over channels-last images and its gradients.

use sardonyx_kernels::{AveragePool, AveragePoolGradient, MaxPool, MaxPoolGradient, WindowShape};
use sardonyx_ops::ops::pool_nhwc::Pool2d;

use super::{LowerCx, Lowered, Slot};
use crate::Result;

/// The windows of `pool` over as many images and channels as `like` has.
fn windows(pool: &Pool2d, like: &[usize]) -> WindowShape {
    WindowShape {
        batch: like[0],
        height: pool.input[0],
        width: pool.input[1],
        channels: like[3],
        kernel: pool.kernel,
        stride: pool.strides,
        dilation: pool.dilations,
        pads: pool.pads,
        out: pool.output,
    }
}

pub(super) fn pool(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let x = cx.input(0);
    if cx.dtype(x)? != sardonyx_tensor::DType::F32 {
        return Ok(None);
    }
    let pool = Pool2d::of(cx.node)?;
    let shape = windows(&pool, &cx.shape(x)?);
    let (x, y) = (Slot::Value(x), Slot::Value(cx.output(0)));
    let counts = pool.count_include_pad;
    Ok(Some(match cx.node.op_type.as_str() {
        "MaxPoolNhwc" => {
            let operands = vec![x, y, cx.node.output(1).into()];
            Lowered::call(MaxPool::new(cx.isa, shape, None)?, operands)
        }
        "MaxPoolNhwcGrad" => {
            let operands = vec![x, Slot::Value(cx.input(1)), y];
            Lowered::call(MaxPoolGradient::new(cx.isa, shape, None)?, operands)
        }
        "AveragePoolNhwc" => {
            Lowered::call(AveragePool::new(cx.isa, shape, counts, None)?, vec![x, y])
        }
        _ => {
            let kernel = AveragePoolGradient::new(cx.isa, shape, counts, None)?;
            Lowered::call(kernel, vec![x, y])
        }
    }))
}
