//! What the arenas of a plan start with: its constants and its state.

use std::sync::{Mutex, PoisonError};

use sardonyx_ir::Graph;
use sardonyx_kernels::{Arena, Pool, Region, Space};
use sardonyx_tensor::{Data, Tensor};

use crate::buffers::{Buffers, Kind};
use crate::host::to_bytes;
use crate::memory::Layout;

/// Most floats that a thread copies at a time: the first touch of memory costs more than the copy,
/// so that threads should share it.
const PIECE_LEN: usize = 128 * 1024;

/// The arenas of constants and of state.
pub(crate) fn fill(
    graph: &Graph,
    buffers: &Buffers,
    layout: &Layout,
    pool: &Pool,
) -> (Arena, Arena) {
    let (mut constants, mut state) = (Vec::new(), Vec::new());
    for (index, buffer) in buffers.roots() {
        let (of_arena, tensor) = match buffer.kind {
            Kind::Constant(id) => (&mut constants, graph.initializers.get(&id)),
            Kind::State(id) => (&mut state, graph.initializers.get(&id)),
            Kind::Made(made) => {
                constants.push((layout.region(index), &buffers.made[made]));
                continue;
            }
            Kind::Work { .. } => continue,
        };
        of_arena.extend(tensor.map(|tensor| (layout.region(index), &**tensor)));
    }
    let lengths = layout.lengths;
    (
        filled(lengths.constants, constants, pool),
        filled(lengths.state, state, pool),
    )
}

/// An arena of `len` bytes with tensors at their places, which are in order and apart.
fn filled(len: usize, tensors: Vec<(Region, &Tensor)>, pool: &Pool) -> Arena {
    let mut arena = Arena::zeroed(len);
    let (space, offset) = (Space::Constants, 0);
    let mut rest = arena.view_mut::<f32>(Region { space, offset, len });
    let mut reached = 0;
    let (mut pieces, mut others) = (Vec::new(), Vec::new());
    for (region, tensor) in tensors {
        let Data::F32(values) = tensor.data() else {
            others.push((region, tensor));
            continue;
        };
        let start = region.offset / size_of::<f32>();
        let (own, behind) = rest[start - reached..].split_at_mut(values.len());
        let chunks = own.chunks_mut(PIECE_LEN).zip(values.chunks(PIECE_LEN));
        pieces.extend(chunks.map(Mutex::new));
        (rest, reached) = (behind, start + values.len());
    }
    pool.each(pieces.len(), &|index| {
        let mut piece = pieces[index].lock().unwrap_or_else(PoisonError::into_inner);
        let (to, from) = &mut *piece;
        to.copy_from_slice(from);
    });
    for (region, tensor) in others {
        write(&mut arena, region, tensor);
    }
    arena
}

/// Writes a tensor to the start of `region`.
pub(crate) fn write(arena: &mut Arena, region: Region, tensor: &Tensor) {
    let len = tensor.size_bytes();
    let region = Region { len, ..region };
    match tensor.data() {
        Data::F32(values) => arena.view_mut::<f32>(region).copy_from_slice(values),
        Data::I64(values) => arena.view_mut::<i64>(region).copy_from_slice(values),
        _ => arena
            .view_mut::<u8>(region)
            .copy_from_slice(&to_bytes(tensor)),
    }
}
