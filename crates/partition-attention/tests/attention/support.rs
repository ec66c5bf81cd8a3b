//! Problems, and how to put them to the operation.

use burn::tensor::{DType, Device, Tensor, TensorData};
use partition_attention::{Segment, Segments, partition_attention};
use proptest::prelude::*;

use crate::oracle::{Noise, Problem, Sizes};

/// The backends that are compiled in.
pub fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        Device::cuda(0usize),
    ]
}

pub fn segment(query_start: usize, query_len: usize, key_start: usize, key_len: usize) -> Segment {
    Segment {
        query_start,
        query_len,
        key_start,
        key_len,
    }
}

/// Two sequences of 5 queries and 4 keys, split differently.
pub fn small_problem() -> Problem {
    let sizes = Sizes {
        batch: 2,
        query_len: 5,
        key_len: 4,
        heads: 2,
        head_dim: 8,
    };
    let segments = vec![
        vec![segment(0, 3, 0, 2), segment(3, 2, 2, 2)],
        vec![segment(0, 1, 1, 3), segment(1, 4, 0, 1)],
    ];
    Problem::random(sizes, segments, 1)
}

/// Logits of 1e4 and more.
pub fn huge_problem() -> Problem {
    let mut problem = small_problem();
    problem.query.iter_mut().for_each(|x| *x *= 100.0);
    problem.key.iter_mut().for_each(|x| *x *= 100.0);
    problem
}

/// Up to 3 sequences of up to `max_len` tokens, cut at any place into two ranges of queries; each
/// reads its own part of the keys, the other part, or any range.
pub fn problems(max_len: usize) -> impl Strategy<Value = Problem> {
    let head_dims = prop::sample::select(vec![8, 10, 32, 64, 128]);
    let sizes = (1..=3usize, 1..=max_len, 1..=max_len, 1..=3usize, head_dims).prop_map(
        |(batch, query_len, key_len, heads, head_dim)| Sizes {
            batch,
            query_len,
            key_len,
            heads,
            head_dim,
        },
    );
    (sizes, 0..5u8, any::<u64>()).prop_map(|(sizes, kind, seed)| {
        let mut noise = Noise(seed);
        let segments = (0..sizes.batch)
            .map(|_| {
                let (query_len, key_len) = (sizes.query_len, sizes.key_len);
                let (split, key_split) = match kind {
                    0 => (0, noise.below(key_len + 1)),
                    1 => (query_len, key_len),
                    _ => (noise.below(query_len + 1), noise.below(key_len + 1)),
                };
                let second = query_len - split;
                if kind == 4 {
                    // Queries between the two belong to neither.
                    let gap = noise.below(second + 1);
                    let mut keys = || {
                        let start = noise.below(key_len + 1);
                        (start, noise.below(key_len - start + 1))
                    };
                    let ((a, a_len), (b, b_len)) = (keys(), keys());
                    vec![
                        segment(split + gap, second - gap, b, b_len),
                        segment(0, split, a, a_len),
                    ]
                } else if kind == 3 {
                    vec![
                        segment(0, split, key_split, key_len - key_split),
                        segment(split, second, 0, key_split),
                    ]
                } else {
                    vec![
                        segment(0, split, 0, key_split),
                        segment(split, second, key_split, key_len - key_split),
                    ]
                }
            })
            .collect();
        Problem::random(sizes, segments, noise.next())
    })
}

pub fn run(problem: &Problem, device: &Device, dtype: DType) -> Vec<f64> {
    let [query, key, value] = inputs(problem, device, dtype);
    host(partition_attention(
        query,
        key,
        value,
        &segments(problem, device),
    ))
}

pub fn inputs(problem: &Problem, device: &Device, dtype: DType) -> [Tensor<4>; 3] {
    [
        tensor(&problem.query, problem.sizes.query_shape(), device, dtype),
        tensor(&problem.key, problem.sizes.key_shape(), device, dtype),
        tensor(&problem.value, problem.sizes.key_shape(), device, dtype),
    ]
}

pub fn segments(problem: &Problem, device: &Device) -> Segments {
    let Sizes {
        query_len, key_len, ..
    } = problem.sizes;
    Segments::new(&problem.segments, query_len, key_len, device).expect("segments fit")
}

pub fn tensor(values: &[f64], shape: [usize; 4], device: &Device, dtype: DType) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, dtype))
}

pub fn zeros(shape: [usize; 4]) -> Tensor<4> {
    Tensor::zeros(shape, &Device::flex())
}

pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as().expect("floats")
}

/// The same tensor, contiguous in memory.
pub fn host_round_trip(tensor: Tensor<4>, device: &Device) -> Tensor<4> {
    Tensor::from_data(tensor.into_data(), device)
}

/// Compares relative to `max(1, |expected|)`; NaN fails.
pub fn assert_close(what: &str, ours: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let mut largest = 0f64;
    for (i, (a, b)) in ours.iter().zip(expected).enumerate() {
        let error = (a - b).abs() / b.abs().max(1.0);
        assert!(
            error <= tolerance,
            "{what}[{i}] is {a}, not {b}: off by {error:e}"
        );
        largest = largest.max(error);
    }
    println!("{what}: {largest:.1e} of {tolerance:.0e}");
}
