//! What the arenas of a plan start with: its constants and its state.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sardonyx_ir::{Graph, ValueId};
use sardonyx_kernels::{Arena, Pool, Region, Space};
use sardonyx_passes::Packing;
use sardonyx_tensor::{Data, Tensor};

use crate::Result;
use crate::buffers::{Buffers, Kind};
use crate::host::to_bytes;
use crate::memory::Layout;

/// Most floats that a thread copies at a time: the first touch of memory costs more than the copy,
/// so that threads should share it.
const PIECE_LEN: usize = 128 * 1024;

/// Where the elements of a constant come from.
enum Source<'a> {
    Tensor(&'a Tensor),
    Packing(Packing),
}

/// The arenas of constants and of state.
///
/// # Errors
/// When a weight cannot be packed as its operators say.
pub(crate) fn fill(
    graph: &Graph,
    buffers: &Buffers,
    layout: &Layout,
    later: Vec<Packing>,
    pool: &Pool,
) -> Result<(Arena, Arena)> {
    let by_value = later.into_iter().map(|packing| (packing.packed(), packing));
    let mut later: BTreeMap<ValueId, Packing> = by_value.collect();
    let (mut constants, mut state) = (Vec::new(), Vec::new());
    for (index, buffer) in buffers.roots() {
        if layout.is_shared(index) {
            continue;
        }
        let tensor = |id| graph.initializers.get(&id).map(|t| Source::Tensor(t));
        let (of_arena, source) = match buffer.kind {
            Kind::Constant(id) => {
                let packing = later.remove(&id).map(Source::Packing);
                (&mut constants, packing.or_else(|| tensor(id)))
            }
            Kind::State(id) => (&mut state, tensor(id)),
            Kind::Made(made) => {
                let made = Source::Tensor(&buffers.made[made]);
                (&mut constants, Some(made))
            }
            Kind::Work { .. } => continue,
        };
        of_arena.extend(source.map(|source| (layout.region(index), source)));
    }
    let lengths = layout.lengths;
    let constants = filled(lengths.constants, constants, pool)?;
    Ok((constants, filled(lengths.state, state, pool)?))
}

/// A piece of an arena with what is to be there.
enum Piece<'a> {
    Copy(&'a mut [f32], &'a [f32]),
    Pack(&'a mut [f32], Packing),
}

impl Piece<'_> {
    fn len(&self) -> usize {
        match self {
            Piece::Copy(to, _) | Piece::Pack(to, _) => to.len(),
        }
    }

    fn write(self) -> Result<()> {
        match self {
            Piece::Copy(to, from) => to.copy_from_slice(from),
            Piece::Pack(to, packing) => packing.run_into(to)?,
        }
        Ok(())
    }
}

/// An arena of `len` bytes with constants at their places, which are in order and apart.
fn filled(len: usize, sources: Vec<(Region, Source<'_>)>, pool: &Pool) -> Result<Arena> {
    let mut arena = Arena::zeroed(len);
    let (space, offset) = (Space::Constants, 0);
    let mut rest = arena.view_mut::<f32>(Region { space, offset, len });
    let mut reached = 0;
    let (mut pieces, mut others) = (Vec::new(), Vec::new());
    for (region, source) in sources {
        let floats = match &source {
            Source::Tensor(tensor) => match tensor.data() {
                Data::F32(values) => values.len(),
                _ => {
                    others.push((region, *tensor));
                    continue;
                }
            },
            Source::Packing(_) => region.len / size_of::<f32>(),
        };
        let start = region.offset / size_of::<f32>();
        let (own, behind) = rest[start - reached..].split_at_mut(floats);
        (rest, reached) = (behind, start + floats);
        match source {
            Source::Packing(packing) => pieces.push(Piece::Pack(own, packing)),
            Source::Tensor(tensor) => {
                let values = tensor.values::<f32>()?.chunks(PIECE_LEN);
                let chunks = own.chunks_mut(PIECE_LEN).zip(values);
                pieces.extend(chunks.map(|(to, from)| Piece::Copy(to, from)));
            }
        }
    }
    // The largest first, so that no thread is left with one at the end.
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
    let pieces: Vec<Mutex<Option<Piece<'_>>>> = pieces
        .into_iter()
        .map(|piece| Mutex::new(Some(piece)))
        .collect();
    let problem = Mutex::new(None);
    pool.each(pieces.len(), &|index| {
        let written = locked(&pieces[index]).take().map(Piece::write);
        if let Some(Err(error)) = written {
            locked(&problem).get_or_insert(error);
        }
    });
    drop(pieces);
    if let Some(error) = locked(&problem).take() {
        return Err(error);
    }
    for (region, tensor) in others {
        write(&mut arena, region, tensor);
    }
    Ok(arena)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
