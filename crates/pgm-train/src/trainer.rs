use std::time::Instant;

use burn::data::dataset::Dataset;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn_train::{Interrupter, TrainOutput, TrainStep};
use discrete_diffusion::random_streams::{Stream, stream};
use pgm_data::{PackedDataset, PackingConfig, PreparedData, ShuffledBatches, TokenBatch, prepare};
use pgm_eval::{Context, EvalError, Generator, Perplexity, PerplexityReport, Throughput};
use pgm_model::LanguageModel;
use rand::Rng;

use crate::run_folder::vocabulary;
use crate::training_model::StepLoss;
use crate::{
    Checkpoint, ExperimentConfig, ExponentialMovingAverage, MetricRecord, MetricsLog, RunFolder,
    TrainError, TrainingEvent, TrainingModel, TrainingObserver, clip_by_global_norm, loss_curve,
};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps are done.
    Finished {
        /// Perplexity on all of the held-out text, with averaged weights.
        validation: PerplexityReport,
        /// Text drawn from the model.
        samples: Vec<String>,
    },
    /// It was stopped, and can be resumed from its last checkpoint.
    Interrupted {
        /// Optimizer steps done.
        step: usize,
    },
}

/// Runs an experiment in a folder, from wherever it was stopped.
pub struct Trainer<'a> {
    config: ExperimentConfig,
    folder: RunFolder,
    device: Device,
    interrupter: Interrupter,
    observer: &'a mut dyn TrainingObserver,
}

/// What changes from step to step.
struct Progress {
    model: TrainingModel,
    optimizer: ModuleOptimizer,
    ema: Option<ExponentialMovingAverage<LanguageModel>>,
    step: usize,
}

/// What does not.
struct Setting {
    train: PackedDataset,
    validation: PackedDataset,
    batches: ShuffledBatches,
    data: PreparedData,
    vocab_size: usize,
    mask_token: usize,
}

impl<'a> Trainer<'a> {
    /// A run that [`Self::run`] starts or goes on with. `interrupter` stops it after the current
    /// step, with a checkpoint.
    pub fn new(
        config: ExperimentConfig,
        folder: RunFolder,
        device: Device,
        interrupter: Interrupter,
        observer: &'a mut dyn TrainingObserver,
    ) -> Self {
        Self {
            config,
            folder,
            device,
            interrupter,
            observer,
        }
    }

    /// Prepares the data, trains to the last step, validates and draws samples.
    ///
    /// # Errors
    /// When the folder holds another run, a file cannot be read or written, or the loss is not
    /// finite; the last checkpoint stays intact.
    pub fn run(mut self) -> Result<Outcome, TrainError> {
        self.config.validate()?;
        self.folder.start(&self.config)?;
        let setting = self.prepare()?;
        let mut progress = self.build(&setting)?;
        let mut metrics = MetricsLog::open(&self.folder.metrics(), progress.step)?;
        if !self.train(&setting, &mut progress, &mut metrics)? {
            return Ok(Outcome::Interrupted {
                step: progress.step,
            });
        }
        self.finish(&setting, &progress, &mut metrics)
    }

    fn prepare(&mut self) -> Result<Setting, TrainError> {
        let config = &self.config;
        let prepare_config = config.data.prepare_config(self.folder.data(config));
        let observer = &mut *self.observer;
        let data = prepare(&prepare_config, &mut |event| {
            observer.on_event(TrainingEvent::Preparing(event));
        })?;
        self.folder.save_tokenizer(data.tokenizer())?;
        let packing = PackingConfig::for_tokenizer(data.tokenizer());
        let seq_len = config.data.seq_len;
        let train = PackedDataset::new(data.train().clone(), seq_len, packing)?;
        let validation = PackedDataset::new(data.validation().clone(), seq_len, packing)?;
        let batches = ShuffledBatches::new(train.len(), config.training.batch_size, config.seed)?;
        let (vocab_size, mask_token) = vocabulary(data.tokenizer());
        Ok(Setting {
            train,
            validation,
            batches,
            data,
            vocab_size,
            mask_token,
        })
    }

    fn build(&mut self, setting: &Setting) -> Result<Progress, TrainError> {
        let config = &self.config;
        let network_config = config
            .model
            .network(config.objective.kind, setting.vocab_size);
        // Initial weights are drawn on the CPU, so that every backend starts from the same ones, and
        // at once.
        let cpu = Device::flex();
        cpu.seed(config.seed);
        let network = network_config.init(&cpu);
        network.visit(&mut DrawNow);
        let n_parameters = network.num_params();
        let mut optimizer = AdamConfig::new()
            .with_beta_1(config.optimizer.beta_1)
            .with_beta_2(config.optimizer.beta_2)
            .with_epsilon(config.optimizer.epsilon)
            .init();
        let checkpoint = self.folder.latest_checkpoint()?;
        let decay = config.optimizer.ema_decay;
        let training_device = self.device.clone().autodiff();
        let (network, ema, step) = match &checkpoint {
            None => {
                let network = network.fork(&training_device).train();
                let ema = (decay > 0.0).then(|| ExponentialMovingAverage::new(&network, decay));
                (network, ema, 0)
            }
            Some(checkpoint) => {
                let average = checkpoint.load_average(network.clone().fork(&self.device))?;
                let updates = checkpoint.ema_updates()?;
                let ema = average.zip(updates).map(|(average, updates)| {
                    ExponentialMovingAverage::resume(average, decay, updates)
                });
                let network = checkpoint.load_network(network)?;
                optimizer = checkpoint.load_optimizer(optimizer)?;
                (network.fork(&training_device).train(), ema, checkpoint.step)
            }
        };
        self.observer.on_event(TrainingEvent::Ready {
            n_train_sequences: setting.train.len(),
            n_validation_sequences: setting.validation.len(),
            vocab_size: setting.vocab_size,
            n_parameters,
        });
        if step > 0 {
            self.observer.on_event(TrainingEvent::Resumed { step });
        }
        let model = TrainingModel::new(
            network,
            config.objective.kind,
            config.objective.weighting,
            setting.mask_token,
        );
        Ok(Progress {
            model,
            optimizer,
            ema,
            step,
        })
    }

    /// Trains to the last step; false if it was stopped before.
    fn train(
        &mut self,
        setting: &Setting,
        progress: &mut Progress,
        metrics: &mut MetricsLog,
    ) -> Result<bool, TrainError> {
        let n_steps = self.config.training.n_steps;
        let tokens_per_step = self.config.training.batch_size * self.config.data.seq_len;
        let mut clock = Throughput::start(progress.step, n_steps);
        let mut losses: Vec<Tensor<1>> = Vec::new();
        let mut last_saved = progress.step;
        while progress.step < n_steps {
            if self.interrupter.should_stop() {
                if progress.step > last_saved {
                    self.save(progress)?;
                }
                return Ok(false);
            }
            let (loss, grad_norm) = self.step(setting, progress)?;
            losses.push(loss);
            let step = progress.step;
            let training = &self.config.training;
            if step.is_multiple_of(training.log_every) || step == n_steps {
                let loss = self.mean_loss(std::mem::take(&mut losses), step)?;
                let rate = clock.rate(step) * tokens_per_step as f64;
                metrics.push(&MetricRecord::Train {
                    step,
                    loss,
                    learning_rate: self.config.optimizer.learning_rate_at(step - 1),
                    grad_norm: read_scalar(grad_norm)?,
                    tokens_per_second: rate,
                    seconds: clock.elapsed().as_secs_f64(),
                })?;
                self.observer.on_event(TrainingEvent::Step {
                    step,
                    n_steps,
                    loss,
                    tokens_per_second: rate,
                    remaining: clock.remaining(step),
                });
            }
            let is_last = step == n_steps;
            if is_last || step.is_multiple_of(self.config.training.checkpoint_every) {
                self.mean_loss(losses.clone(), step)?;
                self.save(progress)?;
                last_saved = step;
            }
            if !is_last && step.is_multiple_of(self.config.evaluation.every) {
                let paused = Instant::now();
                let n_sequences = Some(self.config.evaluation.n_sequences);
                if let Some(report) = self.validate(setting, progress, n_sequences)? {
                    push_validation(metrics, step, &report)?;
                }
                loss_curve::draw(
                    &MetricsLog::read(&self.folder.metrics())?,
                    &self.folder.loss_curve(),
                )?;
                clock.pause(paused.elapsed());
            }
        }
        Ok(true)
    }

    /// One optimizer step; returns the loss and the norm of the gradient, still on the device.
    fn step(
        &self,
        setting: &Setting,
        progress: &mut Progress,
    ) -> Result<(Tensor<1>, Tensor<1>), TrainError> {
        let config = &self.config;
        let device = self.device.clone().autodiff();
        let index = progress.step as u64;
        // Dropout draws from the device's generator; its seed too follows from the step alone.
        device.seed(stream(config.seed, Stream::Device, index).next_u64());
        let host = TokenBatch::collect(&setting.train, &setting.batches.indices(index))?;
        let batch = progress
            .model
            .training_batch(&host, config.seed, index, &device);
        let TrainOutput {
            grads,
            item: StepLoss(loss),
        } = TrainStep::step(&progress.model, batch);
        let max_norm = config.optimizer.max_grad_norm;
        let (grads, norm) = clip_by_global_norm(&progress.model, grads, max_norm, &device);
        let rate = config.optimizer.learning_rate_at(progress.step);
        progress.model =
            progress
                .model
                .clone()
                .optimize(&mut progress.optimizer, rate.into(), grads);
        if let Some(ema) = &mut progress.ema {
            ema.update(&progress.model.network);
        }
        progress.step += 1;
        Ok((loss, norm))
    }

    fn mean_loss(&self, losses: Vec<Tensor<1>>, step: usize) -> Result<f64, TrainError> {
        if losses.is_empty() {
            return Ok(0.0);
        }
        let value = read_scalar(Tensor::cat(losses, 0).mean())?;
        if value.is_finite() {
            return Ok(value);
        }
        Err(TrainError::Diverged {
            step,
            value,
            checkpoint: self.folder.latest_checkpoint()?.map(|found| found.path),
        })
    }

    fn save(&mut self, progress: &Progress) -> Result<(), TrainError> {
        let folder = self.folder.checkpoints();
        let saved = Checkpoint::save(
            &folder,
            progress.step,
            &progress.model.network,
            progress.ema.as_ref(),
            &progress.optimizer,
        )?;
        Checkpoint::prune(&folder, self.config.training.keep_checkpoints)?;
        self.observer.on_event(TrainingEvent::Saved {
            step: saved.step,
            path: saved.path,
        });
        Ok(())
    }

    /// Perplexity with averaged weights; `None` if it was stopped.
    fn validate(
        &mut self,
        setting: &Setting,
        progress: &Progress,
        n_sequences: Option<usize>,
    ) -> Result<Option<PerplexityReport>, TrainError> {
        let estimate = Perplexity {
            n_sequences,
            n_draws: self.config.evaluation.n_draws,
            batch_size: self.config.evaluation.batch_size,
            seed: self.config.seed,
            mask_token: setting.mask_token,
        };
        let observer = &mut *self.observer;
        let interrupter = &self.interrupter;
        let result = estimate.estimate(
            &progress.evaluation_network(),
            &setting.validation,
            &self.device,
            &mut |done, total| {
                observer.on_event(TrainingEvent::Validating { done, total });
                !interrupter.should_stop()
            },
        );
        let report = match result {
            Ok(report) => report,
            Err(EvalError::Interrupted) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        self.observer.on_event(TrainingEvent::Validated {
            step: progress.step,
            report: &report,
        });
        Ok(Some(report))
    }

    fn finish(
        mut self,
        setting: &Setting,
        progress: &Progress,
        metrics: &mut MetricsLog,
    ) -> Result<Outcome, TrainError> {
        let step = progress.step;
        let Some(validation) = self.validate(setting, progress, None)? else {
            return Ok(Outcome::Interrupted { step });
        };
        push_validation(metrics, step, &validation)?;
        loss_curve::draw(
            &MetricsLog::read(&self.folder.metrics())?,
            &self.folder.loss_curve(),
        )?;
        let Some(samples) = self.draw_samples(setting, progress)? else {
            return Ok(Outcome::Interrupted { step });
        };
        Ok(Outcome::Finished {
            validation,
            samples,
        })
    }

    /// Draws text and writes it to the folder; `None` if it was stopped.
    fn draw_samples(
        &mut self,
        setting: &Setting,
        progress: &Progress,
    ) -> Result<Option<Vec<String>>, TrainError> {
        let sampling = &self.config.sampling;
        if sampling.n_sequences == 0 {
            return Ok(Some(Vec::new()));
        }
        let tokenizer = setting.data.tokenizer();
        let generator = Generator {
            settings: sampling.settings.clone(),
            batch_size: sampling.n_sequences,
            seed: self.config.seed,
            mask_token: setting.mask_token as u32,
            eos_token: None,
        };
        let context = Context::new(self.config.data.seq_len, tokenizer.bos_id());
        let contexts = vec![context; sampling.n_sequences];
        let observer = &mut *self.observer;
        let interrupter = &self.interrupter;
        let network = progress.evaluation_network();
        let result = generator.generate(&network, &contexts, &self.device, &mut |done, total| {
            observer.on_event(TrainingEvent::Sampling { done, total });
            !interrupter.should_stop()
        });
        let generated = match result {
            Ok(generated) => generated,
            Err(EvalError::Interrupted) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let texts = generated
            .sequences
            .iter()
            .map(|sequence| tokenizer.decode(sequence))
            .collect::<Result<Vec<_>, _>>()?;
        let separator = format!("\n{}\n", "-".repeat(72));
        pgm_data::write_file(&self.folder.samples(), texts.join(&separator).as_bytes())?;
        self.observer
            .on_event(TrainingEvent::Sampled { texts: &texts });
        Ok(Some(texts))
    }
}

impl Progress {
    /// Averaged weights where there are some, without autodiff or dropout.
    fn evaluation_network(&self) -> LanguageModel {
        match &self.ema {
            Some(ema) => ema.average().clone(),
            None => self.model.network.valid(),
        }
    }
}

fn push_validation(
    metrics: &mut MetricsLog,
    step: usize,
    report: &PerplexityReport,
) -> Result<(), TrainError> {
    metrics.push(&MetricRecord::Validation {
        step,
        nll: report.nll,
        nll_standard_error: Some(report.nll_standard_error).filter(|error| error.is_finite()),
        perplexity: report.perplexity,
    })
}

fn read_scalar(tensor: Tensor<1>) -> Result<f64, TrainError> {
    let values = tensor
        .try_into_vec_as::<f32>()
        .map_err(|error| TrainError::Device {
            reason: error.to_string(),
        })?;
    Ok(values[0] as f64)
}

/// Makes Burn draw initial weights now: it draws each when it is first used, on the device where
/// the module is by then.
struct DrawNow;

impl ModuleVisitor for DrawNow {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}
