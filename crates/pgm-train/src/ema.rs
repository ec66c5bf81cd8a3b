use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;

/// An exponential moving average of a module's parameters.
///
/// After the `n`-th update the decay is `min(decay, (1 + n) / (10 + n))`; without this ramp a
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
            Some(weight) => param.map(|average| {
                average.mul_scalar(self.decay) + weight.mul_scalar(1.0 - self.decay)
            }),
            None => param,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_decay_ramps_up_from_two_elevenths() {
        let device = Device::flex();
        let linear = LinearConfig::new(1, 1).with_bias(false).init(&device);
        let set = |module: burn::nn::Linear, value: f32| burn::nn::Linear {
            weight: module.weight.map(|w| w.mul_scalar(0.0).add_scalar(value)),
            bias: None,
        };
        let zero = set(linear.clone(), 0.0);
        let one = set(linear, 1.0);
        let mut ema = ExponentialMovingAverage::new(&zero, 0.9999);
        ema.update(&one);
        // n = 1: decay 2 / 11, so the average is 9 / 11.
        let value = ema.average().weight.val().into_scalar::<f32>();
        assert!((value - 9.0 / 11.0).abs() < 1e-6, "{value}");
    }
}
