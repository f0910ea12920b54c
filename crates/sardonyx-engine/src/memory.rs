//! Addresses: constants and state one after the other, work by lifetime, but for constants that
//! another plan has already. Work buffers are placed
//! in the order of falling size, each at the lowest gap between those that live at the same time
//! ("greedy by size", Pisarchyk and Lee, arXiv 2001.03288).

use std::collections::BTreeMap;

use sardonyx_kernels::{ArenaLengths, Region, Space};

use crate::buffers::{ALIGN, Buffer, Buffers, Kind};

/// Where every buffer lies.
pub(crate) struct Layout {
    /// By buffer index; `None` for buffers merged into others.
    regions: Vec<Option<Region>>,
    pub(crate) lengths: ArenaLengths,
}

impl Layout {
    /// The region of a buffer that is not merged into another.
    pub(crate) fn region(&self, buffer: usize) -> Region {
        self.regions[buffer].expect("operands are resolved to their buffer")
    }

    /// Whether a buffer lies in what plans share.
    pub(crate) fn is_shared(&self, buffer: usize) -> bool {
        self.regions[buffer].is_some_and(|region| region.space == Space::Shared)
    }

    /// Places every buffer. `shared` says where constants lie that need no place of their own.
    pub(crate) fn new(
        buffers: &Buffers,
        n_calls: usize,
        shared: &BTreeMap<usize, Region>,
    ) -> Layout {
        let mut regions = vec![None; buffers.list.len()];
        let mut lengths = ArenaLengths::default();
        let mut work: Vec<(usize, Buffer)> = Vec::new();
        for (index, buffer) in buffers.roots() {
            if let Some(&region) = shared.get(&index) {
                lengths.shared = lengths.shared.max(region.end());
                regions[index] = Some(region);
                continue;
            }
            let (space, length) = match buffer.kind {
                Kind::Constant(_) | Kind::Made(_) => (Space::Constants, &mut lengths.constants),
                Kind::State(_) => (Space::State, &mut lengths.state),
                Kind::Work { .. } => {
                    work.push((index, buffer));
                    continue;
                }
            };
            regions[index] = Some(Region {
                space,
                offset: *length,
                len: buffer.bytes,
            });
            *length += padded(buffer.bytes);
        }
        work.sort_by_key(|(index, buffer)| (std::cmp::Reverse(buffer.bytes), *index));
        let mut placed: Vec<Placed> = Vec::with_capacity(work.len());
        for (index, buffer) in work {
            let life = match (buffer.kind, buffer.life) {
                (Kind::Work { fixed: true }, _) => (0, n_calls),
                (_, Some(life)) => life,
                // What no call touches takes no room.
                (_, None) => {
                    regions[index] = Some(Region {
                        space: Space::Work,
                        offset: 0,
                        len: 0,
                    });
                    continue;
                }
            };
            let offset = lowest_gap(&placed, life, padded(buffer.bytes));
            let end = offset + padded(buffer.bytes);
            let at = placed.partition_point(|other| other.offset < offset);
            placed.insert(at, Placed { offset, end, life });
            lengths.work = lengths.work.max(end);
            regions[index] = Some(Region {
                space: Space::Work,
                offset,
                len: buffer.bytes,
            });
        }
        Layout { regions, lengths }
    }
}

/// A buffer that has its place; the list is sorted by offset.
struct Placed {
    offset: usize,
    end: usize,
    life: (usize, usize),
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

fn lowest_gap(placed: &[Placed], life: (usize, usize), bytes: usize) -> usize {
    let mut start = 0;
    for other in placed {
        let is_apart = other.life.1 < life.0 || life.1 < other.life.0;
        if is_apart {
            continue;
        }
        if start + bytes <= other.offset {
            return start;
        }
        start = start.max(other.end);
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_found_and_lives_kept_apart() {
        let placed = [
            Placed {
                offset: 0,
                end: 128,
                life: (0, 2),
            },
            Placed {
                offset: 256,
                end: 512,
                life: (1, 5),
            },
            Placed {
                offset: 640,
                end: 704,
                life: (9, 9),
            },
        ];
        assert_eq!(lowest_gap(&placed, (2, 3), 128), 128);
        assert_eq!(lowest_gap(&placed, (2, 3), 192), 512);
        assert_eq!(lowest_gap(&placed, (3, 3), 192), 0);
        assert_eq!(lowest_gap(&placed, (6, 7), 4096), 0);
    }
}
