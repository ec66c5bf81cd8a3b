use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, assert_shape};

use super::frequencies::{Frequencies, geometric_frequencies};
use super::heads::split_heads;
use crate::shape_checks::assert_batch_or_one;

/// Cosines and sines of the rotary angles of some positions,
/// `[batch or 1, seq, 1, head_dim / 2]` each.
#[derive(Debug, Clone)]
pub struct RotaryAngles {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RotaryAngles {
    /// Rotates queries or keys: `(x1, x2)`, the two halves of a head, become
    /// `(x1 cos - x2 sin, x2 cos + x1 sin)`.
    ///
    /// Burn's own `RotaryEncoding` rotates adjacent pairs instead.
    ///
    /// # Shapes
    /// - heads and output: `[batch, seq, heads, head_dim]`
    ///
    /// # Panics
    /// Panics if the angles are for another batch, length or number of features.
    pub fn rotate(&self, heads: Tensor<4>) -> Tensor<4> {
        let [angle_batch, seq_len, _, half] = self.cos.dims();
        assert_shape!(heads, [_, seq_len, _, 2 * half]);
        assert_batch_or_one("angles", angle_batch, heads.dims()[0]);
        let dtype = heads.dtype();
        let heads = heads.cast(self.cos.dtype());
        let first = heads.clone().narrow(3, 0, half);
        let second = heads.narrow(3, half, half);
        Tensor::cat(
            vec![
                first.clone() * self.cos.clone() - second.clone() * self.sin.clone(),
                second * self.cos.clone() + first * self.sin.clone(),
            ],
            3,
        )
        .cast(dtype)
    }

    /// Splits a packed projection into queries, keys and values, and rotates queries and keys.
    ///
    /// # Shapes
    /// - packed: `[batch, seq, 3 * d_model]`
    /// - outputs: `[batch, seq, heads, head_dim]`
    ///
    /// # Panics
    /// Panics if the angles are for another batch, length or number of features.
    pub fn rotate_packed(&self, packed: Tensor<3>, n_heads: usize) -> [Tensor<4>; 3] {
        let [query, key, value] = split_heads(packed, n_heads);
        [self.rotate(query), self.rotate(key), value]
    }
}

/// Computes rotary angles from positions. It has no parameters; a network makes it once.
///
/// # Reference
/// RoFormer (arXiv 2104.09864).
#[derive(Module, Debug)]
pub struct RotaryEmbedding {
    frequencies: Frequencies,
    #[module(skip)]
    amplitude: f32,
}

impl RotaryEmbedding {
    /// Angles for heads of `head_dim` features.
    pub fn new(head_dim: usize, device: &Device) -> Self {
        Self {
            frequencies: Frequencies::geometric(head_dim, device),
            amplitude: 1.0,
        }
    }

    /// Angles with frequencies of one's own, in radians a token, one for each pair of features.
    pub fn with_frequencies(frequencies: Vec<f32>, device: &Device) -> Self {
        Self {
            frequencies: Frequencies::new(frequencies, device),
            amplitude: 1.0,
        }
    }

    /// The same with heads that are multiplied by a number as they are rotated.
    pub fn with_amplitude(self, amplitude: f32) -> Self {
        Self { amplitude, ..self }
    }

    /// The frequencies `base^(-2j / head_dim)` for `j < head_dim / 2`.
    pub fn frequencies(head_dim: usize, base: f64) -> Vec<f64> {
        geometric_frequencies(head_dim, base)
    }

    /// The angles of some positions.
    ///
    /// # Shapes
    /// - positions: `[batch or 1, seq]`
    pub fn angles(&self, positions: Tensor<2, Int>) -> RotaryAngles {
        let angles = self.frequencies.angles(positions.float());
        let scaled = |values: Tensor<3>| match self.amplitude {
            1.0 => values,
            amplitude => values * amplitude,
        };
        RotaryAngles {
            cos: scaled(angles.clone().cos()).unsqueeze_dim(2),
            sin: scaled(angles.sin()).unsqueeze_dim(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rotated_by_position_times_frequency() {
        let device = Device::flex();
        let rotary = RotaryEmbedding::new(4, &device);
        let positions = Tensor::<2, Int>::from_ints([[0, 2]], &device);
        let heads =
            Tensor::<4>::from_floats([[[[1.0, 2.0, 3.0, 4.0]], [[1.0, 2.0, 3.0, 4.0]]]], &device);
        let rotated = rotary.angles(positions).rotate(heads.clone());
        // Position 2, frequencies 1 and 0.01: angles 2 and 0.02 for the pairs (1, 3) and (2, 4).
        let (s, c) = (2.0f32.sin(), 2.0f32.cos());
        let (s2, c2) = (0.02f32.sin(), 0.02f32.cos());
        let expected = Tensor::<4>::from_floats(
            [[
                [[1.0, 2.0, 3.0, 4.0]],
                [[
                    c - 3.0 * s,
                    2.0 * c2 - 4.0 * s2,
                    3.0 * c + s,
                    4.0 * c2 + 2.0 * s2,
                ]],
            ]],
            &device,
        );
        let positions = Tensor::<2, Int>::from_ints([[0, 2]], &device);
        let enlarged = rotary
            .with_amplitude(1.5)
            .angles(positions)
            .rotate(heads.clone());
        let tolerance = burn::tensor::Tolerance::absolute(1e-6);
        let wanted = (expected.clone() * 1.5).into_data();
        enlarged
            .into_data()
            .assert_approx_eq::<f32>(&wanted, tolerance);
        rotated.into_data().assert_approx_eq::<f32>(
            &expected.into_data(),
            burn::tensor::Tolerance::absolute(1e-6),
        );
    }
}
