use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

const BASE: f64 = 10_000.0;

/// Frequencies of sinusoids, in radians per unit.
///
/// They are constants of a network: made once, moved with it between devices, saved in no file.
#[derive(Module, Debug)]
pub(crate) struct Frequencies {
    /// `[1, 1, n]`
    values: Tensor<3>,
}

impl Frequencies {
    /// Frequencies of one's own.
    pub fn new(values: Vec<f32>, device: &Device) -> Self {
        let shape = [1, 1, values.len()];
        Self {
            values: Tensor::from_data(TensorData::new(values, shape), device),
        }
    }

    /// The usual ones for `width` features: `10000^(-2j / width)` for `j < width / 2`.
    pub fn geometric(width: usize, device: &Device) -> Self {
        let values = geometric_frequencies(width, BASE);
        Self::new(
            values.into_iter().map(|value| value as f32).collect(),
            device,
        )
    }

    /// Positions times frequencies: `[batch, seq]` to `[batch, seq, n]`.
    pub fn angles(&self, positions: Tensor<2>) -> Tensor<3> {
        // Whether gradients are recorded is the positions' choice.
        positions.unsqueeze_dim::<3>(2) * self.values.clone().without_autodiff()
    }

    /// Cosines, then sines, of positions times frequencies: `[batch, seq]` to `[batch, seq, 2 * n]`.
    pub fn sinusoid(&self, positions: Tensor<2>) -> Tensor<3> {
        let angles = self.angles(positions);
        Tensor::cat(vec![angles.clone().cos(), angles.sin()], 2)
    }
}

/// `base^(-2j / width)` for `j < width / 2`.
pub(super) fn geometric_frequencies(width: usize, base: f64) -> Vec<f64> {
    (0..width / 2)
        .map(|j| base.powf(-2.0 * j as f64 / width as f64))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_follow_the_network_to_training_and_back() {
        let device = Device::flex();
        let frequencies = Frequencies::geometric(4, &device);
        let training = frequencies.clone().fork(&device.clone().autodiff()).train();
        for (frequencies, device) in [
            (&frequencies, &device),
            (&frequencies, &device.clone().autodiff()),
            (&training, &device.clone().autodiff()),
            (&training, &device),
            (&training.valid(), &device),
        ] {
            let positions = Tensor::<2>::from_floats([[0.0, 2.0]], device);
            let angles = frequencies.angles(positions.clone());
            assert_eq!(angles.is_autodiff(), positions.is_autodiff());
            let expected = [0.0, 0.0, 2.0, 0.02];
            assert_eq!(angles.try_into_vec_as::<f32>().unwrap(), expected);
        }
    }
}
