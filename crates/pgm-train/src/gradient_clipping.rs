use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

/// Scales all gradients by `min(1, max_norm / norm)`, where `norm` is that of all parameters
/// together, and returns `norm`.
///
/// Burn's own clipping looks at each parameter alone. Nothing is read back from the device.
///
/// # Shapes
/// - output: `[1]`
pub fn clip_by_global_norm<M: Module>(
    module: &M,
    gradients: GradientsParams,
    max_norm: f64,
    device: &Device,
) -> (GradientsParams, Tensor<1>) {
    let mut squares = SumOfSquares {
        gradients: &gradients,
        sum: Tensor::zeros([1], &device.clone().inner()),
    };
    module.visit(&mut squares);
    let norm = squares.sum.sqrt();
    if max_norm == 0.0 {
        return (gradients, norm);
    }
    let factor = norm
        .clone()
        .add_scalar(1e-6)
        .recip()
        .mul_scalar(max_norm)
        .clamp_max(1.0);
    let mut scale = Scale {
        gradients,
        scaled: GradientsParams::new(),
        factor,
    };
    module.visit(&mut scale);
    (scale.scaled, norm)
}

struct SumOfSquares<'a> {
    gradients: &'a GradientsParams,
    sum: Tensor<1>,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum = self.sum.clone() + gradient.square().sum();
        }
    }
}

struct Scale {
    gradients: GradientsParams,
    scaled: GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let factor = self.factor.clone().reshape([1; D]);
            self.scaled.register(param.id, gradient * factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;

    /// Gradients of two layers; those of a third, which is not used, do not exist.
    fn gradients_of_two() -> ([Linear; 3], GradientsParams) {
        let device = Device::flex().autodiff();
        let [a, b, c] = [1, 2, 3].map(|n| LinearConfig::new(3, n).init(&device));
        let input = Tensor::<2>::from_floats([[0.3, -1.7, 2.9], [0.1, 0.2, -0.7]], &device);
        let loss = a.forward(input.clone()).exp().sum() + b.forward(input).square().sum();
        let layers = [a, b, c];
        let gradients = GradientsParams::from_grads(loss.backward(), &layers);
        (layers, gradients)
    }

    fn values(layers: &[Linear; 3], gradients: &GradientsParams) -> Vec<f32> {
        let mut values = Vec::new();
        for layer in layers {
            let weight: Option<Tensor<2>> = gradients.get(layer.weight.id);
            let bias = layer.bias.as_ref().expect("a bias");
            let bias: Option<Tensor<1>> = gradients.get(bias.id);
            let flat = weight.map(|weight| weight.flatten::<1>(0, 1)).into_iter();
            for part in flat.chain(bias) {
                values.extend(part.try_into_vec_as::<f32>().unwrap());
            }
        }
        values
    }

    #[test]
    fn gradients_within_the_limit_stay_bit_by_bit() {
        let device = Device::flex().autodiff();
        // The limit in units of the norm; 0 is none.
        for limit in [1.001, 100.0, 1e30, 0.0] {
            let (layers, gradients) = gradients_of_two();
            let before = values(&layers, &gradients);
            // Weights and biases: 3 + 1 and 6 + 2 numbers.
            assert_eq!(before.len(), 12);
            let squares = before.iter().map(|&x| f64::from(x) * f64::from(x));
            let expected = squares.sum::<f64>().sqrt();
            let (clipped, norm) =
                clip_by_global_norm(&layers, gradients, limit * expected, &device);
            assert_eq!(values(&layers, &clipped), before, "limit {limit}");
            let norm = f64::from(norm.into_scalar::<f32>());
            assert!((norm / expected - 1.0).abs() < 1e-5, "{norm} {expected}");
        }
    }

    #[test]
    fn all_parameters_share_one_norm() {
        let device = Device::flex().autodiff();
        let linear = LinearConfig::new(1, 1).init(&device);
        let input = Tensor::<2>::from_floats([[3.0]], &device);
        // Gradients 3 of the weight and 1 of the bias, times 4: norm 4 sqrt(10).
        let loss = linear.forward(input).mul_scalar(4.0).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &linear);
        let (clipped, norm) = clip_by_global_norm(&linear, gradients, 1.0, &device);
        let norm = norm.into_scalar::<f32>();
        assert!((norm - 4.0 * 10f32.sqrt()).abs() < 1e-4, "{norm}");
        let weight: Tensor<2> = clipped.get(linear.weight.id).expect("a gradient");
        let weight = weight.into_scalar::<f32>();
        assert!((weight - 3.0 / 10f32.sqrt()).abs() < 1e-5, "{weight}");
    }
}
