use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::DType;
use burn_flex::FlexTensor;
use multiversion::multiversion;
use rayon::prelude::*;

use crate::TransformerOps;
use crate::cpu_math::sigmoid;
use crate::ops::{CUBIC, SCALE, composed_tanh_gelu, composed_tanh_gelu_backward};

/// Elements that one thread works on at a time.
const CHUNK: usize = 1 << 14;

impl TransformerOps for Flex {
    fn tanh_gelu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        if input.dtype() != DType::F32 {
            return composed_tanh_gelu::<Self>(input);
        }
        let mut output = input.to_contiguous();
        output
            .storage_mut::<f32>()
            .par_chunks_mut(CHUNK)
            .for_each(gelu_in_place);
        output
    }

    fn tanh_gelu_backward(
        input: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if input.dtype() != DType::F32 {
            return composed_tanh_gelu_backward::<Self>(input, output_grad);
        }
        let input = input.to_contiguous();
        let mut grad = output_grad.to_contiguous();
        let input = values(&input);
        grad.storage_mut::<f32>()
            .par_chunks_mut(CHUNK)
            .zip(input.par_chunks(CHUNK))
            .for_each(|(grad, input)| multiply_by_slope(grad, input));
        grad
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn gelu_in_place(values: &mut [f32]) {
    for x in values {
        *x *= gate(*x);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn multiply_by_slope(grad: &mut [f32], input: &[f32]) {
    for (grad, &x) in grad.iter_mut().zip(input) {
        let gate = gate(x);
        let slope = (SCALE as f32) * (1.0 + (3.0 * CUBIC) as f32 * x * x);
        *grad *= gate + x * slope * gate * (1.0 - gate);
    }
}

#[inline(always)]
fn gate(x: f32) -> f32 {
    sigmoid(SCALE as f32 * x * (1.0 + CUBIC as f32 * x * x))
}

/// The elements of a contiguous tensor.
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice()
        .expect("a contiguous float32 tensor has a slice")
}
