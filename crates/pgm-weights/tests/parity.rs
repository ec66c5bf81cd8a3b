//! Agreement with values that the authors' PyTorch code computed (see `golden/README.md`).
//!
//! `PGM_PARITY_DIR` names another folder with files of the same form to check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use discrete_diffusion::objectives::{Mdlm, Pgm};
use discrete_diffusion::{NoiseSchedule, NoiseTime, TokenBatch};
use pgm_model::{
    DitConfig, KnownTokens, PartitionTransformer, PartitionTransformerConfig, PreQuery,
    QueryPositions, QueryProcessorKind,
};
use pgm_weights::{WeightsChoice, WeightsFile};
use safetensors::{Dtype, SafeTensors};

/// Absolute on logits and log-probabilities, relative on losses. Two paths of the original differ
/// by up to 1.2e-3 at this weight scale.
const TOLERANCE: f32 = 5e-3;
/// Relative to the largest entry of a gradient.
const GRADIENT_TOLERANCE: f32 = 5e-3;
/// The original sets impossible logits to -1e6.
const IMPOSSIBLE: f32 = -9e5;
const VOCAB_SIZE: usize = 101;
const MASK: usize = 100;

/// One `.safetensors` file, read to the end.
struct Fixture(BTreeMap<String, (Vec<usize>, Vec<f64>)>);

impl Fixture {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = SafeTensors::deserialize(&bytes).expect("a fixture is safetensors");
        let tensors = file.iter().map(|(name, view)| {
            let values = match view.dtype() {
                Dtype::F32 => view
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")) as f64)
                    .collect(),
                Dtype::I64 => view
                    .data()
                    .chunks_exact(8)
                    .map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes")) as f64)
                    .collect(),
                other => panic!("{name} has type {other:?}"),
            };
            (name.to_string(), (view.shape().to_vec(), values))
        });
        Self(tensors.collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn values(&self, name: &str) -> Vec<f64> {
        self.0[name].1.clone()
    }

    fn floats<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let (shape, values) = &self.0[name];
        let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        Tensor::from_data(TensorData::new(values, shape.clone()), device)
    }

    fn ints(&self, name: &str, device: &Device) -> Tensor<2, Int> {
        let (shape, values) = &self.0[name];
        let values: Vec<i64> = values.iter().map(|&v| v as i64).collect();
        Tensor::from_data(TensorData::new(values, shape.clone()), device)
    }
}

fn folder() -> PathBuf {
    std::env::var_os("PGM_PARITY_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        PathBuf::from,
    )
}

/// Names without extension of the files that start with `prefix`.
fn fixtures(prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("the folder with fixtures exists")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".safetensors").map(str::to_owned))
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names
}

fn fixture(name: &str) -> Fixture {
    Fixture::read(&folder().join(format!("{name}.safetensors")))
}

/// Largest absolute difference over the tokens' columns; the MASK column is the last.
fn logits_error(ours: Tensor<3>, theirs: &[f64]) -> f32 {
    let ours: Vec<f32> = ours.try_into_vec_as().expect("float32");
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .enumerate()
        .filter(|(i, _)| i % VOCAB_SIZE != MASK)
        .map(|(_, (&a, &b))| {
            if (b as f32) < IMPOSSIBLE {
                if a < IMPOSSIBLE { 0.0 } else { f32::INFINITY }
            } else {
                (a - b as f32).abs()
            }
        })
        .fold(0.0, nan_max)
}

/// Largest difference relative to `max(1, |theirs|)`.
fn relative_error(ours: &[f32], theirs: &[f64]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(&a, &b)| (a - b as f32).abs() / (b as f32).abs().max(1.0))
        .fold(0.0, nan_max)
}

/// A maximum that keeps NaN, so that a comparison with a tolerance fails.
fn nan_max(max: f32, x: f32) -> f32 {
    if x.is_nan() || x > max { x } else { max }
}

fn check(what: &str, error: f32, tolerance: f32) {
    println!("{what}: {error:.2e}");
    assert!(
        error <= tolerance,
        "{what}: error {error:e} is above {tolerance:e}"
    );
}

fn load<M: Module>(model: &mut M, path: &Path) {
    WeightsFile::open(path, WeightsChoice::Average)
        .and_then(|file| file.load_into(model))
        .unwrap_or_else(|error| panic!("{error}"));
}

fn pgm(
    pre_query: PreQuery,
    query_processor: QueryProcessorKind,
    weights: &str,
    device: &Device,
) -> PartitionTransformer {
    let mut model = PartitionTransformerConfig {
        vocab_size: VOCAB_SIZE,
        d_model: 64,
        n_heads: 4,
        n_encoder_blocks: 2,
        n_decoder_blocks: 2,
        cond_dim: 16,
        mlp_ratio: 4,
        dropout: 0.0,
        pre_query,
        query_processor,
    }
    .init(device);
    let path = folder().join(format!("{weights}.safetensors"));
    load(&mut model, &path);
    model
}

fn check_pgm(name: &str, device: &Device) {
    let parts: Vec<(&str, PreQuery)> = vec![
        ("pgm_learn_freqs_logsumexp_", PreQuery::SinusoidLogSumExp),
        ("pgm_learn_freqs_mean_", PreQuery::SinusoidMean),
        ("pgm_learn_freqs_", PreQuery::Sinusoid),
        ("pgm_learn_", PreQuery::Learned),
    ];
    let (rest, pre_query) = parts
        .iter()
        .find_map(|(prefix, mode)| Some((name.strip_prefix(prefix)?, *mode)))
        .unwrap_or_else(|| panic!("fixture {name} has no pre-query mode"));
    let (processor, tag) = rest.split_once('_').expect("a processor and a tag");
    let model = match processor {
        "linear" => pgm(
            pre_query,
            QueryProcessorKind::Linear,
            &format!("weights_pgm_linear_{tag}"),
            device,
        ),
        "mlp4" => mlp4_model(pre_query, tag, device),
        other => panic!("fixture {name} has query processor {other}"),
    };

    let expected = fixture(name);
    let inputs = fixture("pgm_inputs");
    let tokens = inputs.ints("tokens", device);
    let groups = inputs.ints("group_idxs", device);
    let sigma: Tensor<1> = inputs.floats("sigma", device);

    let logits = model.forward(tokens.clone(), groups.clone(), sigma.clone());
    let error = logits_error(logits, &expected.values("logits_train"));
    check(&format!("{name} logits_train"), error, TOLERANCE);

    if expected.has("logits_train_empty_group") {
        let empty = groups.slice_fill([1..2, 0..32], 0);
        let logits = model.forward(tokens, empty, sigma.clone());
        let error = logits_error(logits, &expected.values("logits_train_empty_group"));
        check(&format!("{name} empty group"), error, TOLERANCE);
    }
    let lengths: Vec<usize> = inputs
        .values("concrete_lengths")
        .iter()
        .map(|&n| n as usize)
        .collect();
    let clean_tokens = inputs.ints("clean_tokens", device);
    let clean_positions = inputs.ints("clean_positions", device);
    let noisy_positions = inputs.ints("noisy_positions", device);
    let n_queries = noisy_positions.dims()[1];
    if expected.has("logits_infer") {
        let logits = model.forward_known(
            KnownTokens {
                tokens: clean_tokens.clone(),
                positions: clean_positions.clone(),
                lengths: lengths.clone(),
            },
            QueryPositions {
                positions: noisy_positions.clone(),
                lengths: vec![n_queries; lengths.len()],
            },
            sigma.clone(),
        );
        let error = logits_error(logits, &expected.values("logits_infer"));
        check(&format!("{name} logits_infer"), error, TOLERANCE);
    }
    if expected.has("logits_infer_rowwise") {
        let rows = lengths.iter().enumerate().map(|(row, &length)| {
            model.forward_known(
                KnownTokens {
                    tokens: clean_tokens.clone().slice([row..row + 1, 0..length]),
                    positions: clean_positions.clone().slice([row..row + 1, 0..length]),
                    lengths: vec![length],
                },
                QueryPositions {
                    positions: noisy_positions.clone().narrow(0, row, 1),
                    lengths: vec![n_queries],
                },
                sigma.clone().narrow(0, row, 1),
            )
        });
        let logits = Tensor::cat(rows.collect(), 0);
        let error = logits_error(logits, &expected.values("logits_infer_rowwise"));
        check(&format!("{name} row by row"), error, TOLERANCE);
    }
}

/// The weights of the linear model, with the query processor's from a file of its own.
fn mlp4_model(pre_query: PreQuery, tag: &str, device: &Device) -> PartitionTransformer {
    let read = |name: String| {
        std::fs::read(folder().join(format!("{name}.safetensors"))).expect("weights exist")
    };
    let base = read(format!("weights_pgm_linear_{tag}"));
    let processor = read(format!("weights_pgm_mlp4_query_processor_{tag}"));
    let base = SafeTensors::deserialize(&base).expect("safetensors");
    let processor = SafeTensors::deserialize(&processor).expect("safetensors");
    let kept = base
        .iter()
        .filter(|(name, _)| !name.contains("query_processor"))
        .map(|(name, view)| (name.to_string(), view));
    let replaced = processor.iter().map(|(name, view)| {
        let end = name.find("query_processor.").map_or(name, |at| &name[at..]);
        let end = end.strip_prefix("query_processor.").unwrap_or(end);
        (format!("decoder.group_swap.query_processor.{end}"), view)
    });
    let merged: BTreeMap<_, _> = kept.chain(replaced).collect();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    safetensors::serialize_to_file(merged, None, file.path()).expect("weights can be written");

    let mut model = PartitionTransformerConfig {
        query_processor: QueryProcessorKind::Mlp4,
        pre_query,
        vocab_size: VOCAB_SIZE,
        d_model: 64,
        n_heads: 4,
        n_encoder_blocks: 2,
        n_decoder_blocks: 2,
        cond_dim: 16,
        mlp_ratio: 4,
        dropout: 0.0,
    }
    .init(device);
    load(&mut model, file.path());
    model
}

#[test]
fn partition_transformer_matches_the_original() {
    let device = Device::flex();
    let names: Vec<String> = fixtures("pgm_learn");
    assert!(!names.is_empty(), "no fixture pgm_learn* in {:?}", folder());
    for name in names {
        check_pgm(&name, &device);
    }
}

#[test]
fn dit_matches_the_original() {
    let device = Device::flex();
    for weights in fixtures("weights_mdlm_") {
        let tag = weights.strip_prefix("weights_mdlm_").expect("the prefix");
        let mut model = DitConfig {
            vocab_size: VOCAB_SIZE,
            d_model: 64,
            n_heads: 4,
            n_blocks: 4,
            cond_dim: 16,
            mlp_ratio: 4,
            dropout: 0.0,
        }
        .init(&device);
        let path = folder().join(format!("{weights}.safetensors"));
        load(&mut model, &path);

        let expected = fixture("mdlm");
        let noisy = expected.ints("xt", &device);
        let logits = model.forward(noisy.clone(), expected.floats("sigma", &device));
        let error = logits_error(logits, &expected.values(&format!("{tag}.logits")));
        check(&format!("mdlm {tag} logits"), error, TOLERANCE);

        let objective = Mdlm::new(MASK);
        let log_probs = objective.log_probs(&model, noisy.clone());
        let theirs = expected.values(&format!("{tag}.log_probs_orig"));
        check(
            &format!("mdlm {tag} log_probs"),
            logits_error(log_probs, &theirs),
            TOLERANCE,
        );

        let batch = TokenBatch::unpadded(expected.ints("tokens", &device));
        let masked: Vec<bool> = expected
            .values("xt")
            .iter()
            .map(|&token| token as usize == MASK)
            .collect();
        let times = times(&expected);
        let corruption = objective.corrupt_with(masked, &times).training();
        let nll = objective.token_nll(&model, &batch, &corruption);
        let nll: Vec<f32> = nll.try_into_vec_as().expect("float32");
        for split in ["train", "eval"] {
            let theirs = expected.values(&format!("{tag}.elbo.orig.{split}.nll"));
            check(
                &format!("mdlm {tag} {split} loss"),
                relative_error(&nll, &theirs),
                TOLERANCE,
            );
        }
    }
}

#[test]
fn partition_losses_and_gradients_match_the_original() {
    let device = Device::flex();
    let expected = fixture("pgm_losses");
    let inputs = fixture("pgm_inputs");
    for weights in fixtures("weights_pgm_linear_") {
        let tag = weights.strip_prefix("weights_pgm_linear_").expect("prefix");
        let model = pgm(
            PreQuery::Sinusoid,
            QueryProcessorKind::Linear,
            &weights,
            &device,
        );
        let objective = Pgm::new(MASK);
        let batch = TokenBatch::unpadded(inputs.ints("tokens", &device));
        let groups: Vec<bool> = inputs
            .values("group_idxs")
            .iter()
            .map(|&group| group == 1.0)
            .collect();
        let partition = objective.partition_with(groups, &times(&inputs));

        for split in ["train", "eval"] {
            let partition = match split {
                "train" => partition.training(),
                _ => partition.evaluation(),
            };
            let nll = objective.token_nll(&model, &batch, &partition);
            let nll: Vec<f32> = nll.try_into_vec_as().expect("float32");
            let theirs = expected.values(&format!("{tag}.elbo.{split}.nll"));
            check(
                &format!("pgm {tag} {split} loss"),
                relative_error(&nll, &theirs),
                TOLERANCE,
            );
        }
        let device = device.clone().autodiff();
        let model = pgm(
            PreQuery::Sinusoid,
            QueryProcessorKind::Linear,
            &weights,
            &device,
        );
        let batch = TokenBatch::unpadded(inputs.ints("tokens", &device));
        let loss = objective
            .token_nll(&model, &batch, &partition.training())
            .mean();
        check_gradients(&expected, tag, &model, loss);
    }
}

fn check_gradients(expected: &Fixture, tag: &str, model: &PartitionTransformer, loss: Tensor<1>) {
    let grads = loss.backward();
    let parameters = parameters(model);
    let prefix = format!("{tag}.grad.");
    let wanted = [
        (
            "decoder.group_swap.base_embedding",
            "group_swap.base_embedding",
        ),
        (
            "decoder.layers.1.attn_kv.weight",
            "decoder.blocks.1.attn_key_value.weight",
        ),
        (
            "encoder.blocks.0.attn_qkv.weight",
            "encoder.blocks.0.attn_qkv.weight",
        ),
        ("output_layer.linear.bias", "output_layer.linear.bias"),
    ];
    for (theirs, ours) in wanted {
        let expected = expected.values(&format!("{prefix}{theirs}"));
        let (grad, is_transposed) = match &parameters[ours] {
            Parameter::Vector(tensor) => {
                let grad = tensor.grad(&grads).expect("a gradient");
                (grad.try_into_vec_as::<f32>().expect("float32"), false)
            }
            Parameter::Matrix(tensor) => {
                let grad = tensor.grad(&grads).expect("a gradient");
                let is_linear = ours.ends_with(".weight");
                let grad = if is_linear { grad.transpose() } else { grad };
                (grad.try_into_vec_as::<f32>().expect("float32"), is_linear)
            }
        };
        let scale = expected
            .iter()
            .fold(0f32, |max, &x| max.max(x.abs() as f32));
        let error = grad
            .iter()
            .zip(&expected)
            .map(|(&a, &b)| (a - b as f32).abs() / scale)
            .fold(0.0, nan_max);
        let note = if is_transposed { " (transposed)" } else { "" };
        check(
            &format!("pgm {tag} gradient of {theirs}{note}"),
            error,
            GRADIENT_TOLERANCE,
        );
    }
}

enum Parameter {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
}

/// Parameters by name.
fn parameters(model: &PartitionTransformer) -> BTreeMap<String, Parameter> {
    use burn::module::{ModuleVisitor, Param};

    #[derive(Default)]
    struct Collect {
        path: Vec<String>,
        found: BTreeMap<String, Parameter>,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let parameter = match D {
                1 => Parameter::Vector(Tensor::from_dispatch(param.val().into_dispatch())),
                2 => Parameter::Matrix(Tensor::from_dispatch(param.val().into_dispatch())),
                _ => return,
            };
            self.found.insert(self.path.join("."), parameter);
        }
    }
    let mut collect = Collect::default();
    model.visit(&mut collect);
    collect.found
}

fn times(fixture: &Fixture) -> Vec<NoiseTime> {
    let schedule = NoiseSchedule::default();
    fixture
        .values("t")
        .into_iter()
        .map(|t| schedule.time(t))
        .collect()
}
