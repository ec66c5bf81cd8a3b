use burn::tensor::{Device, Tensor};
use discrete_diffusion::objectives::{Autoregressive, Mdlm, Pgm};
use discrete_diffusion::{NoiseSchedule, NoiseTime, TokenBatch, Weighting};
use pgm_model::{PreQuery, QueryProcessorKind};

use crate::small_networks::*;

/// The head starts at zero, and MASK is never predicted.
#[test]
fn the_first_loss_is_the_entropy_of_a_uniform_guess() {
    let device = Device::flex();
    let expected = ((VOCAB_SIZE - 1) as f32).ln();
    let check = |what: &str, nll: Tensor<2>| {
        for nll in nll.try_into_vec_as::<f32>().expect("floats") {
            assert!(
                (nll - expected).abs() < 1e-6,
                "{what}: {nll} is not {expected}"
            );
        }
    };
    let batch = TokenBatch::unpadded(int_tensor(&[random_tokens(1), random_tokens(2)]));
    let times: [NoiseTime; 2] = [0.2, 0.9].map(|t| NoiseSchedule::default().time(t));
    let low = Weighting::LowVariance;

    let model = partition_config(PreQuery::Sinusoid, QueryProcessorKind::Linear).init(&device);
    let pgm = Pgm::new(MASK).with_weighting(low);
    let groups: Vec<bool> = (0..2 * SEQ_LEN).map(|i| i % 3 == 0).collect();
    let partition = pgm.partition_with(groups, &times).training();
    // Each side counts half.
    check(
        "pgm",
        pgm.token_nll(&model, &batch, &partition).mul_scalar(2.0),
    );

    let mdlm = Mdlm::new(MASK).with_weighting(low);
    let corruption = mdlm
        .corrupt_with(vec![true; 2 * SEQ_LEN], &times)
        .training();
    check(
        "mdlm",
        mdlm.token_nll(&dit_config().init(&device), &batch, &corruption),
    );

    let model = causal_config().init(&device);
    check(
        "causal",
        Autoregressive::new(Some(MASK)).token_nll(&model, &batch),
    );
}
