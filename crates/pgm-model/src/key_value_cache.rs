use burn::tensor::Tensor;

/// Keys and values of the tokens a [`CausalDit`](crate::CausalDit) has read, so that each is processed once.
///
/// Holds `2 n_blocks` tensors of `batch x seq x d_model` numbers. The default is empty.
#[derive(Debug, Clone, Default)]
pub struct KeyValueCache {
    blocks: Vec<KeyValue>,
}

/// Rotated keys and values of one block, `[batch, heads, seq, head_dim]` each.
#[derive(Debug, Clone)]
pub(crate) struct KeyValue {
    pub key: Tensor<4>,
    pub value: Tensor<4>,
}

impl KeyValueCache {
    /// Tokens read so far.
    pub fn seq_len(&self) -> usize {
        self.blocks.first().map_or(0, |block| block.key.dims()[2])
    }

    /// What one block reads and extends; blocks come in their order.
    pub fn block(&mut self, block: usize) -> BlockCache<'_> {
        BlockCache { cache: self, block }
    }
}

/// The part of a [`KeyValueCache`] that belongs to one block.
#[derive(Debug)]
pub struct BlockCache<'a> {
    cache: &'a mut KeyValueCache,
    block: usize,
}

impl BlockCache<'_> {
    /// Appends what the block computed for new tokens, and returns what it has of all.
    ///
    /// # Panics
    /// Panics if the batch is another one than before.
    pub(crate) fn extend(self, new: KeyValue) -> KeyValue {
        let blocks = &mut self.cache.blocks;
        match blocks.get_mut(self.block) {
            Some(old) => {
                let (found, wanted) = (new.key.dims()[0], old.key.dims()[0]);
                assert_eq!(found, wanted, "the cache is of {wanted} sequences");
                old.key = Tensor::cat(vec![old.key.clone(), new.key], 2);
                old.value = Tensor::cat(vec![old.value.clone(), new.value], 2);
                old.clone()
            }
            None => {
                assert_eq!(self.block, blocks.len(), "blocks come in their order");
                blocks.push(new.clone());
                new
            }
        }
    }
}
