use super::symmetric_eigen::SymmetricEigen;

/// Points in the coordinates of the fewest principal components that keep a share of their variance.
pub(super) fn principal_components(mut rows: Vec<Vec<f64>>, kept: f64) -> Vec<Vec<f64>> {
    let (n_rows, width) = (rows.len(), rows[0].len());
    for column in 0..width {
        let mean = rows.iter().map(|row| row[column]).sum::<f64>() / n_rows as f64;
        rows.iter_mut().for_each(|row| row[column] -= mean);
    }
    // Rows times rows has the eigenvalues that columns times columns has; the smaller one is taken.
    let is_wide = width > n_rows;
    let vectors = if is_wide {
        rows.clone()
    } else {
        transposed(&rows)
    };
    let products = vectors
        .iter()
        .map(|a| vectors.iter().map(|b| dot(a, b)).collect());
    let eigen = SymmetricEigen::of(products.collect());
    let total: f64 = eigen.values.iter().map(|value| value.max(0.0)).sum();
    let mut sum = 0.0;
    let needed = eigen.values.iter().position(|value| {
        sum += value.max(0.0);
        sum >= kept * total
    });
    let n_components = needed.map_or(eigen.values.len(), |last| last + 1);
    let components = &eigen.vectors[..n_components];
    let coordinates = |number: usize, row: &Vec<f64>| -> Vec<f64> {
        let components = components.iter().zip(&eigen.values);
        match is_wide {
            true => components
                .map(|(vector, value)| vector[number] * value.max(0.0).sqrt())
                .collect(),
            false => components.map(|(vector, _)| dot(vector, row)).collect(),
        }
    };
    let rows = rows.iter().enumerate();
    rows.map(|(number, row)| coordinates(number, row)).collect()
}

fn transposed(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column]).collect())
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        rows: Vec<Vec<f64>>,
        n_components: usize,
        distances: Vec<f64>,
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        principal_components: Vec<Case>,
    }

    #[test]
    fn distances_are_those_of_numpy_for_tall_and_wide_sets() {
        let golden = include_str!("../../tests/golden/mauve.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        assert_eq!(golden.principal_components.len(), 2);
        for case in golden.principal_components {
            let points = principal_components(case.rows, 0.9);
            assert_eq!(points[0].len(), case.n_components);
            // From the first point to each; signs of the components are free.
            for (point, expected) in points.iter().zip(case.distances) {
                let squares = point.iter().zip(&points[0]).map(|(a, b)| (a - b).powi(2));
                let found = squares.sum::<f64>().sqrt();
                assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
        }
    }
}
