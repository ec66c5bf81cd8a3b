//! Each sampler against its own law, enumerated in float64.
//!
//! A test draws 20,000 sequences and compares the counts of the 27 possible ones with the law by a
//! chi-square test that would fail a correct sampler for one seed in 100,000. Seeds are fixed. Each
//! test also shows that the same counts refute a law that is only a little wrong.

mod tiny_denoiser;

use std::collections::BTreeMap;

use burn::tensor::Device;
use discrete_diffusion::TokenSampler;
use discrete_diffusion::samplers::{
    AutoregressiveSampler, MdlmAncestral, PgmNaive, PgmUniform, SampleError, SampleRequest, Samples,
};
use tiny_denoiser::{Known, MASK, N_TOKENS, SEQ_LEN, TinyDenoiser, probabilities};

const N_SEQUENCES: usize = 20_000;
const BOS: usize = 1;
const FALSE_ALARM: f64 = 1e-5;

/// Probabilities of complete sequences, or of what is known of them on the way.
type Law = BTreeMap<Known, f64>;

#[derive(Debug, Clone, Copy)]
enum Sampler {
    Ancestral(usize),
    Naive(usize),
    Uniform(usize),
    Autoregressive,
}

impl Sampler {
    fn sample(self, request: &SampleRequest) -> Result<Samples, SampleError> {
        let denoiser = TinyDenoiser::default();
        let samples = self.run(&denoiser, request, &mut |_, _| {})?;
        assert_eq!(samples.network_evaluations, denoiser.n_evaluations.get());
        Ok(samples)
    }

    fn run(
        self,
        denoiser: &TinyDenoiser,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Samples, SampleError> {
        match self {
            Self::Ancestral(n_steps) => MdlmAncestral {
                n_steps,
                mask_token: MASK as u32,
            }
            .sample(denoiser, request, progress),
            Self::Naive(n_steps) => PgmNaive { n_steps }.sample(denoiser, request, progress),
            Self::Uniform(n_steps) => PgmUniform { n_steps }.sample(denoiser, request, progress),
            Self::Autoregressive => AutoregressiveSampler.sample(denoiser, request, progress),
        }
    }
}

#[test]
fn mdlm_ancestral_follows_its_law() {
    for n_steps in [1, 2, 4] {
        let counts = draw(Sampler::Ancestral(n_steps), 1.0, 10 + n_steps as u64);
        assert_follows(&counts, &ancestral_law(n_steps, 1.0));
        assert_refutes(
            &counts,
            &ancestral_law(if n_steps == 2 { 1 } else { 2 }, 1.0),
        );
    }
}

#[test]
fn pgm_naive_follows_the_law_of_mdlm_ancestral() {
    for n_steps in [1, 2, 4] {
        let counts = draw(Sampler::Naive(n_steps), 1.0, 20 + n_steps as u64);
        assert_follows(&counts, &ancestral_law(n_steps, 1.0));
        assert_refutes(
            &counts,
            &ancestral_law(if n_steps == 2 { 1 } else { 2 }, 1.0),
        );
    }
}

#[test]
fn pgm_naive_and_mdlm_ancestral_draw_the_same_sequences() {
    let device = Device::flex();
    let request = request(500, 3, &device);
    let naive = Sampler::Naive(4).sample(&request).expect("samples");
    let ancestral = Sampler::Ancestral(4).sample(&request).expect("samples");
    assert_eq!(naive, ancestral);
}

#[test]
fn pgm_uniform_follows_its_law() {
    // Positions that a step reveals, for 3 hidden ones: the published counts where the steps divide
    // the length of 4, floors for 3 steps.
    let laws = [
        (1, uniform_law(&[3], 1.0)),
        (2, uniform_law(&[2, 1], 1.0)),
        (3, uniform_law(&[1, 1, 1], 1.0)),
        (4, uniform_law(&[1, 1, 1], 1.0)),
    ];
    for (n_steps, law) in &laws {
        let counts = draw(Sampler::Uniform(*n_steps), 1.0, 30 + *n_steps as u64);
        assert_follows(&counts, law);
        let wrong = if *n_steps == 2 { 0 } else { 1 };
        assert_refutes(&counts, &laws[wrong].1);
        // Not even the order of the counts is free.
        if *n_steps == 2 {
            assert_refutes(&counts, &uniform_law(&[1, 2], 1.0));
        }
    }
}

/// The number of positions that an ancestral step reveals varies, in a uniform one it does not: the
/// two have different laws until every step reveals at most one position.
#[test]
fn all_samplers_agree_once_every_step_reveals_one_token() {
    let one_by_one = uniform_law(&[1, 1, 1], 1.0);
    let many_steps = 400;
    let limit = ancestral_law(many_steps, 1.0);
    let distance: f64 = one_by_one.iter().map(|(x, p)| (p - limit[x]).abs()).sum();
    assert!(distance < 0.01, "the laws differ by {distance}");
    for sampler in [
        Sampler::Ancestral(many_steps),
        Sampler::Naive(many_steps),
        Sampler::Uniform(SEQ_LEN - 1),
    ] {
        assert_follows(&draw(sampler, 1.0, 40), &one_by_one);
    }
    let counts = draw(Sampler::Uniform(2), 1.0, 41);
    assert_refutes(&counts, &ancestral_law(2, 1.0));
}

#[test]
fn autoregressive_sampling_follows_the_chain_rule() {
    let counts = draw(Sampler::Autoregressive, 1.0, 50);
    assert_follows(&counts, &autoregressive_law(1.0));
    assert_refutes(&counts, &uniform_law(&[1, 1, 1], 1.0));
}

#[test]
fn temperature_reaches_the_draw_of_every_sampler() {
    let laws: [(Sampler, &dyn Fn(f64) -> Law); 4] = [
        (Sampler::Ancestral(2), &|temperature| {
            ancestral_law(2, temperature)
        }),
        (Sampler::Naive(2), &|temperature| {
            ancestral_law(2, temperature)
        }),
        (Sampler::Uniform(2), &|temperature| {
            uniform_law(&[2, 1], temperature)
        }),
        (Sampler::Autoregressive, &autoregressive_law),
    ];
    for (sampler, law) in laws {
        let counts = draw(sampler, 1.5, 60);
        assert_follows(&counts, &law(1.5));
        assert_refutes(&counts, &law(1.3));
    }
}

#[test]
fn the_same_seed_gives_the_same_text_whatever_the_batch_size() {
    let device = Device::flex();
    for sampler in [
        Sampler::Ancestral(3),
        Sampler::Naive(3),
        Sampler::Uniform(2),
        Sampler::Autoregressive,
    ] {
        let n = 60;
        let batch = |n_sequences, first_sequence, seed| {
            let request = SampleRequest {
                first_sequence,
                ..request(n_sequences, seed, &device)
            };
            sampler.sample(&request).expect("samples").sequences
        };
        let together = batch(n, 0, 7);
        let alone: Vec<Vec<u32>> = (0..n as u64).flat_map(|i| batch(1, i, 7)).collect();
        assert_eq!(together, alone, "{sampler:?}");
        assert_eq!(together[20..50], batch(30, 20, 7), "{sampler:?}");
        assert_ne!(together, batch(n, 0, 8), "{sampler:?} ignores the seed");
        assert_ne!(
            together,
            batch(n, n as u64, 7),
            "{sampler:?} repeats itself"
        );
    }
}

#[test]
fn the_network_runs_as_often_as_documented() {
    let device = Device::flex();
    let evaluations = |sampler: Sampler, n_sequences| {
        let request = request(n_sequences, 0, &device);
        sampler
            .sample(&request)
            .expect("samples")
            .network_evaluations
    };
    for n_steps in [1, 2, 3, 8, 50] {
        // At most one more than the steps; in a large batch each step reveals something. What is
        // left for the last step has a probability of 1e-5 a position.
        for sampler in [Sampler::Ancestral(n_steps), Sampler::Naive(n_steps)] {
            let n = evaluations(sampler, 1000);
            assert!(n == n_steps || n == n_steps + 1, "{sampler:?}: {n}");
            // A single sequence needs no more runs than it has hidden tokens.
            assert!(evaluations(sampler, 1) <= n_steps.min(SEQ_LEN - 1) + 1);
        }
        // One a step; steps that reveal nothing are skipped.
        let n = evaluations(Sampler::Uniform(n_steps), 10);
        assert_eq!(n, n_steps.min(SEQ_LEN - 1));
    }
    assert_eq!(evaluations(Sampler::Autoregressive, 10), SEQ_LEN - 1);
}

#[test]
fn progress_counts_the_steps() {
    let device = Device::flex();
    for (sampler, n) in [
        (Sampler::Ancestral(5), 6),
        (Sampler::Naive(5), 6),
        (Sampler::Uniform(5), 5),
        (Sampler::Autoregressive, SEQ_LEN - 1),
    ] {
        let mut heard = Vec::new();
        sampler
            .run(
                &TinyDenoiser::default(),
                &request(2, 0, &device),
                &mut |done, all| {
                    heard.push((done, all));
                },
            )
            .expect("samples");
        let expected: Vec<(usize, usize)> = (1..=n).map(|done| (done, n)).collect();
        assert_eq!(heard, expected, "{sampler:?}");
    }
}

#[test]
fn sizes_of_zero_are_refused() {
    let device = Device::flex();
    let samplers: [fn(usize) -> Sampler; 4] =
        [Sampler::Ancestral, Sampler::Naive, Sampler::Uniform, |_| {
            Sampler::Autoregressive
        }];
    let refusal = |sampler: Sampler, request: SampleRequest| {
        sampler.sample(&request).expect_err("a refusal").to_string()
    };
    let good = request(2, 0, &device);
    for sampler in samplers {
        let empty_batch = SampleRequest {
            n_sequences: 0,
            ..good
        };
        assert_eq!(
            refusal(sampler(2), empty_batch),
            "`n_sequences` is 0, it has to be at least 1"
        );
        let only_bos = SampleRequest { seq_len: 1, ..good };
        assert_eq!(
            refusal(sampler(2), only_bos),
            "`seq_len` is 1, it has to be at least 2"
        );
    }
    for sampler in &samplers[..3] {
        assert_eq!(
            refusal(sampler(0), good),
            "`n_steps` is 0, it has to be at least 1"
        );
    }
}

/// Between the times `t` and `s` each hidden position is revealed with probability `(t - s) / t`,
/// all from what was known at `t`; a last step reveals the rest.
fn ancestral_law(n_steps: usize, temperature: f64) -> Law {
    let time = |i: usize| 1.0 - i as f64 * (1.0 - 1e-5) / n_steps as f64;
    let reveal = (0..n_steps).map(|i| (time(i) - time(i + 1)) / time(i));
    reveal.chain([1.0]).fold(start(), |law, probability| {
        let mut next = Law::new();
        for (known, p) in law {
            let hidden = hidden_positions(&known);
            for subset in 0..1usize << hidden.len() {
                let revealed = members(&hidden, subset);
                let n_kept = (hidden.len() - revealed.len()) as i32;
                let chosen =
                    probability.powi(revealed.len() as i32) * (1.0 - probability).powi(n_kept);
                reveal_tokens(&mut next, &known, &revealed, temperature, p * chosen);
            }
        }
        next
    })
}

/// Each step reveals a number of positions, all choices of them equally likely.
fn uniform_law(counts: &[usize], temperature: f64) -> Law {
    counts.iter().fold(start(), |law, &count| {
        let mut next = Law::new();
        for (known, p) in law {
            let hidden = hidden_positions(&known);
            let choices: Vec<Vec<usize>> = (0..1usize << hidden.len())
                .map(|subset| members(&hidden, subset))
                .filter(|revealed| revealed.len() == count)
                .collect();
            for revealed in &choices {
                reveal_tokens(
                    &mut next,
                    &known,
                    revealed,
                    temperature,
                    p / choices.len() as f64,
                );
            }
        }
        next
    })
}

fn autoregressive_law(temperature: f64) -> Law {
    (1..SEQ_LEN).fold(start(), |law, position| {
        let mut next = Law::new();
        for (known, p) in law {
            reveal_tokens(&mut next, &known, &[position], temperature, p);
        }
        next
    })
}

fn start() -> Law {
    Law::from([([Some(BOS), None, None, None], 1.0)])
}

fn hidden_positions(known: &Known) -> Vec<usize> {
    (0..SEQ_LEN).filter(|&i| known[i].is_none()).collect()
}

/// The positions whose bits are set.
fn members(positions: &[usize], subset: usize) -> Vec<usize> {
    let is_member = |i: &usize| subset >> i & 1 == 1;
    (0..positions.len())
        .filter(is_member)
        .map(|i| positions[i])
        .collect()
}

/// Adds what follows when these positions are drawn independently, each from what is known.
fn reveal_tokens(law: &mut Law, known: &Known, positions: &[usize], temperature: f64, p: f64) {
    if p == 0.0 {
        return;
    }
    let mut states = vec![(*known, p)];
    for &position in positions {
        let conditional = probabilities(known, position, temperature);
        states = states
            .into_iter()
            .flat_map(|(state, p)| {
                (0..N_TOKENS).map(move |token| {
                    let mut state = state;
                    state[position] = Some(token);
                    (state, p * conditional[token])
                })
            })
            .collect();
    }
    for (state, p) in states {
        *law.entry(state).or_insert(0.0) += p;
    }
}

fn draw(sampler: Sampler, temperature: f64, seed: u64) -> BTreeMap<Known, usize> {
    let device = Device::flex();
    let tokens = TokenSampler::new(temperature).expect("a temperature");
    let request = SampleRequest {
        tokens: tokens.excluding(MASK),
        ..request(N_SEQUENCES, seed, &device)
    };
    let mut counts = BTreeMap::new();
    for sequence in sampler.sample(&request).expect("samples").sequences {
        let sequence: Known = std::array::from_fn(|i| Some(sequence[i] as usize));
        *counts.entry(sequence).or_insert(0) += 1;
    }
    counts
}

fn request(n_sequences: usize, seed: u64, device: &Device) -> SampleRequest<'_> {
    SampleRequest {
        n_sequences,
        seq_len: SEQ_LEN,
        bos_token: BOS as u32,
        tokens: TokenSampler::new(1.0)
            .expect("a temperature")
            .excluding(MASK),
        seed,
        first_sequence: 0,
        device,
    }
}

fn assert_follows(counts: &BTreeMap<Known, usize>, law: &Law) {
    let p = p_value(counts, law);
    println!("p = {p:.3}");
    assert!(p > FALSE_ALARM, "the counts refute the law: p = {p:e}");
}

/// Far beyond the threshold, so that the test would notice for any seed.
fn assert_refutes(counts: &BTreeMap<Known, usize>, wrong: &Law) {
    let p = p_value(counts, wrong);
    println!("p = {p:.1e} for a wrong law");
    assert!(
        p < 1e-3 * FALSE_ALARM,
        "a wrong law is not refuted: p = {p:e}"
    );
}

/// The probability that a sample of the law deviates from it as much as these counts.
fn p_value(counts: &BTreeMap<Known, usize>, law: &Law) -> f64 {
    let total: f64 = law.values().sum();
    assert!((total - 1.0).abs() < 1e-9, "the law sums to {total}");
    assert_eq!(law.len(), 27);
    assert!(counts.keys().all(|sequence| law.contains_key(sequence)));
    let n: usize = counts.values().sum();
    assert_eq!(n, N_SEQUENCES);
    let chi_square: f64 = law
        .iter()
        .map(|(sequence, p)| {
            let expected = p * n as f64;
            assert!(
                expected >= 5.0,
                "{sequence:?} is too rare for a chi-square test"
            );
            let count = counts.get(sequence).copied().unwrap_or(0);
            (count as f64 - expected).powi(2) / expected
        })
        .sum();
    chi_square_tail(chi_square)
}

/// `P(X > x)` for 26 degrees of freedom: `exp(-x / 2) sum_{k < 13} (x / 2)^k / k!`.
fn chi_square_tail(x: f64) -> f64 {
    let half = x / 2.0;
    let mut term = (-half).exp();
    let mut sum = term;
    for k in 1..13 {
        term *= half / k as f64;
        sum += term;
    }
    sum
}

#[test]
fn the_chi_square_tail_has_the_tabulated_values() {
    // 38.885 and 54.052 are the 5 % and 0.1 % points for 26 degrees of freedom.
    assert!((chi_square_tail(38.885) - 0.05).abs() < 1e-5);
    assert!((chi_square_tail(54.052) - 0.001).abs() < 1e-7);
}
