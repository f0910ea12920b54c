//! Constants that plans of one model share: plans for other batch sizes pack most weights alike, so
//! that the first plan's serve the others, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_ir::Graph;
use sardonyx_kernels::{Arena, Region, Space};
use sardonyx_passes::Packing;
use sardonyx_tensor::{Data, Tensor};

use crate::buffers::{Buffers, Kind};
use crate::host::to_bytes;
use crate::memory::Layout;

/// The constants of a plan, for others to find theirs among.
#[derive(Debug)]
pub(crate) struct Store {
    arena: Arc<Arena>,
    packed: Vec<(Packing, Region)>,
    /// What is there as it is, by its length in bytes.
    plain: BTreeMap<usize, Vec<Region>>,
}

impl Store {
    /// What a plan of `graph` with this layout has in `arena`, its constants. `packings` are those
    /// that filled it.
    pub(crate) fn new(
        (graph, buffers, layout): (&Graph, &Buffers, &Layout),
        packings: Vec<Packing>,
        arena: Arc<Arena>,
    ) -> Store {
        let mut store = Store {
            arena,
            packed: Vec::new(),
            plain: BTreeMap::new(),
        };
        let by_value = packings.into_iter().map(|one| (one.packed(), one));
        let mut packings: BTreeMap<_, _> = by_value.collect();
        for (index, buffer) in buffers.roots() {
            let packing = match buffer.kind {
                Kind::Constant(id) if graph.constant(id).is_none() => packings.remove(&id),
                Kind::Constant(_) | Kind::Made(_) => None,
                Kind::State(_) | Kind::Work { .. } => continue,
            };
            let region = Region {
                space: Space::Shared,
                ..layout.region(index)
            };
            match packing {
                Some(packing) => store.packed.push((packing, region)),
                None => store.plain.entry(region.len).or_default().push(region),
            }
        }
        store
    }

    /// The constants themselves.
    pub(crate) fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    /// Where the constants among `buffers` lie that are here, by buffer.
    pub(crate) fn find(
        &self,
        graph: &Graph,
        buffers: &Buffers,
        packings: &[Packing],
    ) -> BTreeMap<usize, Region> {
        let by_value: BTreeMap<_, _> = packings.iter().map(|one| (one.packed(), one)).collect();
        let find = |(index, buffer): (usize, crate::buffers::Buffer)| {
            let region = match buffer.kind {
                Kind::Made(made) => self.plain(&buffers.made[made], buffer.bytes),
                Kind::Constant(id) => match (graph.constant(id), by_value.get(&id)) {
                    (Some(tensor), _) => self.plain(tensor, buffer.bytes),
                    (None, Some(packing)) => self.packed(packing, buffer.bytes),
                    (None, None) => None,
                },
                Kind::State(_) | Kind::Work { .. } => None,
            };
            region.map(|region| (index, region))
        };
        buffers.roots().filter_map(find).collect()
    }

    fn packed(&self, packing: &Packing, bytes: usize) -> Option<Region> {
        let mut found = self.packed.iter().filter(|(_, region)| region.len == bytes);
        let same = found.find(|(other, _)| other.makes_same(packing));
        same.map(|(_, region)| *region)
    }

    fn plain(&self, tensor: &Tensor, bytes: usize) -> Option<Region> {
        let regions = self.plain.get(&bytes)?.iter().copied();
        let mut regions = regions.filter(|_| tensor.size_bytes() == bytes);
        match tensor.data() {
            Data::F32(values) => regions.find(|&region| {
                let there = self.arena.view::<f32>(region).iter();
                there
                    .map(|v| v.to_bits())
                    .eq(values.iter().map(|v| v.to_bits()))
            }),
            _ => {
                let wanted = to_bytes(tensor);
                regions.find(|&region| self.arena.view::<u8>(region) == wanted)
            }
        }
    }
}
