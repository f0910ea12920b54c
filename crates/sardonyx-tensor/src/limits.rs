//! Limits on what comes from outside. Every reader checks against these before it allocates.

/// Most dimensions that a tensor may have.
pub const MAX_RANK: usize = 32;

/// Most elements that one tensor may have: 2^36, 256 GiB of `f32`. A count above it is refused
/// before anything is allocated; a count below it still has to be backed by real bytes.
pub const MAX_ELEMENTS: usize = 1 << 36;
