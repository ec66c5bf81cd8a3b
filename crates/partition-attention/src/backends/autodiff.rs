use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};

use crate::PartitionAttentionOps;

impl<B: PartitionAttentionOps, C: CheckpointStrategy> PartitionAttentionOps for Autodiff<B, C> {
    fn partition_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        segments: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [query.node(), key.node(), value.node()];
        let [query, key, value] = [query, key, value].map(|x| x.into_primitive());
        let (output, log_sum_exp) = B::partition_attention_forward(
            query.clone(),
            key.clone(),
            value.clone(),
            segments.clone(),
        );
        match PartitionAttention
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let saved = Saved::<B> {
                    query,
                    key,
                    value,
                    segments,
                    output: output.clone(),
                    log_sum_exp,
                };
                prep.finish(saved, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct PartitionAttention;

/// What the forward pass keeps: its inputs, its output and a number per query.
#[derive(Debug, Clone)]
struct Saved<B: PartitionAttentionOps> {
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    segments: IntTensor<B>,
    output: FloatTensor<B>,
    log_sum_exp: FloatTensor<B>,
}

impl<B: PartitionAttentionOps> Backward<B, 3> for PartitionAttention {
    type State = Saved<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let output_grad = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let (query_grad, key_grad, value_grad) = B::partition_attention_backward(
            saved.query,
            saved.key,
            saved.value,
            saved.segments,
            saved.output,
            saved.log_sum_exp,
            output_grad,
        );
        for (node, grad) in ops
            .parents
            .into_iter()
            .zip([query_grad, key_grad, value_grad])
        {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}
