/// Divergences are multiplied with it before they are brought to `[0, 1]`.
const SCALE: f64 = 5.0;

/// Mixtures of the two distributions on the curve.
const N_MIXTURES: usize = 25;

/// The mixture weights are from this to 1 less this.
const MARGIN: f64 = 1e-6;

/// Shares of clusters, with `add` more texts in each: 1/2 is the estimate of Krichevsky and Trofimov.
pub(super) fn smoothed(counts: &[usize], add: f64) -> Vec<f64> {
    let total = counts.iter().sum::<usize>() as f64 + add * counts.len() as f64;
    let shares = counts.iter().map(|&count| (count as f64 + add) / total);
    shares.collect()
}

/// Area under the divergence curve of two distributions.
///
/// # Reference
/// MAUVE (arXiv 2102.01454), equations 1 and 2; scale, mixtures and the mean of the areas along both axes as in its code.
pub(super) fn area(p: &[f64], q: &[f64]) -> f64 {
    let step = (1.0 - 2.0 * MARGIN) / (N_MIXTURES - 1) as f64;
    let mixtures = (0..N_MIXTURES).map(|i| {
        let weight = MARGIN + step * i as f64;
        let mixed: Vec<f64> = p
            .iter()
            .zip(q)
            .map(|(p, q)| weight * p + (1.0 - weight) * q)
            .collect();
        [q, p].map(|of| (-SCALE * divergence(of, &mixed)).exp())
    });
    let mut curve = vec![[1.0, 0.0]];
    curve.extend(mixtures);
    curve.push([0.0, 1.0]);
    (area_along(&mut curve, 0) + area_along(&mut curve, 1)) / 2.0
}

/// Kullback-Leibler divergence in nats.
fn divergence(p: &[f64], q: &[f64]) -> f64 {
    let terms = p.iter().zip(q).filter(|(p, _)| **p > 0.0);
    terms.map(|(p, q)| p * (p / q).ln()).sum()
}

/// Trapezoids along an axis.
fn area_along(curve: &mut [[f64; 2]], axis: usize) -> f64 {
    // Stable: points with equal values stay in the order of the curve.
    curve.sort_by(|a, b| a[axis].total_cmp(&b[axis]));
    let pieces = curve.windows(2).map(|pair| {
        let (from, to) = (pair[0], pair[1]);
        (to[axis] - from[axis]) * (to[1 - axis] + from[1 - axis]) / 2.0
    });
    pieces.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        p: Vec<usize>,
        q: Vec<usize>,
        mauve: f64,
        mauve_star: f64,
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        histograms: Vec<Case>,
    }

    #[test]
    fn areas_are_those_of_numpy() {
        let golden = include_str!("../../tests/golden/mauve.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        assert!(golden.histograms.len() >= 4);
        for case in golden.histograms {
            let of = |add| area(&smoothed(&case.p, add), &smoothed(&case.q, add));
            let found = [of(0.0), of(0.5)];
            for (found, expected) in found.iter().zip([case.mauve, case.mauve_star]) {
                assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
        }
    }
}
