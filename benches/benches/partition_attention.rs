//! Attention within and across groups on the CPU, forward and with the backward pass.
#![allow(missing_docs)]

use burn::tensor::{Device, Distribution, Int, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use partition_attention::{GroupLayout, partition_attention};

const BATCH: usize = 8;
const HEADS: usize = 4;
const HEAD_DIM: usize = 32;

fn random(seq_len: usize, device: &Device) -> Tensor<4> {
    let shape = [BATCH, seq_len, HEADS, HEAD_DIM];
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Alternating groups: half of the tokens in each.
fn layout(seq_len: usize, device: &Device) -> GroupLayout {
    let groups = Tensor::<1, Int>::arange(0..(BATCH * seq_len) as i64, device)
        .reshape([BATCH, seq_len])
        .remainder_scalar(2);
    GroupLayout::new(groups)
}

fn attention(c: &mut Criterion) {
    let device = Device::flex();
    let mut group = c.benchmark_group("partition_attention");
    for seq_len in [128, 512] {
        group.throughput(Throughput::Elements((BATCH * seq_len) as u64));
        let id = format!("b{BATCH}_s{seq_len}_h{HEADS}_d{HEAD_DIM}/flex");
        let layout = layout(seq_len, &device);
        let inputs = [0; 3].map(|_| random(seq_len, &device));
        for (name, segments) in [
            ("forward/within", layout.within_groups()),
            ("forward/across", layout.across_groups()),
        ] {
            group.bench_function(BenchmarkId::new(name, &id), |b| {
                b.iter(|| {
                    let [query, key, value] = inputs.clone();
                    let output = partition_attention(query, key, value, &segments);
                    device.sync().expect("the CPU does not fail");
                    output
                });
            });
        }
        let device = device.clone().autodiff();
        let segments = self::layout(seq_len, &device).within_groups();
        let inputs = [0; 3].map(|_| random(seq_len, &device).require_grad());
        group.bench_function(BenchmarkId::new("forward_backward/within", &id), |b| {
            b.iter(|| {
                let [query, key, value] = inputs.clone();
                let loss = partition_attention(query, key, value, &segments).sum();
                let gradients = loss.backward();
                device.sync().expect("the CPU does not fail");
                gradients
            });
        });
    }
    group.finish();
}

criterion_group!(benches, attention);
criterion_main!(benches);
