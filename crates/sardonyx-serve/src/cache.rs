//! Answers that were given before: bounded in bytes, the longest unused leaves first.
//!
//! Every loaded version has a [`Scope`] of its own, which no other load shares, whatever its name
//! and number; it is part of each key. So an answer never comes from another version, nor from
//! other weights that were loaded under the same number, and an answer that is computed while its
//! version is unloaded is not kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sardonyx_tensor::{Data, Tensor};
use sha2::{Digest, Sha256};

/// What the bookkeeping of an answer takes, about.
const ENTRY_BYTES: usize = 256;

/// A loaded version, as a cache knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(u64);

/// A question to a loaded version: equal keys have equal answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    scope: Scope,
    hash: [u8; 32],
}

impl Key {
    /// The key of asking the version of `scope` for `outputs` (all when empty) of `inputs`. The
    /// hash, SHA-256, is of names, types, shapes and bytes; who could make two inputs share one
    /// could make certificates too.
    pub fn new<'a>(
        scope: Scope,
        outputs: &[&str],
        inputs: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    ) -> Key {
        let mut hash = Sha256::new();
        number(&mut hash, outputs.len());
        for name in outputs {
            text(&mut hash, name);
        }
        for (name, tensor) in inputs {
            text(&mut hash, name);
            text(&mut hash, tensor.dtype().name());
            number(&mut hash, tensor.rank());
            for &size in tensor.shape() {
                number(&mut hash, size);
            }
            content(&mut hash, tensor.data());
        }
        Key {
            scope,
            hash: hash.finalize().into(),
        }
    }
}

fn number(hash: &mut Sha256, value: usize) {
    hash.update((value as u64).to_le_bytes());
}

/// Text with its length before it, so that no two sequences of texts look alike.
fn text(hash: &mut Sha256, value: &str) {
    number(hash, value.len());
    hash.update(value);
}

pub(crate) fn content(hash: &mut Sha256, data: &Data) {
    match data {
        Data::F32(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::F64(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::F16(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::Bf16(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::I8(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::I16(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::I32(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::I64(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::U8(values) => hash.update(values),
        Data::U16(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::U32(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::U64(values) => numbers(hash, values, |value| value.to_le_bytes()),
        Data::Bool(values) => numbers(hash, values, |value| [u8::from(value)]),
        Data::String(values) => values.iter().for_each(|value| text(hash, value)),
    }
}

fn numbers<T: Copy, const N: usize>(hash: &mut Sha256, values: &[T], bytes: fn(T) -> [u8; N]) {
    // A few at a time: the hash is fast over blocks, and nothing is taken from the heap.
    let mut block = [0; 1024];
    for values in values.chunks(block.len() / N) {
        for (place, &value) in block.chunks_exact_mut(N).zip(values) {
            place.copy_from_slice(&bytes(value));
        }
        hash.update(&block[..values.len() * N]);
    }
}

/// What a cache holds now, and has let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the answers and of what keeps them.
    pub bytes: usize,
    /// Answers.
    pub entries: usize,
    /// Answers that left to make room, ever.
    pub evicted: u64,
}

/// A bounded cache of answers.
#[derive(Debug)]
pub struct Cache {
    capacity_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    /// The keys by when they were last used.
    uses: BTreeMap<u64, Key>,
    /// The versions that are loaded.
    open: BTreeSet<Scope>,
    clock: u64,
    next_scope: u64,
    usage: Usage,
}

#[derive(Debug)]
struct Entry {
    outputs: Arc<[Tensor]>,
    bytes: usize,
    used: u64,
}

impl Cache {
    /// A cache that holds up to `capacity_bytes`; with zero it holds nothing.
    pub fn new(capacity_bytes: usize) -> Cache {
        Cache {
            capacity_bytes,
            state: Mutex::default(),
        }
    }

    /// A scope for a version that loads.
    pub fn open(&self) -> Scope {
        let mut state = self.lock();
        let scope = Scope(state.next_scope);
        state.next_scope += 1;
        state.open.insert(scope);
        scope
    }

    /// Forgets every answer of a version that unloads, and those still to come.
    pub fn close(&self, scope: Scope) {
        let mut state = self.lock();
        state.open.remove(&scope);
        let first = Key {
            scope,
            hash: [0; 32],
        };
        let last = Key {
            scope,
            hash: [255; 32],
        };
        let keys: Vec<Key> = state
            .entries
            .range(first..=last)
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            state.remove(&key);
        }
    }

    /// The answer to `key`, if it is there; it counts as used.
    pub fn get(&self, key: &Key) -> Option<Arc<[Tensor]>> {
        let mut state = self.lock();
        let now = state.tick();
        let entry = state.entries.get_mut(key)?;
        let outputs = Arc::clone(&entry.outputs);
        let before = std::mem::replace(&mut entry.used, now);
        state.uses.remove(&before);
        state.uses.insert(now, *key);
        Some(outputs)
    }

    /// Keeps the answer to `key`, and lets go of as many others as that takes. One that is larger
    /// than the cache, or whose version is gone, is not kept.
    pub fn put(&self, key: Key, outputs: Arc<[Tensor]>) {
        let size: usize = outputs.iter().map(tensor_bytes).sum();
        let bytes = size.saturating_add(ENTRY_BYTES);
        if bytes > self.capacity_bytes {
            return;
        }
        // What leaves is dropped when nobody waits for the lock any more.
        let mut gone = Vec::new();
        let mut state = self.lock();
        if !state.open.contains(&key.scope) {
            return;
        }
        gone.extend(state.remove(&key));
        while state.usage.bytes + bytes > self.capacity_bytes {
            let oldest = state.uses.first_key_value().map(|(_, key)| *key);
            let oldest = oldest.expect("a cache that is not empty has a use");
            gone.extend(state.remove(&oldest));
            state.usage.evicted += 1;
        }
        let used = state.tick();
        state.uses.insert(used, key);
        state.entries.insert(
            key,
            Entry {
                outputs,
                bytes,
                used,
            },
        );
        state.usage.bytes += bytes;
        state.usage.entries += 1;
        drop(state);
    }

    /// What it holds now.
    pub fn usage(&self) -> Usage {
        self.lock().usage
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.uses.remove(&entry.used);
        self.usage.bytes -= entry.bytes;
        self.usage.entries -= 1;
        Some(entry)
    }
}

/// Memory of a tensor, its strings' text included.
fn tensor_bytes(tensor: &Tensor) -> usize {
    let text: usize = match tensor.data() {
        Data::String(values) => values.iter().map(String::len).sum(),
        _ => 0,
    };
    tensor.size_bytes() + size_of_val(tensor.shape()) + size_of::<Tensor>() + text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f32]) -> Tensor {
        Tensor::vector(values.to_vec())
    }

    fn key(scope: Scope, values: &[f32]) -> Key {
        Key::new(scope, &[], [("x", &vector(values))])
    }

    fn answer(value: f32) -> Arc<[Tensor]> {
        Arc::new([vector(&[value])])
    }

    fn entry_bytes() -> usize {
        tensor_bytes(&vector(&[0.0])) + ENTRY_BYTES
    }

    #[test]
    fn a_key_tells_every_part_of_a_question_apart() {
        let cache = Cache::new(1);
        let (one, two) = (cache.open(), cache.open());
        let ab = Tensor::vector(vec!["ab".to_owned(), "c".to_owned()]);
        let a = Tensor::vector(vec!["a".to_owned(), "bc".to_owned()]);
        let flat = Tensor::new([4], vec![1_i32; 4]).expect("matches");
        let square = Tensor::new([2, 2], vec![1_i32; 4]).expect("matches");
        let unsigned = Tensor::new([4], vec![1_u32; 4]).expect("matches");
        let negative_zero = vector(&[-0.0]);
        let zero = vector(&[0.0]);
        let keys = [
            Key::new(one, &[], [("x", &ab)]),
            Key::new(two, &[], [("x", &ab)]),
            Key::new(one, &["x"], [("x", &ab)]),
            Key::new(one, &[], [("y", &ab)]),
            Key::new(one, &[], [("x", &a)]),
            Key::new(one, &[], [("x", &flat)]),
            Key::new(one, &[], [("x", &square)]),
            Key::new(one, &[], [("x", &unsigned)]),
            Key::new(one, &[], [("x", &zero)]),
            Key::new(one, &[], [("x", &negative_zero)]),
            Key::new(one, &[], [("x", &flat), ("y", &flat)]),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        assert_eq!(keys[0], Key::new(one, &[], [("x", &ab)]));
    }

    #[test]
    fn long_inputs_differ_in_their_last_element() {
        let cache = Cache::new(1);
        let scope = cache.open();
        let mut values = vec![1.0; 1025];
        let before = key(scope, &values);
        values[1024] = 2.0;
        assert_ne!(before, key(scope, &values));
    }

    #[test]
    fn the_longest_unused_leaves_first() {
        let cache = Cache::new(2 * entry_bytes());
        let scope = cache.open();
        let keys = [1.0, 2.0, 3.0].map(|value| key(scope, &[value]));
        cache.put(keys[0], answer(1.0));
        cache.put(keys[1], answer(2.0));
        assert!(cache.get(&keys[0]).is_some());
        cache.put(keys[2], answer(3.0));
        assert_eq!(cache.get(&keys[1]), None);
        assert_eq!(cache.get(&keys[0]), Some(answer(1.0)));
        assert_eq!(cache.get(&keys[2]), Some(answer(3.0)));
        let usage = cache.usage();
        assert_eq!((usage.entries, usage.evicted), (2, 1));
        assert_eq!(usage.bytes, 2 * entry_bytes());
    }

    #[test]
    fn an_answer_given_twice_is_kept_once() {
        let cache = Cache::new(10 * entry_bytes());
        let scope = cache.open();
        for _ in 0..5 {
            cache.put(key(scope, &[1.0]), answer(1.0));
        }
        assert_eq!(cache.usage().entries, 1);
        assert_eq!(cache.usage().bytes, entry_bytes());
    }

    #[test]
    fn what_is_larger_than_the_cache_pushes_nothing_out() {
        let cache = Cache::new(entry_bytes());
        let scope = cache.open();
        cache.put(key(scope, &[1.0]), answer(1.0));
        cache.put(key(scope, &[2.0]), Arc::new([vector(&[0.0; 1000])]));
        assert!(cache.get(&key(scope, &[1.0])).is_some());
        assert_eq!(cache.usage().evicted, 0);
    }

    #[test]
    fn a_version_takes_its_answers_with_it() {
        let cache = Cache::new(1 << 20);
        let (gone, stays) = (cache.open(), cache.open());
        for value in 0..10 {
            cache.put(key(gone, &[value as f32]), answer(1.0));
            cache.put(key(stays, &[value as f32]), answer(2.0));
        }
        cache.close(gone);
        cache.put(key(gone, &[99.0]), answer(1.0));
        assert_eq!(cache.usage().entries, 10);
        assert_eq!(cache.get(&key(gone, &[1.0])), None);
        assert_eq!(cache.get(&key(gone, &[99.0])), None);
        assert_eq!(cache.get(&key(stays, &[1.0])), Some(answer(2.0)));
        cache.close(stays);
        assert_eq!(cache.usage(), Usage::default());
    }

    #[test]
    fn threads_never_see_an_answer_of_another_question() {
        let cache = Cache::new(40 * entry_bytes());
        let scopes = [cache.open(), cache.open()];
        std::thread::scope(|threads| {
            for start in 0..4_u64 {
                let cache = &cache;
                threads.spawn(move || {
                    for turn in 0..2000_u64 {
                        let asked = (start + turn * 7) % 61;
                        let version = (asked % 2) as usize;
                        let key = key(scopes[version], &[asked as f32]);
                        match cache.get(&key) {
                            Some(found) => assert_eq!(found, answer(asked as f32)),
                            None => cache.put(key, answer(asked as f32)),
                        }
                    }
                });
            }
        });
        assert!(cache.usage().bytes <= 40 * entry_bytes());
        assert!(cache.usage().evicted > 0);
    }
}
