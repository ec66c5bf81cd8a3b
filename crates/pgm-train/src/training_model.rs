use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_std::ExecutionError;
use burn_train::{ItemLazy, TrainOutput, TrainStep};
use discrete_diffusion::objectives::{Autoregressive, ComplementMdlm, Mdlm, Pgm};
use discrete_diffusion::random_streams::{Stream, stream};
use discrete_diffusion::{Corruption, TokenBatch, Weighting, time_sampler};
use pgm_model::LanguageModel;

use crate::ObjectiveKind;

/// A network with its objective: what one optimizer step needs.
#[derive(Module, Debug)]
pub struct TrainingModel {
    /// The network.
    pub network: LanguageModel,
    #[module(skip)]
    objective: ObjectiveKind,
    #[module(skip)]
    weighting: Weighting,
    mask_token: usize,
}

/// Sequences and what is hidden in them.
#[derive(Debug, Clone)]
pub struct TrainingBatch {
    batch: TokenBatch,
    /// Not for autoregressive models.
    corruption: Option<Corruption>,
    /// Tokens that count in the loss of the whole optimizer step.
    n_tokens: usize,
}

impl TrainingBatch {
    /// The mean weight in the loss of the tokens that count, over all parts of an optimizer step; where all tokens cost
    /// the same, the loss is that times this.
    pub fn mean_weight(parts: &[Self]) -> f64 {
        let mut total = 0.0;
        for part in parts {
            let Some(corruption) = &part.corruption else {
                return 1.0;
            };
            let pairs = corruption.weights.iter().zip(&part.batch.valid);
            let counted = pairs.filter(|&(_, &valid)| valid);
            total += counted.map(|(&weight, _)| f64::from(weight)).sum::<f64>();
        }
        let n_tokens = parts.first().map_or(0, |part| part.n_tokens);
        total / n_tokens.max(1) as f64
    }
}

/// The loss of a step, still on the device.
#[derive(Debug, Clone)]
pub struct StepLoss(pub Tensor<1>);

impl ItemLazy for StepLoss {
    fn sync(self) -> Result<Self, ExecutionError> {
        self.0.device().sync()?;
        Ok(self)
    }
}

impl TrainingModel {
    /// # Panics
    /// Panics if the network is not of the objective's family.
    pub fn new(
        network: LanguageModel,
        objective: ObjectiveKind,
        weighting: Weighting,
        mask_token: usize,
    ) -> Self {
        let fits = match objective {
            ObjectiveKind::Pgm => matches!(network, LanguageModel::Partition(_)),
            ObjectiveKind::Mdlm | ObjectiveKind::ComplementMdlm => {
                matches!(network, LanguageModel::Masked(_))
            }
            ObjectiveKind::Ar => matches!(network, LanguageModel::Causal(_)),
        };
        assert!(
            fits,
            "objective `{}` cannot train this network",
            objective.name()
        );
        Self {
            network,
            objective,
            weighting,
            mask_token,
        }
    }

    /// Moves the sequences of an optimizer step to the device, in parts that go through the network
    /// at once, and draws what is hidden in them. The draw depends on the seed and the step alone,
    /// not on the size of the parts.
    ///
    /// # Panics
    /// Panics if `part_size` is 0.
    pub fn training_batches(
        &self,
        host: &pgm_data::TokenBatch,
        part_size: usize,
        seed: u64,
        step: u64,
        device: &Device,
    ) -> Vec<TrainingBatch> {
        let mut rng = stream(seed, Stream::Corruption, step);
        let times = time_sampler::antithetic(host.batch_size, &mut rng);
        let row_tokens = part_size * host.seq_len;
        let parts: Vec<TokenBatch> = host
            .tokens
            .chunks(row_tokens)
            .zip(host.valid.chunks(row_tokens))
            .map(|(tokens, valid)| {
                let tokens: Vec<i64> = tokens.iter().map(|&token| token as i64).collect();
                let shape = [tokens.len() / host.seq_len, host.seq_len];
                let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, shape), device);
                TokenBatch::new(tokens, valid.to_vec())
            })
            .collect();
        let n_tokens = parts.iter().map(|part| self.n_counted(part)).sum();
        parts
            .into_iter()
            .zip(times.chunks(part_size))
            .map(|(batch, times)| {
                let draw = match self.objective {
                    ObjectiveKind::Ar => None,
                    ObjectiveKind::Pgm => Some(self.pgm().partition(&batch, times, &mut rng)),
                    ObjectiveKind::Mdlm => Some(self.mdlm().corrupt(&batch, times, &mut rng)),
                    ObjectiveKind::ComplementMdlm => {
                        Some(self.complement_mdlm().corrupt(&batch, times, &mut rng))
                    }
                };
                TrainingBatch {
                    batch,
                    corruption: draw.map(|draw| draw.training()),
                    n_tokens,
                }
            })
            .collect()
    }

    /// Tokens that count in the loss.
    fn n_counted(&self, batch: &TokenBatch) -> usize {
        match self.objective {
            ObjectiveKind::Ar => Autoregressive::new(Some(self.mask_token)).n_predicted(batch),
            _ => batch.n_valid(),
        }
    }

    /// The part's share of the training loss, weighted nats per valid token; the shares of all parts of an
    /// optimizer step add up to its loss. Over [`TrainingBatch::mean_weight`] it is in nats per token.
    ///
    /// # Shapes
    /// - output: `[1]`
    pub fn loss(&self, input: &TrainingBatch) -> Tensor<1> {
        let batch = &input.batch;
        let nll = match (&self.network, &input.corruption) {
            (LanguageModel::Causal(network), _) => {
                Autoregressive::new(Some(self.mask_token)).token_nll(network, batch)
            }
            (LanguageModel::Partition(network), Some(partition)) => {
                self.pgm().token_nll(network, batch, partition)
            }
            (LanguageModel::Masked(network), Some(corruption)) => match self.objective {
                ObjectiveKind::ComplementMdlm => {
                    self.complement_mdlm().token_nll(network, batch, corruption)
                }
                _ => self.mdlm().token_nll(network, batch, corruption),
            },
            (_, None) => unreachable!("only autoregressive batches have nothing hidden"),
        };
        nll.sum().div_scalar(input.n_tokens.max(1) as f64)
    }

    fn pgm(&self) -> Pgm {
        Pgm::new(self.mask_token).with_weighting(self.weighting)
    }

    fn mdlm(&self) -> Mdlm {
        Mdlm::new(self.mask_token).with_weighting(self.weighting)
    }

    fn complement_mdlm(&self) -> ComplementMdlm {
        ComplementMdlm::new(self.mask_token).with_weighting(self.weighting)
    }
}

impl TrainStep for TrainingModel {
    type Input = TrainingBatch;
    type Output = StepLoss;

    fn step(&self, input: TrainingBatch) -> TrainOutput<StepLoss> {
        let loss = self.loss(&input);
        let gradients = loss.backward();
        TrainOutput::new(self, gradients, StepLoss(loss.inner()))
    }
}
