//! Partition attention in float64 loops over host vectors, one query at a time: shares no code with
//! the crate, and is slow.

#![cfg_attr(not(feature = "autodiff"), allow(dead_code))]

use std::ops::Range;

use partition_attention::Segment;

/// Lengths of the axes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub batch: usize,
    pub query_len: usize,
    pub key_len: usize,
    pub heads: usize,
    pub head_dim: usize,
}

impl Sizes {
    pub fn query_shape(&self) -> [usize; 4] {
        [self.batch, self.query_len, self.heads, self.head_dim]
    }

    pub fn key_shape(&self) -> [usize; 4] {
        [self.batch, self.key_len, self.heads, self.head_dim]
    }
}

/// Inputs of the operation, row-major as `[batch, seq, heads, head_dim]`.
#[derive(Debug, Clone)]
pub struct Problem {
    pub sizes: Sizes,
    pub query: Vec<f64>,
    pub key: Vec<f64>,
    pub value: Vec<f64>,
    pub segments: Vec<Vec<Segment>>,
}

/// Gradients of the inputs, or a difference of them.
#[derive(Debug, Clone)]
pub struct Gradients {
    pub query: Vec<f64>,
    pub key: Vec<f64>,
    pub value: Vec<f64>,
}

impl Problem {
    /// Entries are uniform in `+-sqrt(3)`, so that scores have a variance of 1.
    pub fn random(sizes: Sizes, segments: Vec<Vec<Segment>>, seed: u64) -> Self {
        let mut noise = Noise(seed);
        let bound = 3f64.sqrt();
        let queries = sizes.query_shape().iter().product();
        let keys = sizes.key_shape().iter().product();
        Self {
            sizes,
            query: noise.uniform(queries, bound),
            key: noise.uniform(keys, bound),
            value: noise.uniform(keys, bound),
            segments,
        }
    }

    /// The same with every number replaced.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        let all = |values: &[f64]| values.iter().map(|&x| f(x)).collect();
        Self {
            query: all(&self.query),
            key: all(&self.key),
            value: all(&self.value),
            ..self.clone()
        }
    }

    /// `[batch, query_len, heads, head_dim]`
    pub fn output(&self) -> Vec<f64> {
        let mut output = vec![0.0; self.query.len()];
        self.for_each_query(|query, keys, weights| {
            for (&key, weight) in keys.iter().zip(weights) {
                for (out, value) in output[query..].iter_mut().zip(self.head(&self.value, key)) {
                    *out += weight * value;
                }
            }
        });
        output
    }

    /// Gradients of `sum(output * output_grad)`.
    pub fn gradients(&self, output_grad: &[f64]) -> Gradients {
        let mut gradients = Gradients {
            query: vec![0.0; self.query.len()],
            key: vec![0.0; self.key.len()],
            value: vec![0.0; self.value.len()],
        };
        let scale = self.scale();
        self.for_each_query(|query, keys, weights| {
            let grad = self.head(output_grad, query);
            let weight_grads: Vec<f64> = keys
                .iter()
                .map(|&key| dot(grad, self.head(&self.value, key)))
                .collect();
            let mean: f64 = weights.iter().zip(&weight_grads).map(|(w, g)| w * g).sum();
            for ((&key, weight), weight_grad) in keys.iter().zip(weights).zip(&weight_grads) {
                let score_grad = weight * (weight_grad - mean) * scale;
                for (d, grad) in grad.iter().enumerate() {
                    gradients.query[query + d] += score_grad * self.key[key + d];
                    gradients.key[key + d] += score_grad * self.query[query + d];
                    gradients.value[key + d] += weight * grad;
                }
            }
        });
        gradients
    }

    /// Calls `f(query, keys, weights)` for each query that has keys; queries and keys are offsets
    /// of a head in the vectors.
    pub fn for_each_query(&self, mut f: impl FnMut(usize, &[usize], &[f64])) {
        let Sizes {
            batch,
            query_len,
            key_len,
            heads,
            head_dim,
        } = self.sizes;
        for row in 0..batch {
            for i in 0..query_len {
                let keys = self.keys_of(row, i);
                if keys.is_empty() {
                    continue;
                }
                for head in 0..heads {
                    let offset = |len, at| ((row * len + at) * heads + head) * head_dim;
                    let query = offset(query_len, i);
                    let keys: Vec<usize> = keys.clone().map(|j| offset(key_len, j)).collect();
                    f(query, &keys, &self.weights(query, &keys));
                }
            }
        }
    }

    /// `q . k / sqrt(head_dim)`
    pub fn score(&self, query: usize, key: usize) -> f64 {
        dot(self.head(&self.query, query), self.head(&self.key, key)) * self.scale()
    }

    fn keys_of(&self, row: usize, query: usize) -> Range<usize> {
        self.segments[row]
            .iter()
            .find(|s| (s.query_start..s.query_start + s.query_len).contains(&query))
            .map_or(0..0, |s| s.key_start..s.key_start + s.key_len)
    }

    fn weights(&self, query: usize, keys: &[usize]) -> Vec<f64> {
        let scores: Vec<f64> = keys.iter().map(|&key| self.score(query, key)).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    fn head<'a>(&self, values: &'a [f64], offset: usize) -> &'a [f64] {
        &values[offset..offset + self.sizes.head_dim]
    }

    fn scale(&self) -> f64 {
        1.0 / (self.sizes.head_dim as f64).sqrt()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The splitmix64 generator.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Numbers in `+-bound`.
    pub fn uniform(&mut self, n: usize, bound: f64) -> Vec<f64> {
        (0..n)
            .map(|_| ((self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0) * bound)
            .collect()
    }
}
