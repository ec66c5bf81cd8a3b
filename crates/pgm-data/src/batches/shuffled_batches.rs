use std::sync::{Arc, Mutex, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::DataError;

/// Which items each training step sees: every item once an epoch, in an order drawn anew for each epoch.
///
/// The answer depends on the step alone, so that a resumed run needs nothing but its step number. Batches
/// run on from one epoch into the next, and none is smaller than the others.
///
/// ```
/// use pgm_data::ShuffledBatches;
///
/// let batches = ShuffledBatches::new(10, 4, 42)?;
/// assert_eq!(batches.indices(7), ShuffledBatches::new(10, 4, 42)?.indices(7));
/// # Ok::<(), pgm_data::DataError>(())
/// ```
#[derive(Debug)]
pub struct ShuffledBatches {
    n_items: usize,
    batch_size: usize,
    seed: u64,
    /// The last permutations used; two, as a batch can lie in two epochs.
    permutations: Mutex<Vec<(u64, Arc<[usize]>)>>,
}

impl ShuffledBatches {
    /// Batches of `batch_size` out of `n_items` items.
    ///
    /// # Errors
    /// When there are no items or a batch would be empty.
    pub fn new(n_items: usize, batch_size: usize, seed: u64) -> Result<Self, DataError> {
        if n_items == 0 || batch_size == 0 {
            return Err(DataError::EmptyBatches {
                n_items,
                batch_size,
            });
        }
        Ok(Self {
            n_items,
            batch_size,
            seed,
            permutations: Mutex::new(Vec::new()),
        })
    }

    /// Items in an epoch.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Items in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The items of step `step`, counted from 0.
    ///
    /// # Panics
    /// Beyond 2^64 items.
    pub fn indices(&self, step: u64) -> Vec<usize> {
        let n_items = self.n_items as u64;
        let first = step
            .checked_mul(self.batch_size as u64)
            .filter(|first| first.checked_add(self.batch_size as u64).is_some())
            .expect("a run sees fewer than 2^64 items");
        let mut indices = Vec::with_capacity(self.batch_size);
        while indices.len() < self.batch_size {
            let position = first + indices.len() as u64;
            let permutation = self.permutation(position / n_items);
            let rest = &permutation[(position % n_items) as usize..];
            let n_taken = rest.len().min(self.batch_size - indices.len());
            indices.extend_from_slice(&rest[..n_taken]);
        }
        indices
    }

    fn permutation(&self, epoch: u64) -> Arc<[usize]> {
        let mut cached = self
            .permutations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, permutation)) = cached.iter().find(|(number, _)| *number == epoch) {
            return permutation.clone();
        }
        let permutation = permutation(self.n_items, self.seed, epoch);
        if cached.len() == 2 {
            cached.remove(0);
        }
        cached.push((epoch, permutation.clone()));
        permutation
    }
}

/// Fisher and Yates' shuffle, written out so that no library's update changes the order of a run.
fn permutation(n_items: usize, seed: u64, epoch: u64) -> Arc<[usize]> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(key);
    let mut items: Vec<usize> = (0..n_items).collect();
    for last in (1..n_items).rev() {
        // The high half of a 128-bit product is uniform in `0..=last`, but for a bias of at most n_items / 2^64.
        let product = u128::from(random.next_u64()) * (last as u128 + 1);
        items.swap(last, (product >> 64) as usize);
    }
    items.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_order_never_changes() {
        let batches = ShuffledBatches::new(8, 8, 7).unwrap();
        assert_eq!(batches.indices(0), GOLDEN[0]);
        assert_eq!(batches.indices(1), GOLDEN[1]);
        let other = ShuffledBatches::new(8, 8, 8).unwrap();
        assert_ne!(other.indices(0), GOLDEN[0]);
    }

    /// Recorded when this file was written; a change would break resumed runs.
    const GOLDEN: [[usize; 8]; 2] = [[2, 5, 7, 4, 1, 0, 3, 6], [4, 2, 5, 1, 3, 7, 0, 6]];

    #[test]
    fn empty_batches_are_refused() {
        for (n_items, batch_size) in [(0, 1), (1, 0)] {
            let error = ShuffledBatches::new(n_items, batch_size, 0).unwrap_err();
            assert!(matches!(error, DataError::EmptyBatches { .. }));
        }
    }

    proptest! {
        #[test]
        fn every_item_is_seen_once_an_epoch(n_items in 1_usize..40, batch_size in 1_usize..90, seed: u64) {
            let batches = ShuffledBatches::new(n_items, batch_size, seed).unwrap();
            let n_steps = (3 * n_items).div_ceil(batch_size) as u64;
            let seen: Vec<usize> = (0..n_steps).flat_map(|step| batches.indices(step)).collect();
            prop_assert_eq!(seen.len(), n_steps as usize * batch_size);
            for epoch in seen.chunks_exact(n_items) {
                let mut sorted = epoch.to_vec();
                sorted.sort_unstable();
                prop_assert!(sorted.into_iter().eq(0..n_items));
            }
        }

        #[test]
        fn a_step_does_not_depend_on_the_steps_before(n_items in 1_usize..40, batch_size in 1_usize..50, step in 0_u64..1000) {
            let fresh = ShuffledBatches::new(n_items, batch_size, 1).unwrap();
            let used = ShuffledBatches::new(n_items, batch_size, 1).unwrap();
            for earlier in 0..5 {
                used.indices(earlier * 100);
            }
            prop_assert_eq!(fresh.indices(step), used.indices(step));
        }
    }
}
