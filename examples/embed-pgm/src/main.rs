//! Trains a small partition generative model on counting digits, and draws from it.

use burn::optim::{AdamConfig, GradientsParams};
use burn::prelude::*;
use discrete_diffusion::objectives::Pgm;
use discrete_diffusion::random_streams::{Stream, stream};
use discrete_diffusion::samplers::*;
use discrete_diffusion::{TokenBatch, TokenSampler, Weighting, time_sampler};
use pgm_model::{PartitionTransformer, PartitionTransformerConfig};

/// Digits are the tokens 0 to 9; MASK is never an input, and never predicted.
const MASK: usize = 10;

/// Nats a token: each is predicted from the other group of a random partition.
fn loss(model: &PartitionTransformer, step: u64, device: &Device) -> Tensor<1> {
    let rows = Tensor::<1, Int>::arange(0..40, device).reshape([40, 1]);
    let columns = Tensor::<1, Int>::arange(0..16, device).reshape([1, 16]);
    let batch = TokenBatch::unpadded((rows + columns).remainder_scalar(10));
    let mut rng = stream(1, Stream::Corruption, step);
    let times = time_sampler::antithetic(40, &mut rng);
    let objective = Pgm::new(MASK).with_weighting(Weighting::LowVariance);
    let partition = objective.partition(&batch, &times, &mut rng).training();
    objective.token_nll(model, &batch, &partition).mean() * 2.0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut config = PartitionTransformerConfig::default();
    (config.vocab_size, config.d_model, config.n_heads) = (11, 32, 2);
    (config.n_encoder_blocks, config.n_decoder_blocks) = (1, 1);
    (config.cond_dim, config.dropout) = (8, 0.0);
    let mut model = config.init(&device);
    let mut optimizer = AdamConfig::new().init();
    let before: f32 = loss(&model, 0, &device).into_scalar();
    for step in 1..=600 {
        let grads = GradientsParams::from_grads(loss(&model, step, &device).backward(), &model);
        model = optimizer.step(1e-2, model, grads);
    }
    let after: f32 = loss(&model, 0, &device).into_scalar();
    println!("loss {before:.3} nats a token before training, {after:.3} after");
    assert!(after < 0.5 * before, "the model learned nothing");

    let request = SampleRequest {
        contexts: &[Context::new(16, 3)],
        tokens: TokenSampler::new(0.0)?.excluding(MASK),
        seed: 1,
        first_sequence: 0,
        device: &Device::flex(),
    };
    let denoiser = &model.valid();
    let samples = DiffusionSampler::new(RevealSchedule::Even, 16).sample(
        &KnownPredictor { denoiser },
        &request,
        &mut |_| std::ops::ControlFlow::Continue(()),
    )?;
    println!("sample {:?}", samples.sequences[0]);
    Ok(())
}
