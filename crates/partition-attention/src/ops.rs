use burn::backend::{
    Backend, backend_extension,
    tensor::{FloatTensor, IntTensor},
};

use crate::reference;

/// What a backend has to provide for [`partition_attention`](crate::partition_attention).
///
/// Every method has a body composed of Burn's own operations, so that any backend works; it builds
/// the scores of all pairs and is the oracle that faster bodies are tested against.
///
/// # Shapes
/// - query, output and their gradients: `[batch, query_len, heads, head_dim]`
/// - key, value and their gradients: `[batch, key_len, heads, head_dim]`
/// - segments: `[batch, n_segments, 4]`
/// - log_sum_exp: `[batch, heads, query_len, 1]`, float32 or wider
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cubecl-backend"),
    Fusion: cfg(all(feature = "cubecl-backend", feature = "fusion")),
    Autodiff: cfg(feature = "autodiff"),
)]
pub trait PartitionAttentionOps: Backend {
    /// The differentiable entry: `Autodiff` records [`Self::partition_attention_backward`] for it.
    #[fusion(default)]
    fn partition_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        segments: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::partition_attention_forward(query, key, value, segments).0
    }

    /// Returns the output, and per query the log of the sum of exponentiated scores
    /// (`-inf` for a query without keys).
    #[fusion(meta = crate::fusion_specs::forward)]
    fn partition_attention_forward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        segments: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        reference::forward::<Self>(query, key, value, segments)
    }

    /// Returns the gradients of query, key and value from what the forward pass saved.
    #[fusion(meta = crate::fusion_specs::backward)]
    fn partition_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        segments: IntTensor<Self>,
        output: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        reference::backward::<Self>(
            query,
            key,
            value,
            segments,
            output,
            log_sum_exp,
            output_grad,
        )
    }
}
