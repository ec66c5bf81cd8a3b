//! How close drawn text lies to written text: MAUVE.

mod divergence_curve;
mod k_means;
mod principal_components;

use serde::{Deserialize, Serialize};

use crate::EvalError;
use divergence_curve::{area, smoothed};
use k_means::KMeans;
use principal_components::principal_components;

/// Share of the variance that the principal components keep.
const KEPT_VARIANCE: f64 = 0.9;

/// MAUVE of some texts against references, from the features of both: 1 for texts that cannot be told apart, near 0
/// for texts that have nothing in common.
///
/// Means and deviations are over the seeds of the clustering. Values compare for equal numbers of texts, of equal
/// length, with features of the same network.
///
/// # Reference
/// Pillutla et al. (arXiv 2102.01454); `star` with the smoothing of Pillutla et al. (arXiv 2212.14578), which is less
/// biased where there are few texts for each cluster.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mauve {
    /// MAUVE, in `[0, 1]`.
    pub value: f64,
    /// Its standard deviation over seeds.
    pub deviation: f64,
    /// MAUVE* with Krichevsky-Trofimov smoothing, in `[0, 1]`.
    pub star: f64,
    /// Its standard deviation over seeds.
    pub star_deviation: f64,
    /// Texts.
    pub n_samples: usize,
    /// References.
    pub n_references: usize,
    /// Clusters.
    pub n_clusters: usize,
    /// Principal components that were clustered.
    pub n_components: usize,
    /// Seeds of the clustering.
    pub n_seeds: usize,
}

/// How [`Mauve`] is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MauveConfig {
    /// Clusters; if left out a tenth of the smaller set, at least 2.
    pub n_clusters: Option<usize>,
    /// Clusterings, each from other random numbers.
    pub n_seeds: usize,
    /// Seed of them all.
    pub seed: u64,
}

impl MauveConfig {
    /// Compares two sets of features, one vector a text.
    ///
    /// # Errors
    /// When a set is empty, vectors differ in length or hold no number, or there are more clusters than texts.
    pub fn compare(
        &self,
        samples: &[Vec<f32>],
        references: &[Vec<f32>],
    ) -> Result<Mauve, EvalError> {
        let refused = |reason: String| Err(EvalError::Mauve { reason });
        let (n_samples, n_references) = (samples.len(), references.len());
        let fewest = n_samples.min(n_references);
        if fewest == 0 || self.n_seeds == 0 {
            return refused(format!(
                "there are {n_samples} texts, {n_references} references and {} seeds; wanted at least one of each",
                self.n_seeds
            ));
        }
        let rows: Vec<&Vec<f32>> = samples.iter().chain(references).collect();
        let width = rows[0].len();
        if let Some(number) = rows.iter().position(|row| row.len() != width) {
            let found = rows[number].len();
            return refused(format!(
                "feature {number} has {found} numbers, the first one {width}; take both from one judge"
            ));
        }
        if let Some(number) = rows
            .iter()
            .position(|row| row.iter().any(|x| !x.is_finite()))
        {
            return refused(format!(
                "feature {number} is not finite; the judge's weights are damaged"
            ));
        }
        let tenth = (fewest as f64 / 10.0).round_ties_even() as usize;
        let n_clusters = self.n_clusters.unwrap_or(tenth.max(2));
        if !(1..=rows.len()).contains(&n_clusters) {
            return refused(format!(
                "{n_clusters} clusters for {} texts and references; wanted from 1 to as many",
                rows.len()
            ));
        }
        let rows: Vec<Vec<f64>> = rows.into_iter().map(|row| unit(row)).collect();
        let points = principal_components(&rows, KEPT_VARIANCE);
        let areas = (0..self.n_seeds).map(|index| {
            let labels = KMeans::new(n_clusters, self.seed, index).labels(&points);
            let counts = |labels: &[usize]| {
                let mut counts = vec![0; n_clusters];
                labels.iter().for_each(|&label| counts[label] += 1);
                counts
            };
            let (p, q) = labels.split_at(n_samples);
            let (p, q) = (counts(p), counts(q));
            let of = |add| area(&smoothed(&p, add), &smoothed(&q, add));
            (of(0.0), of(0.5))
        });
        let (plain, star): (Vec<f64>, Vec<f64>) = areas.unzip();
        let (value, deviation) = mean_and_deviation(&plain);
        let (star, star_deviation) = mean_and_deviation(&star);
        Ok(Mauve {
            value,
            deviation,
            star,
            star_deviation,
            n_samples,
            n_references,
            n_clusters,
            n_components: points[0].len(),
            n_seeds: self.n_seeds,
        })
    }
}

/// The vector at length 1; one of zeros stays.
fn unit(row: &[f32]) -> Vec<f64> {
    let row = row.iter().map(|&x| f64::from(x));
    let norm = row.clone().map(|x| x * x).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { norm.recip() } else { 1.0 };
    row.map(|x| x * scale).collect()
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / n;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use discrete_diffusion::random_streams::{Stream, stream};
    use rand::RngExt;

    use super::*;

    const CONFIG: MauveConfig = MauveConfig {
        n_clusters: None,
        n_seeds: 5,
        seed: 1,
    };

    /// Points around the axis of that number.
    fn cloud(n: usize, axis: usize) -> Vec<Vec<f32>> {
        let mut rng = stream(7, Stream::Clustering, axis as u64);
        let mut point = || {
            let mut point: Vec<f32> = (0..12).map(|_| rng.random_range(-0.1..0.1)).collect();
            point[axis] += 1.0;
            point
        };
        (0..n).map(|_| point()).collect()
    }

    #[test]
    fn equal_sets_have_1_and_disjoint_ones_nearly_0() {
        let (here, there) = (cloud(60, 0), cloud(80, 5));
        let same = CONFIG.compare(&here, &here).unwrap();
        assert!((same.value - 1.0).abs() < 1e-6, "{same:?}");
        assert_eq!((same.n_clusters, same.deviation < 1e-6), (6, true));
        let other = CONFIG.compare(&here, &there).unwrap();
        assert!(other.value < 0.02, "{other:?}");
        assert!(other.star > other.value && other.star < 0.2, "{other:?}");
        let half = [cloud(30, 0), cloud(30, 5)].concat();
        let between = CONFIG.compare(&here, &half).unwrap();
        assert!((0.1..0.95).contains(&between.value), "{between:?}");
    }

    #[test]
    fn the_seed_decides_and_the_order_of_the_sets_does_not_matter_much() {
        let (a, b) = (cloud(60, 0), [cloud(40, 0), cloud(20, 3)].concat());
        let found = CONFIG.compare(&a, &b).unwrap();
        assert_eq!(found, CONFIG.compare(&a, &b).unwrap());
        let other = MauveConfig { seed: 2, ..CONFIG }.compare(&a, &b).unwrap();
        assert_ne!(found.value, other.value);
        let turned = CONFIG.compare(&b, &a).unwrap();
        assert!(
            (turned.value - found.value).abs() < 0.2,
            "{found:?} {turned:?}"
        );
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        let refused = |a: &[Vec<f32>], b: &[Vec<f32>], config: MauveConfig| {
            config.compare(a, b).unwrap_err().to_string()
        };
        let (few, short) = (cloud(3, 0), vec![vec![1.0; 3]]);
        let error = refused(&few, &[], CONFIG);
        assert!(error.contains("3 texts, 0 references"), "{error}");
        let error = refused(&few, &short, CONFIG);
        assert!(error.contains("feature 3 has 3 numbers"), "{error}");
        let error = refused(&[vec![f32::NAN; 3]], &short, CONFIG);
        assert!(error.contains("feature 0 is not finite"), "{error}");
        let n_clusters = Some(7);
        let error = refused(
            &few,
            &few,
            MauveConfig {
                n_clusters,
                ..CONFIG
            },
        );
        assert!(error.contains("7 clusters for 6 texts"), "{error}");
    }
}
