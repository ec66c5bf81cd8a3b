use std::path::PathBuf;

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_data::prepare;
use pgm_train::{
    Checkpoint, CheckpointChoice, DataSection, ExperimentConfig, LoadedModel, Outcome, Provenance,
    RunFolder, RunLock, TrainError, Trainer, TrainingEvent, TrainingObserver, TrainingState,
    parse_toml, vocabulary,
};
use pgm_weights::WeightsFile;

use crate::{DistillConfig, DistillationMethod, TeacherSource};

/// The file in the folder of a run that says how it was distilled.
pub const DISTILLATION_FILE: &str = "distillation.toml";

/// Runs a distillation in a folder, from wherever it was stopped.
pub struct Distiller<'a> {
    config: DistillConfig,
    folder: RunFolder,
    device: Device,
    provenance: Provenance,
    interrupter: Interrupter,
    observer: &'a mut dyn TrainingObserver,
    lock: Option<RunLock>,
}

impl<'a> Distiller<'a> {
    /// A distillation that [`Self::run`] starts or goes on with. `interrupter` stops it within the current step, with
    /// a checkpoint of the last one that was finished.
    pub fn new(
        config: DistillConfig,
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
            lock: None,
        }
    }

    /// Goes on with the lock of the folder, which [`Self::run`] takes otherwise.
    pub fn with_lock(mut self, lock: RunLock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Says which program runs on which device; it is written into the run's folder.
    pub fn with_provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// Goes through all rounds, validates and draws samples.
    ///
    /// # Errors
    /// When there is no such teacher, the folder holds another run or is in use, a file cannot be read or written, or
    /// the loss or a gradient is not finite; the last checkpoint stays intact.
    ///
    /// # Panics
    /// Panics if a lock was given that is that of another folder.
    pub fn run(mut self) -> Result<Outcome, TrainError> {
        self.config.validate()?;
        let lock = match self.lock.take() {
            Some(lock) => lock,
            None => self.folder.lock()?,
        };
        let is_started = self.folder.config()?.is_some();
        let (experiment, student) = match self.folder.latest_checkpoint()? {
            Some(_) if is_started => self.resume()?,
            _ => self.start()?,
        };
        let method = DistillationMethod::new(self.config, self.folder.clone(), student.mask_token);
        Trainer::new(
            experiment,
            self.folder,
            self.device,
            self.interrupter,
            self.observer,
        )
        .with_provenance(self.provenance)
        .with_method(method)
        .with_lock(lock)
        .run()
    }

    fn file(&self) -> PathBuf {
        self.folder.root().join(DISTILLATION_FILE)
    }

    /// Makes the teacher the run's checkpoint of step 0.
    fn start(&mut self) -> Result<(ExperimentConfig, LoadedModel), TrainError> {
        let (teacher, data) = self.open_teacher()?;
        let experiment = self.config.experiment(&teacher.description, data)?;
        let mut written = self.config.clone();
        written.teacher.checkpoint = teacher.step.to_string();
        let text = written.to_toml();
        pgm_data::write_file(&self.file(), text.as_bytes())?;
        let (vocab_size, mask_token) = vocabulary(&teacher.tokenizer);
        let device = &self.device;
        let mut state = TrainingState::new(&experiment, vocab_size, mask_token, None, device)?;
        state.restart_with(teacher.network.clone(), &experiment, device);
        Checkpoint::save(&self.folder.checkpoints(), &state)?;
        Ok((experiment, teacher))
    }

    /// The teacher and its text, which the folder is told of.
    fn open_teacher(&mut self) -> Result<(LoadedModel, DataSection), TrainError> {
        let section = &self.config.teacher;
        let weights = section.weights.into();
        match (section.source()?, self.config.data.clone()) {
            (TeacherSource::Run(root), _) => {
                let folder = RunFolder::new(root);
                let checkpoint = self.config.teacher_checkpoint()?;
                let teacher = folder.load(checkpoint, weights, &self.device)?;
                self.folder.copy_data_of(&folder)?;
                let mut data = teacher.config.data.clone();
                data.folder = Some(folder.data(&teacher.config));
                Ok((teacher.model, data))
            }
            (TeacherSource::Weights(path), Some(data)) => {
                let file = WeightsFile::open(path, weights)?;
                let prepared_in = data.folder.clone();
                let prepared_in = prepared_in.unwrap_or_else(|| self.folder.root().join("data"));
                let observer = &mut *self.observer;
                let prepared = prepare(&data.prepare_config(prepared_in), &mut |event| {
                    observer.on_event(TrainingEvent::Preparing(event));
                })?;
                let mut teacher = LoadedModel::from_weights(
                    path,
                    &file,
                    prepared.tokenizer().clone(),
                    Some(data.seq_len),
                    section.n_heads,
                    &self.device,
                )?;
                let precision = section.precision.unwrap_or_default();
                teacher.network = teacher.network.with_precision(precision);
                teacher.description.model.precision = precision;
                self.folder.save_data(&prepared)?;
                Ok((teacher, data))
            }
            (TeacherSource::Weights(_), None) => {
                unreachable!("the configuration was validated")
            }
        }
    }

    /// Checks that the run in the folder is this one.
    fn resume(&self) -> Result<(ExperimentConfig, LoadedModel), TrainError> {
        let path = self.file();
        let text = std::fs::read_to_string(&path).map_err(|error| TrainError::File {
            action: "read",
            path,
            reason: format!("{error}; the folder holds a run that is no distillation"),
        })?;
        let found: DistillConfig = parse_toml(&text, &[])?;
        let mut wanted = self.config.clone();
        // What `last` and `best` meant when the run was started, and rounds may be added.
        if !matches!(self.config.teacher_checkpoint()?, CheckpointChoice::Step(_)) {
            wanted.teacher.checkpoint = found.teacher.checkpoint.clone();
        }
        let differs = |key: &str| TrainError::OtherRun {
            path: self.folder.root().to_path_buf(),
            key: key.to_string(),
        };
        if wanted.teacher != found.teacher {
            return Err(differs("teacher"));
        }
        if wanted.data != found.data {
            return Err(differs("data"));
        }
        let mut section = wanted.distillation.clone();
        section.n_rounds = found.distillation.n_rounds;
        if section != found.distillation {
            return Err(differs("distillation"));
        }
        let run = self.folder.load(
            CheckpointChoice::Last,
            pgm_train::WeightsChoice::Raw,
            &self.device,
        )?;
        let data = run.config.data.clone();
        let experiment = self.config.experiment(&run.model.description, data)?;
        pgm_data::write_file(&self.file(), wanted.to_toml().as_bytes())?;
        Ok((experiment, run.model))
    }
}
