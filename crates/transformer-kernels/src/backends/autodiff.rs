use burn::backend::tensor::FloatTensor;
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, binary, unary},
};

use crate::TransformerOps;

impl<B: TransformerOps, C: CheckpointStrategy> TransformerOps for Autodiff<B, C> {
    fn tanh_gelu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let node = input.node();
        let input = input.into_primitive();
        let output = B::tanh_gelu(input.clone());
        match TanhGelu.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(input, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn repeat_row(row: FloatTensor<Self>, n_rows: usize) -> FloatTensor<Self> {
        let node = row.node();
        let output = B::repeat_row(row.into_primitive(), n_rows);
        match RepeatRow.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [input.node(), weight.node(), bias.node()];
        let [input, weight, bias] = [input, weight, bias].map(|tensor| tensor.into_primitive());
        let output = B::linear_forward(input.clone(), weight.clone(), bias);
        match Linear.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((input, weight), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn matrix_product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [left.node(), right.node()];
        let [left, right] = [left, right].map(|matrix| matrix.into_primitive());
        let product = B::matrix_product_forward(left.clone(), right.clone());
        match MatrixProduct.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((left, right), product),
            OpsKind::UnTracked(prep) => prep.finish(product),
        }
    }
}

#[derive(Debug)]
struct Linear;

impl<B: TransformerOps> Backward<B, 3> for Linear {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (input, weight) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [input_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = input_node {
            let weight = B::float_transpose(weight);
            grads.register::<B>(node.id, B::matrix_product_forward(grad.clone(), weight));
        }
        if let Some(node) = weight_node {
            let input = B::float_transpose(input);
            grads.register::<B>(node.id, B::matrix_product_forward(input, grad.clone()));
        }
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, B::column_sums(grad));
        }
    }
}

#[derive(Debug)]
struct RepeatRow;

impl<B: TransformerOps> Backward<B, 1> for RepeatRow {
    type State = ();

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        unary::<B, _>(ops.parents, ops.node, grads, B::column_sums);
    }
}

#[derive(Debug)]
struct MatrixProduct;

impl<B: TransformerOps> Backward<B, 2> for MatrixProduct {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (left, right) = ops.state;
        binary::<B, _, _>(
            ops.parents,
            ops.node,
            grads,
            |grad| B::matrix_product_forward(grad, B::float_transpose(right)),
            |grad| B::matrix_product_forward(B::float_transpose(left), grad),
        );
    }
}

#[derive(Debug)]
struct TanhGelu;

impl<B: TransformerOps> Backward<B, 1> for TanhGelu {
    type State = FloatTensor<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let input = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            B::tanh_gelu_backward(input, grad)
        });
    }
}
