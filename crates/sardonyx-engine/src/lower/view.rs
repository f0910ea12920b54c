//! Operators that move no element: their output is their input's memory.

use super::{LowerCx, Lowered};
use crate::Result;

pub(super) fn view(cx: &LowerCx<'_>) -> Result<Option<Lowered>> {
    let aliases = vec![(cx.input(0), cx.output(0))];
    Ok(Some(Lowered {
        aliases,
        ..Lowered::default()
    }))
}
