use discrete_diffusion::random_streams::{Stream, stream};
use rand::{Rng, RngExt};

/// Starts, of which the one with the smallest distances counts.
const N_STARTS: usize = 5;

/// Most iterations of a start.
const N_ITERATIONS: usize = 500;

/// Clusters points around their means.
///
/// # Reference
/// Lloyd 1982, "Least squares quantization in PCM"; starts as of Arthur and Vassilvitskii 2007, "k-means++".
#[derive(Debug, Clone, Copy)]
pub(super) struct KMeans {
    n_clusters: usize,
    seed: u64,
    index: usize,
}

impl KMeans {
    /// The `index`-th clustering of a seed.
    pub(super) fn new(n_clusters: usize, seed: u64, index: usize) -> Self {
        Self {
            n_clusters,
            seed,
            index,
        }
    }

    /// The cluster of each point. There are at least as many points as clusters; each point is of one width.
    pub(super) fn labels(&self, points: &[Vec<f64>]) -> Vec<usize> {
        let starts = (0..N_STARTS).map(|start| {
            let index = (self.index * N_STARTS + start) as u64;
            self.cluster(points, &mut stream(self.seed, Stream::Clustering, index))
        });
        let best = starts.min_by(|(a, _), (b, _)| a.total_cmp(b));
        best.map(|(_, labels)| labels).unwrap_or_default()
    }

    /// The sum of squared distances, and the clusters.
    fn cluster(&self, points: &[Vec<f64>], rng: &mut impl Rng) -> (f64, Vec<usize>) {
        let mut centres = self.start(points, rng);
        let mut labels = vec![usize::MAX; points.len()];
        let mut distances = vec![0.0; points.len()];
        for _ in 0..N_ITERATIONS {
            let mut has_changed = false;
            for ((point, label), distance) in points.iter().zip(&mut labels).zip(&mut distances) {
                let (nearest, least) = nearest(point, &centres);
                has_changed |= *label != nearest;
                (*label, *distance) = (nearest, least);
            }
            if !has_changed {
                break;
            }
            self.move_centres(&mut centres, points, &labels, &mut distances);
        }
        (distances.iter().sum(), labels)
    }

    /// Points far from each other.
    fn start(&self, points: &[Vec<f64>], rng: &mut impl Rng) -> Vec<Vec<f64>> {
        let mut centres = vec![points[rng.random_range(0..points.len())].clone()];
        let mut distances: Vec<f64> = points.iter().map(|p| distance(p, &centres[0])).collect();
        while centres.len() < self.n_clusters {
            let mut left = rng.random::<f64>() * distances.iter().sum::<f64>();
            let chosen = distances.iter().position(|distance| {
                left -= distance;
                left < 0.0
            });
            // Without any distance left, all points are centres.
            let chosen = chosen.unwrap_or_else(|| rng.random_range(0..points.len()));
            let centre = points[chosen].clone();
            for (least, point) in distances.iter_mut().zip(points) {
                *least = least.min(distance(point, &centre));
            }
            centres.push(centre);
        }
        centres
    }

    /// To the means; one without a point to the point farthest from its own.
    fn move_centres(
        &self,
        centres: &mut [Vec<f64>],
        points: &[Vec<f64>],
        labels: &[usize],
        distances: &mut [f64],
    ) {
        let mut counts = vec![0usize; centres.len()];
        centres.iter_mut().for_each(|centre| centre.fill(0.0));
        for (point, &label) in points.iter().zip(labels) {
            counts[label] += 1;
            for (sum, value) in centres[label].iter_mut().zip(point) {
                *sum += value;
            }
        }
        for (centre, count) in centres.iter_mut().zip(counts) {
            if count > 0 {
                centre.iter_mut().for_each(|sum| *sum /= count as f64);
                continue;
            }
            let farthest = (0..points.len()).max_by(|&a, &b| distances[a].total_cmp(&distances[b]));
            if let Some(farthest) = farthest {
                centre.clone_from(&points[farthest]);
                distances[farthest] = 0.0;
            }
        }
    }
}

fn nearest(point: &[f64], centres: &[Vec<f64>]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (number, centre) in centres.iter().enumerate() {
        let distance = distance(point, centre);
        if distance < best.1 {
            best = (number, distance);
        }
    }
    best
}

/// Squared.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_lie_apart_are_found_by_any_seed() {
        // Three groups of five around 0, 10 and 20.
        let points: Vec<Vec<f64>> = (0..15)
            .map(|i| vec![f64::from(i / 5) * 10.0 + f64::from(i % 5) * 0.1, 1.0])
            .collect();
        for seed in 0..5 {
            let labels = KMeans::new(3, seed, 0).labels(&points);
            assert_eq!(labels, KMeans::new(3, seed, 0).labels(&points));
            for group in labels.chunks(5) {
                assert!(group.iter().all(|label| *label == group[0]));
            }
            assert!(labels[0] != labels[5] && labels[5] != labels[10] && labels[0] != labels[10]);
        }
    }

    #[test]
    fn equal_points_share_a_cluster() {
        let labels = KMeans::new(3, 1, 0).labels(&vec![vec![2.0]; 6]);
        assert!(labels.iter().all(|label| *label == labels[0]));
    }
}
