//! The answers that are kept for one loaded version.

use std::sync::Arc;

use sardonyx_tensor::Tensor;

use super::Servable;
use crate::cache::{Cache, Key, Scope};

/// A version's part of the cache; gone with it.
pub(crate) struct Cached {
    cache: Arc<Cache>,
    scope: Scope,
}

impl Cached {
    pub(super) fn new(cache: Arc<Cache>) -> Cached {
        let scope = cache.open();
        Cached { cache, scope }
    }

    pub(crate) fn key(&self, servable: &Servable, inputs: &[Tensor]) -> Key {
        let specs = servable.signature().inputs.iter();
        let named = specs.map(|spec| spec.name.as_str()).zip(inputs);
        Key::new(self.scope, &[], named)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Vec<Tensor>> {
        self.cache.get(key).map(|outputs| outputs.to_vec())
    }

    pub(crate) fn put(&self, key: Key, outputs: &[Tensor]) {
        self.cache.put(key, outputs.to_vec().into());
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        self.cache.close(self.scope);
    }
}
