use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;

/// An exponential moving average of a module's parameters.
///
/// The `n`-th update moves it by `1 - min(decay, (1 + n) / (10 + n))` of the way to the weights; without this ramp a
/// short run would be evaluated near its initial weights.
#[derive(Debug, Clone)]
pub struct ExponentialMovingAverage<M> {
    average: M,
    decay: f64,
    n_updates: usize,
}

impl<M: Module> ExponentialMovingAverage<M> {
    /// Starts at the module's weights, on the device without autodiff.
    pub fn new(module: &M, decay: f64) -> Self {
        Self {
            average: module.valid(),
            decay,
            n_updates: 0,
        }
    }

    /// Goes on from saved weights.
    pub fn resume(average: M, decay: f64, n_updates: usize) -> Self {
        Self {
            average,
            decay,
            n_updates,
        }
    }

    /// Moves the average towards the module's weights.
    pub fn update(&mut self, module: &M) {
        self.n_updates += 1;
        let n = self.n_updates as f64;
        let mut collect = Collect {
            weights: TensorContainer::new(),
        };
        module.valid().visit(&mut collect);
        let mut average = Average {
            weights: collect.weights,
            decay: self.decay.min((1.0 + n) / (10.0 + n)),
        };
        self.average = self.average.clone().map(&mut average);
    }

    /// The averaged module.
    pub fn average(&self) -> &M {
        &self.average
    }

    /// Updates so far.
    pub fn n_updates(&self) -> usize {
        self.n_updates
    }
}

struct Collect {
    weights: TensorContainer<ParamId>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.weights.register(param.id, param.val());
    }
}

struct Average {
    weights: TensorContainer<ParamId>,
    decay: f64,
}

impl ModuleMapper for Average {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let weight: Option<Tensor<D>> = self.weights.remove(&param.id);
        match weight {
            // Not `decay * average + (1 - decay) * weight`: rounded to float32, 0.9999 and 1e-4 add up to less than
            // 1, which takes 1.6e-4 off every weight in the long run.
            Some(weight) => param.map(|average| {
                let distance = weight - average.clone();
                average + distance.mul_scalar(1.0 - self.decay)
            }),
            None => param,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::Linear;
    use burn::tensor::Device;

    use super::*;

    /// A module with one row of weights.
    fn row(weights: &[f32]) -> Linear {
        let device = Device::flex();
        Linear {
            weight: Param::from_tensor(Tensor::<1>::from_floats(weights, &device).unsqueeze()),
            bias: None,
        }
    }

    /// The same parameters with other weights.
    fn set(module: &Linear, weights: &[f32]) -> Linear {
        let other = row(weights).weight.val();
        Linear {
            weight: module.weight.clone().map(|_| other),
            bias: None,
        }
    }

    fn weights(module: &Linear) -> Vec<f32> {
        module.weight.val().try_into_vec_as().unwrap()
    }

    #[test]
    fn the_decay_ramps_up_from_two_elevenths() {
        let zero = row(&[0.0]);
        let mut ema = ExponentialMovingAverage::new(&zero, 0.9999);
        ema.update(&set(&zero, &[1.0]));
        // n = 1: decay 2 / 11, so the average is 9 / 11.
        let value = weights(ema.average())[0];
        assert!((value - 9.0 / 11.0).abs() < 1e-6, "{value}");
    }

    #[test]
    fn weights_that_stay_are_their_own_average() {
        let kept = [1.0, -0.3, 1e-5, 12345.678, 0.0];
        let module = row(&kept);
        // Behind the ramp, which ends after 90,000 updates.
        let mut ema = ExponentialMovingAverage::resume(module.clone(), 0.9999, 100_000);
        for _ in 0..5_000 {
            ema.update(&module);
        }
        assert_eq!(weights(ema.average()), kept);
        assert_eq!(ema.n_updates(), 105_000);
    }

    #[test]
    fn thousands_of_updates_agree_with_float64() {
        let at = |n: usize, i: usize| {
            let n = n as f64;
            (0.05 * n * (i + 1) as f64).sin() as f32 + 0.5 * i as f32
        };
        let row_at = |n: usize| [at(n, 0), at(n, 1), at(n, 2)];
        let module = row(&row_at(0));
        // With the ramp, and long after it.
        for first in [0, 100_000] {
            let mut ema = ExponentialMovingAverage::resume(module.clone(), 0.9999, first);
            let mut expected = row_at(0).map(f64::from);
            for n in 1..=4_000 {
                ema.update(&set(&module, &row_at(n)));
                let updates = (first + n) as f64;
                let decay = f64::min(0.9999, (1.0 + updates) / (10.0 + updates));
                for (i, average) in expected.iter_mut().enumerate() {
                    *average = decay * *average + (1.0 - decay) * f64::from(at(n, i));
                }
            }
            for (found, expected) in weights(ema.average()).into_iter().zip(expected) {
                let error = (f64::from(found) - expected).abs();
                // Roundings of float32, 6e-8 each at most, forget each other as the average does.
                assert!(error < 2e-5, "{found} is not {expected}: off by {error:e}");
            }
        }
    }
}
