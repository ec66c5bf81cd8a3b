use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::{PartitionAttentionOps, Segments};

/// Softmax attention in which each query reads the keys of its segment only.
///
/// Scores are scaled by `1 / sqrt(head_dim)`. Half-precision inputs are accumulated in float32.
/// A query without keys gets 0.
///
/// # Shapes
/// - query: `[batch, query_len, heads, head_dim]`
/// - key, value: `[batch, key_len, heads, head_dim]`
/// - segments: `[batch, n_segments, 4]`
/// - output: `[batch, query_len, heads, head_dim]`
///
/// # Panics
/// Panics if the shapes disagree.
///
/// # Reference
/// PGM (arXiv 2505.18883), section 4: the attention of the encoder (within groups), of GroupSwap
/// and of the decoder (across groups).
pub fn partition_attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    segments: &Segments,
) -> Tensor<4> {
    let [batch, _, heads, head_dim] = query.dims();
    let [key_batch, _, key_heads, key_dim] = key.dims();
    assert!(
        [key_batch, key_heads, key_dim] == [batch, heads, head_dim],
        "query is {:?}, key is {:?} as [batch, seq, heads, head_dim]; only `seq` may differ",
        query.dims(),
        key.dims()
    );
    assert!(
        value.dims() == key.dims(),
        "value is {:?}, key is {:?} as [batch, seq, heads, head_dim]; they have to be the same",
        value.dims(),
        key.dims()
    );
    let table = segments.table();
    assert_eq!(
        table.dims()[0],
        batch,
        "segments are for a batch of {}, query is for {batch}",
        table.dims()[0]
    );
    Tensor::from_dispatch(Dispatch::partition_attention(
        query.into_dispatch(),
        key.into_dispatch(),
        value.into_dispatch(),
        table.into_dispatch(),
    ))
}
