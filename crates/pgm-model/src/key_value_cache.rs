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

    /// Appends what a block computed for new tokens, and returns what it has of all.
    ///
    /// # Panics
    /// Panics if the batch is another one than before.
    pub(crate) fn extend(&mut self, block: usize, new: KeyValue) -> KeyValue {
        match self.blocks.get_mut(block) {
            Some(old) => {
                let (found, wanted) = (new.key.dims()[0], old.key.dims()[0]);
                assert_eq!(found, wanted, "the cache is of {wanted} sequences");
                old.key = Tensor::cat(vec![old.key.clone(), new.key], 2);
                old.value = Tensor::cat(vec![old.value.clone(), new.value], 2);
                old.clone()
            }
            None => {
                assert_eq!(block, self.blocks.len(), "blocks come in their order");
                self.blocks.push(new.clone());
                new
            }
        }
    }
}
