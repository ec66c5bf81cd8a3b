use std::time::Instant;

use burn::data::dataset::Dataset;
use burn::module::Module;
use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_generation::{Context, GenerationError, Generator};
use pgm_perplexity::{EvaluationTimes, Perplexity, PerplexityError, PerplexityReport};

use crate::experiment_data::ExperimentData;
use crate::step_losses::StepLosses;
use crate::throughput::Throughput;
use crate::training_state::TrainingState;
use crate::{
    Checkpoint, ExperimentConfig, MetricRecord, MetricsLog, ObjectiveTraining, Provenance,
    RunFolder, RunLock, StartingWeights, TrainError, TrainingEvent, TrainingMethod,
    TrainingObserver, ValidationScore, control_flow, loss_curve,
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
    provenance: Provenance,
    interrupter: Interrupter,
    observer: &'a mut dyn TrainingObserver,
    method: Box<dyn TrainingMethod + 'a>,
    lock: Option<RunLock>,
    start: Option<StartingWeights>,
}

impl<'a> Trainer<'a> {
    /// A run that [`Self::run`] starts or goes on with. `interrupter` stops it within the current
    /// step, with a checkpoint of the last one that was finished.
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
            provenance: Provenance::default(),
            interrupter,
            observer,
            method: Box::new(ObjectiveTraining),
            lock: None,
            start: None,
        }
    }

    /// Goes on with the lock of the folder, which [`Self::run`] takes otherwise.
    ///
    /// # Panics
    /// Panics if it is that of another folder.
    pub fn with_lock(mut self, lock: RunLock) -> Self {
        assert_eq!(lock.folder(), &self.folder, "the lock of another run");
        self.lock = Some(lock);
        self
    }

    /// Begins with these weights; a run that has a checkpoint goes on from it.
    pub fn with_start(mut self, start: StartingWeights) -> Self {
        self.start = Some(start);
        self
    }

    /// Does something else than training on the objective in each step.
    pub fn with_method(mut self, method: impl TrainingMethod + 'a) -> Self {
        self.method = Box::new(method);
        self
    }

    /// Says which program runs on which device; it is written into the run's folder.
    pub fn with_provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// Prepares the data, trains to the last step, validates and draws samples.
    ///
    /// # Errors
    /// When the folder holds another run or is in use, a file cannot be read or written, or the loss or a
    /// gradient is not finite; the last checkpoint stays intact.
    pub fn run(mut self) -> Result<Outcome, TrainError> {
        self.config.validate()?;
        let lock = match self.lock.take() {
            Some(lock) => lock,
            None => self.folder.lock()?,
        };
        lock.remove_leftovers()?;
        let start = self.start.take();
        self.folder
            .check_origin(start.as_ref().map(|start| &start.origin))?;
        self.folder.start(&self.config)?;
        let checkpoint = self.folder.latest_checkpoint()?;
        // A run that has done steps has left the weights that it began with behind.
        let start = start.filter(|_| checkpoint.is_none());
        if let Some(start) = &start {
            self.folder.keep_start(start)?;
        }
        let data = ExperimentData::prepare(&self.config, &self.folder, self.observer)?;
        let mut state = TrainingState::new(
            &self.config,
            data.vocab_size,
            data.mask_token,
            checkpoint.as_ref(),
            &self.device,
        )?;
        if let Some(start) = start {
            let network = start.network_for(&self.config, data.vocab_size, &self.device)?;
            state.restart_with(network, &self.config, &self.device);
        }
        self.folder.append_history(&self.provenance, state.step)?;
        self.observer.on_event(TrainingEvent::Ready {
            n_train_sequences: data.train.len(),
            n_validation_sequences: data.validation.len(),
            vocab_size: data.vocab_size,
            n_parameters: state.model.network.num_params(),
        });
        if state.step > 0 {
            self.observer
                .on_event(TrainingEvent::Resumed { step: state.step });
        }
        let is_validated = match &checkpoint {
            Some(checkpoint) => checkpoint.validation()?.is_some(),
            None => false,
        };
        let expected_weight = self.method.expected_weight(&self.config);
        MetricsLog::convert_earlier(&self.folder.metrics(), expected_weight)?;
        let mut metrics = MetricsLog::open(&self.folder.metrics(), state.step, is_validated)?;
        if !self.train(&data, &mut state, &mut metrics)? {
            return Ok(Outcome::Interrupted { step: state.step });
        }
        self.finish(&data, &state, &mut metrics)
    }

    /// Trains to the last step; false if it was stopped before.
    fn train(
        &mut self,
        data: &ExperimentData,
        state: &mut TrainingState,
        metrics: &mut MetricsLog,
    ) -> Result<bool, TrainError> {
        let n_steps = self.config.training.n_steps;
        let mut clock = Throughput::start(state.step, n_steps);
        let mut batches = data.batches(&self.config, state.step)?;
        let mut losses = StepLosses::default();
        // What the folder has of the current step.
        let mut saved = self.folder.latest_checkpoint()?;
        loop {
            let step = state.step;
            let is_last = step >= n_steps;
            if step > 0 && (is_last || step.is_multiple_of(self.config.evaluation.every)) {
                let paused = Instant::now();
                self.evaluate(data, state, &mut losses, &mut saved, metrics)?;
                clock.pause(paused.elapsed());
            }
            if is_last && !self.interrupter.should_stop() {
                return Ok(true);
            }
            if self.interrupter.should_stop() {
                self.save(state, &mut losses, &mut saved)?;
                return Ok(false);
            }

            let (_, batch) = batches.next_batch()?;
            let mut go_on = || control_flow(&self.interrupter);
            let advanced =
                self.method
                    .advance(state, &self.config, &batch, &self.device, &mut go_on);
            let report = match advanced {
                // Part of a step is none: the run goes on with all of it.
                Err(TrainError::Interrupted) => {
                    self.save(state, &mut losses, &mut saved)?;
                    return Ok(false);
                }
                advanced => advanced?,
            };
            let step = state.step;
            let learning_rate = report.learning_rate;
            losses.push(step, report);

            let has_records = self.method.has_records_after(step);
            let is_logged = step.is_multiple_of(self.config.training.log_every);
            if is_logged || step == n_steps || has_records {
                self.log(step, learning_rate, &mut losses, &clock, metrics)?;
            }
            if has_records {
                for record in self.method.records_after(step, &metrics.records()?) {
                    metrics.push(&MetricRecord::Method(record))?;
                }
            }
            if step == n_steps
                || step.is_multiple_of(self.config.training.checkpoint_every)
                || self.method.keeps_checkpoint(step)
            {
                self.save(state, &mut losses, &mut saved)?;
            }
        }
    }

    /// Writes the mean loss since the last line into the metrics, and shows it.
    fn log(
        &mut self,
        step: usize,
        learning_rate: f64,
        losses: &mut StepLosses,
        clock: &Throughput,
        metrics: &mut MetricsLog,
    ) -> Result<(), TrainError> {
        self.check(losses)?;
        let Some(mean) = losses.take_mean() else {
            return Ok(());
        };
        let tokens_per_step = self.config.training.batch_size * self.config.data.seq_len;
        let tokens_per_second = clock.rate(step) * tokens_per_step as f64;
        metrics.push(&MetricRecord::Train {
            step,
            loss: mean.loss,
            mean_weight: Some(mean.mean_weight),
            learning_rate,
            grad_norm: mean.grad_norm,
            tokens_per_second,
            seconds: clock.elapsed().as_secs_f64(),
        })?;
        self.observer.on_event(TrainingEvent::Step {
            step,
            n_steps: self.config.training.n_steps,
            loss: mean.loss,
            loss_unit: self.method.loss_unit(),
            learning_rate,
            grad_norm: mean.grad_norm,
            tokens_per_second,
            remaining: clock.remaining(step),
        });
        Ok(())
    }

    /// Stops the run if a step since the last look had a loss or gradient that is not finite.
    fn check(&self, losses: &mut StepLosses) -> Result<(), TrainError> {
        let Some(bad) = losses.check()? else {
            return Ok(());
        };
        Err(TrainError::Diverged {
            step: bad.step,
            quantity: bad.quantity,
            value: bad.value,
            checkpoint: self.folder.latest_checkpoint()?.map(|found| found.path),
        })
    }

    /// Writes a checkpoint of the current step, unless `saved` is one already.
    fn save(
        &mut self,
        state: &TrainingState,
        losses: &mut StepLosses,
        saved: &mut Option<Checkpoint>,
    ) -> Result<(), TrainError> {
        if state.step == 0 || saved.as_ref().is_some_and(|saved| saved.step == state.step) {
            return Ok(());
        }
        self.check(losses)?;
        let checkpoint = Checkpoint::save(&self.folder.checkpoints(), state)?;
        self.prune()?;
        self.observer.on_event(TrainingEvent::Saved {
            step: checkpoint.step,
            path: checkpoint.path.clone(),
        });
        *saved = Some(checkpoint);
        Ok(())
    }

    fn prune(&self) -> Result<(), TrainError> {
        let training = &self.config.training;
        Checkpoint::prune(
            &self.folder.checkpoints(),
            training.keep_checkpoints,
            training.keep_best,
            &|step| self.method.keeps_checkpoint(step),
        )
    }

    /// Saves, validates and draws samples, unless the checkpoint of this step was validated before.
    fn evaluate(
        &mut self,
        data: &ExperimentData,
        state: &TrainingState,
        losses: &mut StepLosses,
        saved: &mut Option<Checkpoint>,
        metrics: &mut MetricsLog,
    ) -> Result<(), TrainError> {
        self.save(state, losses, saved)?;
        let Some(checkpoint) = saved else {
            return Ok(());
        };
        if checkpoint.validation()?.is_some() {
            return Ok(());
        }
        let n_sequences = Some(self.config.evaluation.n_sequences);
        let Some(report) = self.validate(data, state, n_sequences)? else {
            return Ok(());
        };
        metrics.push(&MetricRecord::validation(state.step, &report))?;
        self.draw_loss_curve()?;
        let n_samples = self.config.evaluation.n_samples;
        if state.step < self.config.training.n_steps && n_samples > 0 {
            let Some(texts) = self.draw_samples(data, state, n_samples)? else {
                return Ok(());
            };
            self.folder.save_samples_of(state.step, &texts)?;
        }
        checkpoint.set_validation(ValidationScore {
            nll: report.nll,
            n_sequences: report.n_sequences,
        })?;
        self.prune()
    }

    /// Perplexity with averaged weights; `None` if it was stopped.
    fn validate(
        &mut self,
        data: &ExperimentData,
        state: &TrainingState,
        n_sequences: Option<usize>,
    ) -> Result<Option<PerplexityReport>, TrainError> {
        let estimate = Perplexity {
            n_sequences,
            n_draws: self.config.evaluation.n_draws,
            times: EvaluationTimes::Published,
            batch_size: self.config.evaluation.batch_size,
            seed: self.config.seed,
            mask_token: data.mask_token,
        };
        let observer = &mut *self.observer;
        let interrupter = &self.interrupter;
        let result = estimate.estimate(
            &state.evaluation_network(),
            &data.validation,
            &self.device,
            &mut Vec::new(),
            &mut |done, total| {
                observer.on_event(TrainingEvent::Validating { done, total });
                control_flow(interrupter)
            },
        );
        let report = match result {
            Ok(report) => report,
            Err(PerplexityError::Interrupted) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        self.observer.on_event(TrainingEvent::Validated {
            step: state.step,
            report: &report,
        });
        Ok(Some(report))
    }

    fn finish(
        mut self,
        data: &ExperimentData,
        state: &TrainingState,
        metrics: &mut MetricsLog,
    ) -> Result<Outcome, TrainError> {
        let step = state.step;
        let Some(validation) = self.validate(data, state, None)? else {
            return Ok(Outcome::Interrupted { step });
        };
        metrics.push(&MetricRecord::validation(step, &validation))?;
        self.draw_loss_curve()?;
        let n_sequences = self.config.evaluation.n_samples_at_end;
        let Some(samples) = self.draw_samples(data, state, n_sequences)? else {
            return Ok(Outcome::Interrupted { step });
        };
        self.folder.save_samples(&samples)?;
        Ok(Outcome::Finished {
            validation,
            samples,
        })
    }

    fn draw_loss_curve(&self) -> Result<(), TrainError> {
        let records = MetricsLog::read(&self.folder.metrics())?;
        loss_curve::draw(&records, self.method.loss_unit(), &self.folder.loss_curve())
    }

    /// Draws text; `None` if it was stopped.
    fn draw_samples(
        &mut self,
        data: &ExperimentData,
        state: &TrainingState,
        n_sequences: usize,
    ) -> Result<Option<Vec<String>>, TrainError> {
        if n_sequences == 0 {
            return Ok(Some(Vec::new()));
        }
        let tokenizer = data.prepared.tokenizer();
        let generator = Generator {
            settings: self.config.sampling.clone(),
            batch_size: n_sequences,
            seed: self.config.seed,
            mask_token: data.mask_token as u32,
            eos_token: None,
        };
        let context = Context::new(self.config.data.seq_len, tokenizer.bos_id());
        let contexts = vec![context; n_sequences];
        let observer = &mut *self.observer;
        let interrupter = &self.interrupter;
        let network = state.evaluation_network();
        let result = generator.generate(&network, &contexts, &self.device, &mut |heard| {
            observer.on_event(TrainingEvent::Sampling {
                done: heard.n_done(),
                total: heard.n_steps(),
            });
            control_flow(interrupter)
        });
        let generated = match result {
            Ok(generated) => generated,
            Err(GenerationError::Interrupted) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let texts = generated
            .sequences
            .iter()
            .map(|sequence| tokenizer.decode_sequence(sequence))
            .collect::<Result<Vec<_>, _>>()?;
        self.observer.on_event(TrainingEvent::Sampled {
            step: state.step,
            texts: &texts,
        });
        Ok(Some(texts))
    }
}
