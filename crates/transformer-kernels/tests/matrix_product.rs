//! Products of matrices on every backend that is compiled in, against loops in float64.
#![allow(missing_docs)]

use burn::tensor::{DType, Device, Tensor, TensorData};
#[cfg(feature = "autodiff")]
use transformer_kernels::repeat_row;
use transformer_kernels::{linear, matrix_product};

fn devices() -> Vec<Device> {
    vec![
        #[cfg(feature = "flex")]
        Device::flex(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        Device::cuda(0usize),
    ]
}

/// Numbers between -1 and 1 that look random.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn matrix(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn transposed(values: &[f32], [n_rows, n_columns]: [usize; 2]) -> Vec<f32> {
    (0..n_rows * n_columns)
        .map(|i| values[i % n_rows * n_columns + i / n_rows])
        .collect()
}

/// `[m, k] x [k, n]` in float64.
fn expected(left: &[f32], right: &[f32], [m, k, n]: [usize; 3]) -> Vec<f64> {
    (0..m * n)
        .map(|i| {
            let (row, column) = (i / n, i % n);
            (0..k)
                .map(|j| f64::from(left[row * k + j]) * f64::from(right[j * n + column]))
                .sum()
        })
        .collect()
}

/// The error's norm over that of what is expected.
fn error(found: Tensor<2>, expected: &[f64]) -> f64 {
    let found = found.cast(DType::F32).into_data().convert::<f32>();
    let found = found.as_slice::<f32>().expect("float32");
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let distance: f64 = found
        .iter()
        .zip(expected)
        .map(|(&a, &b)| square(f64::from(a) - b))
        .sum();
    let norm: f64 = expected.iter().map(|&b| square(b)).sum();
    (distance / norm).sqrt()
}

const SIZES: [[usize; 3]; 5] = [
    [1, 1, 1],
    [1, 7, 5],
    [33, 17, 9],
    [64, 128, 96],
    [130, 65, 1],
];

#[test]
fn products_agree_with_float64_however_the_matrices_lie() {
    for device in devices() {
        for (seed, sizes) in SIZES.into_iter().enumerate() {
            let [m, k, n] = sizes;
            let left = numbers(m * k, 2 * seed as u64 + 1);
            let right = numbers(k * n, 2 * seed as u64 + 2);
            let expected = expected(&left, &right, sizes);
            for is_left_transposed in [false, true] {
                for is_right_transposed in [false, true] {
                    let left = if !is_left_transposed {
                        matrix(&left, [m, k], &device)
                    } else {
                        matrix(&transposed(&left, [m, k]), [k, m], &device).transpose()
                    };
                    let right = if !is_right_transposed {
                        matrix(&right, [k, n], &device)
                    } else {
                        matrix(&transposed(&right, [k, n]), [n, k], &device).transpose()
                    };
                    for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::BF16, 1e-2)] {
                        let (left, right) = (left.clone().cast(dtype), right.clone().cast(dtype));
                        let error = error(matrix_product(left, right), &expected);
                        assert!(
                            error < tolerance,
                            "{device:?} {sizes:?} {dtype:?} {is_left_transposed} {is_right_transposed}: {error:e}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn parts_of_a_matrix_are_read_where_they_lie() {
    for device in devices() {
        let (left, right) = (numbers(20 * 24, 1), numbers(16 * 40, 2));
        let part = |values: &[f32], width: usize, from: usize, n: usize| -> Vec<f32> {
            values
                .chunks(width)
                .flat_map(|row| row[from..from + n].to_vec())
                .collect()
        };
        let expected = expected(
            &part(&left, 24, 5, 16),
            &part(&right, 40, 8, 30),
            [20, 16, 30],
        );
        let found = matrix_product(
            matrix(&left, [20, 24], &device).narrow(1, 5, 16),
            matrix(&right, [16, 40], &device).narrow(1, 8, 30),
        );
        assert!(error(found, &expected) < 2e-6, "{device:?}");
    }
}

#[test]
fn a_linear_layer_is_a_product_and_a_bias() {
    for device in devices() {
        for (seed, sizes) in (20..).zip(SIZES) {
            let [m, k, n] = sizes;
            let (input, weight) = (numbers(m * k, seed), numbers(k * n, seed + 40));
            // Large enough that sums do not cancel out, which would show the rounding of the inputs.
            let bias: Vec<f32> = numbers(n, seed + 80).iter().map(|x| x + 8.0).collect();
            let mut expected = expected(&input, &weight, sizes);
            for (sum, i) in expected.iter_mut().zip(0..) {
                *sum += f64::from(bias[i % n]);
            }
            for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::BF16, 1e-2)] {
                let found = linear(
                    matrix(&input, [m, k], &device).cast(dtype),
                    matrix(&weight, [k, n], &device).cast(dtype),
                    Tensor::<1>::from_floats(bias.as_slice(), &device).cast(dtype),
                );
                let error = error(found, &expected);
                assert!(
                    error < tolerance,
                    "{device:?} {sizes:?} {dtype:?}: {error:e}"
                );
            }
        }
    }
}

#[test]
fn layers_with_the_same_sizes_keep_their_own_biases() {
    for device in devices() {
        let ones = Tensor::<2>::ones([3, 4], &device);
        let weight = Tensor::<2>::ones([4, 8], &device);
        for value in [1.0, 2.0] {
            let bias = Tensor::<1>::full([8], value, &device);
            let found = linear(ones.clone(), weight.clone(), bias).into_data();
            assert!(found.iter::<f32>().all(|x| x == 4.0 + value), "{device:?}");
        }
    }
}

#[cfg(feature = "autodiff")]
#[test]
fn gradients_of_a_linear_layer() {
    let [m, k, n] = [12, 20, 28];
    let (input, weight) = (numbers(m * k, 8), numbers(k * n, 9));
    let (bias, weights) = (numbers(n, 10), numbers(m * n, 11));
    let expected = [
        expected(&weights, &transposed(&weight, [k, n]), [m, n, k]),
        expected(&transposed(&input, [m, k]), &weights, [k, m, n]),
        expected(&vec![1.0; m], &weights, [1, m, n]),
    ];
    for device in devices() {
        let device = device.autodiff();
        let input = matrix(&input, [m, k], &device).require_grad();
        let weight = matrix(&weight, [k, n], &device).require_grad();
        let bias = Tensor::<1>::from_floats(bias.as_slice(), &device).require_grad();
        let output = linear(input.clone(), weight.clone(), bias.clone());
        let gradients = (output * matrix(&weights, [m, n], &device))
            .sum()
            .backward();
        let found = [
            input.grad(&gradients).expect("it is tracked"),
            weight.grad(&gradients).expect("it is tracked"),
            bias.grad(&gradients).expect("it is tracked").unsqueeze(),
        ];
        for (found, expected) in found.into_iter().zip(&expected) {
            assert!(error(found, expected) < 2e-6, "{device:?}");
        }
    }
}

#[cfg(feature = "autodiff")]
#[test]
fn gradients_are_products_with_the_transposed_matrices() {
    let sizes @ [m, k, n] = [12, 20, 28];
    let (left, right, weights) = (numbers(m * k, 3), numbers(k * n, 4), numbers(m * n, 5));
    let left_grad = expected(&weights, &transposed(&right, [k, n]), [m, n, k]);
    let right_grad = expected(&transposed(&left, [m, k]), &weights, [k, m, n]);
    let product = expected(&left, &right, sizes);
    for device in devices() {
        let device = device.autodiff();
        let left = matrix(&left, [m, k], &device).require_grad();
        let right = matrix(&right, [k, n], &device).require_grad();
        let found = matrix_product(left.clone(), right.clone());
        assert!(error(found.clone().inner(), &product) < 2e-6);
        let gradients = (found * matrix(&weights, [m, n], &device)).sum().backward();
        let found = [&left, &right].map(|input| input.grad(&gradients).expect("it is tracked"));
        for (found, expected) in found.into_iter().zip([&left_grad, &right_grad]) {
            assert!(error(found, expected) < 2e-6, "{device:?}");
        }
    }
}

#[cfg(feature = "autodiff")]
#[test]
fn the_gradient_of_a_repeated_row_is_the_sum_of_each_column() {
    let [m, n] = [70, 24];
    let (row, weights) = (numbers(n, 6), numbers(m * n, 7));
    let sums = expected(&vec![1.0; m], &weights, [1, m, n]);
    for device in devices() {
        let device = device.autodiff();
        let row = Tensor::<1>::from_floats(row.as_slice(), &device).require_grad();
        let repeated = repeat_row(row.clone(), m);
        assert_eq!(repeated.dims(), [m, n]);
        let gradients = (repeated * matrix(&weights, [m, n], &device))
            .sum()
            .backward();
        let found = row.grad(&gradients).expect("it is tracked");
        assert!(error(found.unsqueeze(), &sums) < 2e-6, "{device:?}");
    }
}

#[test]
#[should_panic(expected = "a matrix with 3 columns cannot be multiplied with one of 4 rows")]
fn other_inner_sizes_are_refused_with_the_numbers() {
    let device = devices().remove(0);
    matrix_product(
        matrix(&numbers(6, 1), [2, 3], &device),
        matrix(&numbers(8, 2), [4, 2], &device),
    );
}

/// Chains of products with element-wise kernels between them, in small whole numbers, so that any
/// kernel that runs before its input is there gives another result; outputs are dropped at once and
/// their memory is used again.
#[test]
fn products_and_kernels_run_in_order() {
    const SIZE: usize = 256;
    // A permutation of the columns.
    let mut shift = vec![0.0f32; SIZE * SIZE];
    for row in 0..SIZE {
        shift[row * SIZE + (row + 1) % SIZE] = 1.0;
    }
    let start: Vec<f32> = (0..SIZE * SIZE).map(|i| (i % 7) as f32).collect();
    let n_products = 100;
    let chain = |device: &Device| {
        let shift = matrix(&shift, [SIZE, SIZE], device).cast(DType::BF16);
        let mut state = matrix(&start, [SIZE, SIZE], device).cast(DType::BF16);
        for step in 0..n_products {
            let _dropped = matrix_product(shift.clone(), state.clone()).mul_scalar(3.0);
            // Whole numbers up to 12 stay exact in bfloat16.
            state = matrix_product(state, shift.clone());
            state = if step % 2 == 0 {
                state.add_scalar(5.0)
            } else {
                state.sub_scalar(5.0)
            };
        }
        state.cast(DType::F32).into_data().convert::<f32>()
    };
    let expected: Vec<f32> = (0..SIZE * SIZE)
        .map(|i| {
            let (row, column) = (i / SIZE, i % SIZE);
            start[row * SIZE + (column + SIZE - n_products % SIZE) % SIZE]
        })
        .collect();
    for device in devices() {
        std::thread::scope(|scope| {
            let chains = [0; 3].map(|_| scope.spawn(|| chain(&device)));
            for chain in chains {
                let found = chain.join().expect("a chain does not panic");
                assert!(
                    found.as_slice::<f32>().expect("float32") == expected,
                    "{device:?}: a kernel ran out of order"
                );
            }
        });
    }
}
