//! The network of the quick start on the CPU: the training-style pass over all tokens, and the
//! inference-style pass over the known ones.
#![allow(missing_docs)]

use burn::tensor::{Device, Int, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pgm_model::{KnownTokens, PartitionTransformerConfig, QueryPositions};

const BATCH: usize = 8;
const SEQ_LEN: usize = 128;

fn transformer(c: &mut Criterion) {
    let device = Device::flex();
    let model = PartitionTransformerConfig {
        vocab_size: 1025,
        d_model: 128,
        n_heads: 4,
        n_encoder_blocks: 3,
        n_decoder_blocks: 3,
        cond_dim: 32,
        ..Default::default()
    }
    .init(&device);
    let sigma = Tensor::<1>::zeros([1], &device);
    let indices = Tensor::<1, Int>::arange(0..(BATCH * SEQ_LEN) as i64, &device);
    let tokens = indices
        .clone()
        .remainder_scalar(1024)
        .reshape([BATCH, SEQ_LEN]);
    let groups = indices.remainder_scalar(2).reshape([BATCH, SEQ_LEN]);

    let mut group = c.benchmark_group("partition_transformer");
    group.throughput(Throughput::Elements((BATCH * SEQ_LEN) as u64));
    let id = format!("b{BATCH}_s{SEQ_LEN}/flex");
    group.bench_function(BenchmarkId::new("all_tokens", &id), |b| {
        b.iter(|| {
            let logits = model.forward(tokens.clone(), groups.clone(), sigma.clone());
            device.sync().expect("the CPU does not fail");
            logits
        });
    });
    for n_known in [16, 64, 112] {
        let positions = Tensor::<1, Int>::arange(0..SEQ_LEN as i64, &device)
            .unsqueeze_dim::<2>(0)
            .repeat_dim(0, BATCH);
        let known = KnownTokens {
            tokens: tokens.clone().narrow(1, 0, n_known),
            positions: positions.clone().narrow(1, 0, n_known),
            lengths: vec![n_known; BATCH],
        };
        let queries = QueryPositions {
            positions: positions.narrow(1, n_known, 4),
            lengths: vec![4; BATCH],
        };
        let id = format!("b{BATCH}_known{n_known}_queries4/flex");
        group.throughput(Throughput::Elements((BATCH * 4) as u64));
        group.bench_function(BenchmarkId::new("known_tokens", id), |b| {
            b.iter(|| {
                let logits = model.forward_known(known.clone(), queries.clone(), sigma.clone());
                device.sync().expect("the CPU does not fail");
                logits
            });
        });
    }
    group.finish();
}

criterion_group!(benches, transformer);
criterion_main!(benches);
