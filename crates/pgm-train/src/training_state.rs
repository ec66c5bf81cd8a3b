use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsAccumulator, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn_train::{TrainOutput, TrainStep};
use discrete_diffusion::random_streams::{Stream, stream};
use pgm_data::TokenBatch;
use pgm_model::LanguageModel;
use rand::Rng;

use crate::training_model::StepLoss;
use crate::{
    Checkpoint, ExperimentConfig, ExponentialMovingAverage, TrainError, TrainingModel,
    clip_by_global_norm,
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
        let mut optimizer = AdamConfig::new()
            .with_beta_1(config.optimizer.beta_1)
            .with_beta_2(config.optimizer.beta_2)
            .with_epsilon(config.optimizer.epsilon)
            .init();
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

    /// One optimizer step; returns the loss and the norm of the gradient, still on the device.
    ///
    /// # Shapes
    /// - output: `[1]` and `[1]`
    pub fn advance(
        &mut self,
        config: &ExperimentConfig,
        batch: &TokenBatch,
        device: &Device,
    ) -> (Tensor<1>, Tensor<1>) {
        let device = device.clone().autodiff();
        let index = self.step as u64;
        // Dropout draws from the device's generator; its seed too follows from the step alone.
        device.seed(stream(config.seed, Stream::Device, index).next_u64());
        let mut accumulated = GradientsAccumulator::new();
        let mut losses = Vec::new();
        let micro_batch_size = config.training.micro_batch_size();
        let parts =
            self.model
                .training_batches(batch, micro_batch_size, config.seed, index, &device);
        for part in parts {
            let TrainOutput {
                grads,
                item: StepLoss(loss),
            } = TrainStep::step(&self.model, part);
            accumulated.accumulate(&self.model, grads);
            losses.push(loss);
        }
        let max_norm = config.optimizer.max_grad_norm;
        let (grads, norm) =
            clip_by_global_norm(&self.model, accumulated.grads(), max_norm, &device);
        let rate = config.learning_rate_at(self.step);
        let model = self.model.clone();
        self.model = model.optimize(&mut self.optimizer, rate.into(), grads);
        if let Some(ema) = &mut self.ema {
            ema.update(&self.model.network);
        }
        self.step += 1;
        (Tensor::cat(losses, 0).sum(), norm)
    }

    /// Averaged weights where there are some, without autodiff or dropout.
    pub fn evaluation_network(&self) -> LanguageModel {
        match &self.ema {
            Some(ema) => ema.average().clone(),
            None => self.model.network.valid(),
        }
    }
}

/// Makes Burn draw initial weights now: it draws each when it is first used, on the device where
/// the module is by then.
struct DrawNow;

impl ModuleVisitor for DrawNow {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}
