use burn::backend::{Backend, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, FloatDType, Shape};

/// `2 sqrt(2 / pi)`: with it, `(1 + tanh(u)) / 2` is `sigmoid(2 u)`.
pub(crate) const SCALE: f64 = 1.595_769_121_605_730_7;
/// The weight of the cubic term.
pub(crate) const CUBIC: f64 = 0.044_715;

/// What a backend has to provide for the functions of this crate.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cubecl-backend"),
    Fusion: cfg(all(feature = "cubecl-backend", feature = "fusion")),
    Autodiff: cfg(feature = "autodiff"),
)]
pub trait TransformerOps: Backend {
    /// See [`tanh_gelu`](crate::tanh_gelu); any shape.
    #[fusion(default)]
    fn tanh_gelu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_tanh_gelu::<Self>(input)
    }

    /// The gradient of the input; all of one shape.
    #[fusion(default)]
    fn tanh_gelu_backward(
        input: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed_tanh_gelu_backward::<Self>(input, output_grad)
    }

    /// The differentiable entry: see [`matrix_product`](crate::matrix_product).
    #[fusion(default)]
    fn matrix_product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::matrix_product_forward(left, right)
    }

    /// `[m, k]` times `[k, n]`, both of one number format, whatever their strides.
    #[fusion(meta = crate::fusion_specs::matrix_product)]
    fn matrix_product_forward(
        left: FloatTensor<Self>,
        right: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::float_matmul(left, right)
    }

    /// The differentiable entry: see [`linear`](crate::linear); the bias is `[1, n]`.
    #[fusion(default)]
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::linear_forward(input, weight, bias)
    }

    /// `[m, k]` times `[k, n]` plus `[1, n]` in every row, all of one number format.
    #[fusion(meta = crate::fusion_specs::linear)]
    fn linear_forward(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::float_add(Self::matrix_product_forward(input, weight), bias)
    }

    /// The differentiable entry: see [`repeat_row`](crate::repeat_row).
    #[fusion(default)]
    fn repeat_row(row: FloatTensor<Self>, n_rows: usize) -> FloatTensor<Self> {
        let [_, n_columns] = row.shape().dims();
        Self::float_expand(row, Shape::from([n_rows, n_columns]))
    }

    /// `[m, n]` to `[1, n]`.
    #[fusion(meta = crate::fusion_specs::column_sums)]
    fn column_sums(matrix: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_sum_dim(matrix, 0)
    }
}

/// The body of [`TransformerOps::tanh_gelu`] for any backend.
pub(crate) fn composed_tanh_gelu<B: Backend>(input: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = input.dtype();
    if is_half(dtype) {
        let input = B::float_cast(input, FloatDType::F32);
        return B::float_cast(composed_tanh_gelu::<B>(input), dtype.into());
    }
    let gate = gate::<B>(&input);
    B::float_mul(input, gate)
}

/// The body of [`TransformerOps::tanh_gelu_backward`] for any backend.
pub(crate) fn composed_tanh_gelu_backward<B: Backend>(
    input: FloatTensor<B>,
    output_grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let dtype = input.dtype();
    if is_half(dtype) {
        let [input, output_grad] =
            [input, output_grad].map(|tensor| B::float_cast(tensor, FloatDType::F32));
        let gradient = composed_tanh_gelu_backward::<B>(input, output_grad);
        return B::float_cast(gradient, dtype.into());
    }
    // d/dx x s(v) = s + x s (1 - s) v', with v = SCALE (x + CUBIC x^3).
    let gate = gate::<B>(&input);
    let square = B::float_mul(input.clone(), input.clone());
    let slope = B::float_add_scalar(
        B::float_mul_scalar(square, (3.0 * SCALE * CUBIC).into()),
        SCALE.into(),
    );
    let rest = B::float_sub(gate.clone(), B::float_mul(gate.clone(), gate.clone()));
    let curve = B::float_mul(B::float_mul(input, slope), rest);
    B::float_mul(output_grad, B::float_add(gate, curve))
}

/// Formats in which the polynomial would be rounded visibly; it is worked out in float32 instead.
fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// `sigmoid(SCALE (x + CUBIC x^3))`.
fn gate<B: Backend>(input: &FloatTensor<B>) -> FloatTensor<B> {
    debug_assert!(input.dtype().is_float(), "GELU is for floats");
    let square = B::float_mul(input.clone(), input.clone());
    let factor = B::float_add_scalar(
        B::float_mul_scalar(square, (SCALE * CUBIC).into()),
        SCALE.into(),
    );
    B::sigmoid(B::float_mul(input.clone(), factor))
}
