use nalgebra::DMatrix;

/// Points in the coordinates of the fewest principal components that keep a share of their variance.
pub(super) fn principal_components(rows: &[Vec<f64>], kept: f64) -> Vec<Vec<f64>> {
    let (n_rows, width) = (rows.len(), rows[0].len());
    let mut points = DMatrix::from_fn(n_rows, width, |row, column| rows[row][column]);
    for mut column in points.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    // Both products have the same eigenvalues other than zero; the smaller one is decomposed.
    let is_wide = width > n_rows;
    let products = if is_wide {
        &points * points.transpose()
    } else {
        points.tr_mul(&points)
    };
    let eigen = products.symmetric_eigen();
    let variance = |component: usize| eigen.eigenvalues[component].max(0.0);
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&a, &b| variance(b).total_cmp(&variance(a)));
    let total: f64 = order.iter().map(|&component| variance(component)).sum();
    let mut sum = 0.0;
    let last = order.iter().position(|&component| {
        sum += variance(component);
        sum >= kept * total
    });
    order.truncate(last.map_or(order.len(), |last| last + 1));
    let mut coordinates = eigen.eigenvectors.select_columns(&order);
    if is_wide {
        for (mut column, &component) in coordinates.column_iter_mut().zip(&order) {
            column *= variance(component).sqrt();
        }
    } else {
        coordinates = points * coordinates;
    }
    coordinates
        .row_iter()
        .map(|row| row.iter().copied().collect())
        .collect()
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
            let points = principal_components(&case.rows, 0.9);
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
