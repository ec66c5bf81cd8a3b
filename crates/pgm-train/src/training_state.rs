use std::ops::ControlFlow;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Gradients, Tensor};
use burn_train::TrainStep;
use discrete_diffusion::random_streams::{Stream, stream};
use pgm_model::LanguageModel;
use rand::Rng;

use crate::{
    Checkpoint, ExperimentConfig, ExponentialMovingAverage, OptimizerSection, TrainError,
    TrainingModel, clip_by_global_norm,
};

/// Everything that changes from one optimizer step to the next.
pub struct TrainingState {
    /// The network that is trained, with its objective.
    pub model: TrainingModel,
    /// Adam with its moments.
    pub optimizer: ModuleOptimizer,
    /// Averaged weights, if the run keeps some.
    pub ema: Option<ExponentialMovingAverage<LanguageModel>>,
    /// Optimizer steps done.
    pub step: usize,
}

impl TrainingState {
    /// The state at the start of a run, or that of a checkpoint. `vocab_size` counts MASK.
    ///
    /// # Errors
    /// If the checkpoint cannot be read or is of another network.
    pub fn new(
        config: &ExperimentConfig,
        vocab_size: usize,
        mask_token: usize,
        checkpoint: Option<&Checkpoint>,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let network_config = config.model.network(config.objective.kind, vocab_size);
        // Initial weights are drawn on the CPU, so that every backend starts from the same ones, and
        // at once.
        let cpu = Device::flex();
        cpu.seed(config.seed);
        let network = network_config
            .init(&cpu)
            .with_precision(config.model.precision);
        network.visit(&mut DrawNow);
        let mut optimizer = adam(&config.optimizer);
        let decay = config.optimizer.ema_decay;
        let training_device = device.clone().autodiff();
        let (network, ema, step) = match checkpoint {
            None => {
                let network = network.fork(&training_device).train();
                let ema = (decay > 0.0).then(|| ExponentialMovingAverage::new(&network, decay));
                (network, ema, 0)
            }
            Some(checkpoint) => {
                let average = checkpoint.load_average(network.clone().fork(device))?;
                let ema = average
                    .zip(checkpoint.ema_updates()?)
                    .map(|(average, updates)| {
                        ExponentialMovingAverage::resume(average, decay, updates)
                    });
                let network = checkpoint.load_network(network)?;
                optimizer = checkpoint.load_optimizer(optimizer)?;
                (network.fork(&training_device).train(), ema, checkpoint.step)
            }
        };
        let model = TrainingModel::new(
            network,
            config.objective.kind,
            config.objective.weighting,
            mask_token,
        );
        Ok(Self {
            model,
            optimizer,
            ema,
            step,
        })
    }

    /// One optimizer step on the sum of the losses of `parts`, in which tokens have weight 1 unless the caller says
    /// otherwise in the report. `differentiate` gives the loss of a part, still on the
    /// device and without autodiff, and hands over its gradients, in one piece or several. `go_on` is asked before each
    /// part, and stops the work by breaking.
    ///
    /// # Shapes
    /// - loss of a part: `[1]`
    ///
    /// # Errors
    /// Those of `differentiate`, and [`TrainError::Interrupted`] when the work is stopped; the state has not changed
    /// then.
    pub fn update<P>(
        &mut self,
        config: &ExperimentConfig,
        learning_rate: f64,
        device: &Device,
        parts: impl IntoIterator<Item = P>,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
        mut differentiate: impl FnMut(
            &TrainingModel,
            P,
            &mut dyn FnMut(Gradients),
        ) -> Result<Tensor<1>, TrainError>,
    ) -> Result<StepReport, TrainError> {
        // Dropout draws from the device's generator; its seed too follows from the step alone.
        let device = device.clone().autodiff();
        device.seed(stream(config.seed, Stream::Device, self.step as u64).next_u64());
        let mut accumulated = GradientsAccumulator::new();
        let mut losses = vec![Tensor::zeros([1], &device.clone().inner())];
        for part in parts {
            if go_on().is_break() {
                return Err(TrainError::Interrupted);
            }
            let mut add = |gradients: Gradients| {
                let gradients = GradientsParams::from_grads(gradients, &self.model);
                accumulated.accumulate(&self.model, gradients);
            };
            losses.push(differentiate(&self.model, part, &mut add)?);
        }
        let max_norm = config.optimizer.max_grad_norm;
        let (grads, grad_norm) =
            clip_by_global_norm(&self.model, accumulated.grads(), max_norm, &device);
        let model = self.model.clone();
        self.model = model.optimize(&mut self.optimizer, learning_rate.into(), grads);
        if let Some(ema) = &mut self.ema {
            ema.update(&self.model.network);
        }
        self.step += 1;
        Ok(StepReport {
            loss: Tensor::cat(losses, 0).sum(),
            mean_weight: 1.0,
            grad_norm,
            learning_rate,
        })
    }

    /// Goes on with these weights, with an optimizer and an average that start anew.
    pub fn restart_with(
        &mut self,
        network: LanguageModel,
        config: &ExperimentConfig,
        device: &Device,
    ) {
        self.optimizer = adam(&config.optimizer);
        self.go_on_with(network, config, device);
    }

    /// Goes on with these weights, with an average that starts anew at them; the optimizer stays as it is.
    pub fn go_on_with(
        &mut self,
        network: LanguageModel,
        config: &ExperimentConfig,
        device: &Device,
    ) {
        let decay = config.optimizer.ema_decay;
        let network = network.fork(&device.clone().autodiff()).train();
        self.ema = (decay > 0.0).then(|| ExponentialMovingAverage::new(&network, decay));
        self.model.network = network;
    }

    /// Averaged weights where there are some, without autodiff or dropout.
    pub fn evaluation_network(&self) -> LanguageModel {
        match &self.ema {
            Some(ema) => ema.average().clone(),
            None => self.model.network.valid(),
        }
    }
}

/// An optimizer step that was done.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// What was minimised, `[1]`, on the device.
    pub loss: Tensor<1>,
    /// Mean weight of a token in it. The loss over this is a weighted mean of the nats of tokens, in the unit of a
    /// validation whatever the weights are.
    pub mean_weight: f64,
    /// Norm of the gradient before clipping, `[1]`, on the device.
    pub grad_norm: Tensor<1>,
    /// Learning rate of the update.
    pub learning_rate: f64,
}

impl StepReport {
    /// The loss in nats per token, a mean with the weights of training, `[1]`, on the device.
    pub fn nats_per_token(&self) -> Tensor<1> {
        self.loss.clone().div_scalar(self.mean_weight)
    }
}

fn adam(settings: &OptimizerSection) -> ModuleOptimizer {
    AdamConfig::new()
        .with_beta_1(settings.beta_1)
        .with_beta_2(settings.beta_2)
        .with_epsilon(settings.epsilon)
        .init()
}

/// Makes Burn draw initial weights now: it draws each when it is first used, on the device where
/// the module is by then.
struct DrawNow;

impl ModuleVisitor for DrawNow {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}
