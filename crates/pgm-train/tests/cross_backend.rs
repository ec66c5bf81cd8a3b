//! A checkpoint trained on one backend means the same on every other.

mod tiny_run;

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use burn::data::dataset::InMemDataset;
use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};
use burn_train::Interrupter;
use discrete_diffusion::{CausalDenoiser, PartitionDenoiser, SequenceDenoiser};
use pgm_data::TokenSequence;
use pgm_generation::{Context, Generator, SamplingSettings};
use pgm_model::LanguageModel;
use pgm_perplexity::{EvaluationTimes, Perplexity};
use pgm_train::{
    CheckpointChoice, ExponentialMovingAverage, LoadedRun, MetricRecord, MetricsLog, RunFolder,
    WeightsChoice,
};
use tiny_run::{Silent, config, run};

/// Absolute, on logits of a few units; both sides compute in float32.
const TOLERANCE: f32 = 1e-3;

/// The backends of this build besides the one that trains.
fn other_devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
    ]
}

fn logits(run: &LoadedRun, device: &Device) -> Vec<f32> {
    let tokens = Tensor::<2, Int>::from_ints(
        [[0, 5, 9, 40, 7, 260, 33, 2], [0, 8, 1, 1, 90, 100, 3, 3]],
        device,
    );
    let logits = match &run.model.network {
        LanguageModel::Partition(network) => {
            let groups =
                Tensor::from_ints([[0, 1, 1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0]], device);
            network.partition_logits(tokens, groups).logits
        }
        LanguageModel::Masked(network) => network.logits(tokens),
        LanguageModel::Causal(network) => network.next_logits(tokens),
    };
    logits.try_into_vec_as::<f32>().expect("logits")
}

fn samples(run: &LoadedRun, device: &Device) -> Vec<Vec<u32>> {
    let generator = Generator {
        settings: SamplingSettings {
            n_steps: 3,
            ..Default::default()
        },
        batch_size: 2,
        seed: 5,
        mask_token: run.model.mask_token as u32,
        eos_token: None,
    };
    let contexts = vec![Context::new(8, run.model.tokenizer.bos_id()); 2];
    let generated = generator
        .generate(&run.model.network, &contexts, device, &mut |_| {
            ControlFlow::Continue(())
        })
        .expect("samples");
    generated.sequences
}

/// Nats per token of two short rows, as published and as an upper bound.
fn perplexities(run: &LoadedRun, device: &Device) -> [f64; 2] {
    let row = |first: u32| TokenSequence {
        tokens: (0..8).map(|i| (first + 31 * i) % 270).collect(),
        valid: (0..8).map(|i| i < 7).collect(),
    };
    let rows = InMemDataset::new(vec![row(0), row(5)]);
    [EvaluationTimes::Published, EvaluationTimes::Full].map(|times| {
        let perplexity = Perplexity {
            n_sequences: None,
            n_draws: 2,
            times,
            batch_size: 2,
            seed: 1,
            mask_token: run.model.mask_token,
        };
        let mut scores = Vec::new();
        let report = perplexity.estimate(
            &run.model.network,
            &rows,
            device,
            &mut scores,
            &mut |_, _| ControlFlow::Continue(()),
        );
        report.expect("a perplexity").nll
    })
}

/// Of every step.
fn losses(folder: &RunFolder) -> Vec<f64> {
    let records = MetricsLog::read(&folder.metrics()).expect("metrics");
    let loss = |record: &MetricRecord| match record {
        MetricRecord::Train { loss, .. } => Some(*loss),
        _ => None,
    };
    records.iter().filter_map(loss).collect()
}

/// Tests of this file run one after the other: the generator of a device is the process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn a_few_steps_elsewhere_give_the_losses_of_flex() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().unwrap();
    let overrides = [
        "training.n_steps=5",
        "model.dropout=0",
        "evaluation.n_samples_at_end=0",
    ];
    let mut expected = Vec::new();
    for (i, device) in other_devices().iter().enumerate() {
        let folder = RunFolder::new(temporary.path().join(format!("run-{i}")));
        let config = config(temporary.path(), &overrides);
        run(config, &folder, device, Interrupter::new(), &mut Silent).unwrap();
        let losses = losses(&folder);
        assert_eq!(losses.len(), 5);
        if i == 0 {
            expected = losses.clone();
        }
        println!("{device:?}: {losses:?}");
        for (loss, wanted) in losses.iter().zip(&expected) {
            assert!(
                (loss - wanted).abs() <= 1e-3 * wanted.abs(),
                "{losses:?} against {expected:?}"
            );
        }
    }
}

#[test]
fn a_checkpoint_trained_on_flex_gives_the_same_logits_and_samples_elsewhere() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for objective in [
        "objective.kind=pgm",
        "objective.kind=mdlm",
        "objective.kind=ar",
    ] {
        let temporary = tempfile::tempdir().unwrap();
        let config = config(
            temporary.path(),
            &[
                objective,
                "training.n_steps=12",
                "evaluation.n_samples_at_end=0",
            ],
        );
        let folder = RunFolder::new(temporary.path().join("run"));
        run(
            config,
            &folder,
            &Device::flex(),
            Interrupter::new(),
            &mut Silent,
        )
        .unwrap();
        let flex = Device::flex();
        let home = folder
            .load(CheckpointChoice::Last, WeightsChoice::Raw, &flex)
            .unwrap();
        let expected = logits(&home, &flex);
        let expected_samples = samples(&home, &flex);
        let expected_perplexities = perplexities(&home, &flex);
        for device in other_devices() {
            let away = folder
                .load(CheckpointChoice::Last, WeightsChoice::Raw, &device)
                .unwrap();
            let error = logits(&away, &device)
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0f32, |max, x| if x.is_nan() || x > max { x } else { max });
            println!("{objective} on {device:?}: largest difference {error:.1e}");
            assert!(error <= TOLERANCE, "{objective} on {device:?}: {error:e}");
            assert_eq!(samples(&away, &device), expected_samples, "{objective}");
            for (nll, expected) in perplexities(&away, &device)
                .into_iter()
                .zip(expected_perplexities)
            {
                let difference = (nll / expected - 1.0).abs();
                assert!(
                    difference < 1e-4,
                    "{objective} on {device:?}: {nll} {expected}"
                );
            }
        }
    }
}

#[test]
fn the_average_keeps_weights_that_stay_and_follows_those_that_move() {
    let kept = [1.0, -0.3, 1e-5, 12345.678];
    for device in other_devices() {
        let module = |weights: [f32; 4]| Linear {
            weight: Param::from_tensor(Tensor::<2>::from_floats([weights], &device)),
            bias: None,
        };
        let weights = |module: &Linear| {
            let values = module.weight.val().try_into_vec_as::<f32>();
            values.expect("weights")
        };
        let still = module(kept);
        let mut ema = ExponentialMovingAverage::resume(still.clone(), 0.9999, 100_000);
        for _ in 0..300 {
            ema.update(&still);
        }
        assert_eq!(weights(ema.average()), kept, "{device:?}");
        let target = Tensor::<2>::from_floats([[2.0; 4]], &device);
        let moved = Linear {
            weight: still.weight.map(|_| target),
            bias: None,
        };
        for _ in 0..300 {
            ema.update(&moved);
        }
        let left = 0.9999f64.powi(300);
        for (found, kept) in weights(ema.average()).into_iter().zip(kept) {
            let expected = 2.0 + left * (f64::from(kept) - 2.0);
            let error = (f64::from(found) - expected).abs();
            assert!(
                error < 1e-5 * expected.abs().max(1.0),
                "{device:?}: {found} {expected}"
            );
        }
    }
}
