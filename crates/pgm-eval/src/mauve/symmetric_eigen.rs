/// Eigenvalues of a symmetric matrix, the largest first, each with its vector.
///
/// # Reference
/// Householder reflections to a tridiagonal matrix, then implicit QL: Golub and Van Loan, "Matrix Computations",
/// section 8.3.
#[derive(Debug)]
pub(super) struct SymmetricEigen {
    pub(super) values: Vec<f64>,
    pub(super) vectors: Vec<Vec<f64>>,
}

impl SymmetricEigen {
    /// Of a matrix by its rows.
    pub(super) fn of(matrix: Vec<Vec<f64>>) -> Self {
        let (mut diagonal, mut beside, mut rows) = tridiagonal(matrix);
        implicit_ql(&mut diagonal, &mut beside, &mut rows);
        let mut pairs: Vec<(f64, Vec<f64>)> = diagonal.into_iter().zip(rows).collect();
        pairs.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let (values, vectors) = pairs.into_iter().unzip();
        Self { values, vectors }
    }
}

/// Diagonal, what stands beside it (with a 0 at the end), and the rows of the basis.
fn tridiagonal(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<f64>, Vec<Vec<f64>>) {
    let n = matrix.len();
    let mut basis: Vec<Vec<f64>> = (0..n)
        .map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    let mut beside = vec![0.0; n];
    for k in 0..n.saturating_sub(1) {
        let mut v: Vec<f64> = matrix[k + 1..].iter().map(|row| row[k]).collect();
        let norm = dot(&v, &v).sqrt();
        let target = -norm.copysign(v[0]);
        beside[k] = target;
        v[0] -= target;
        let length = dot(&v, &v).sqrt();
        if length == 0.0 {
            continue;
        }
        v.iter_mut().for_each(|x| *x /= length);
        let rest = k + 1;
        let mut w: Vec<f64> = matrix[rest..]
            .iter()
            .map(|row| dot(&row[rest..], &v))
            .collect();
        let share = dot(&w, &v);
        add_scaled(&mut w, &v, -share);
        for (i, row) in matrix[rest..].iter_mut().enumerate() {
            add_scaled(&mut row[rest..], &w, -2.0 * v[i]);
            add_scaled(&mut row[rest..], &v, -2.0 * w[i]);
        }
        let mut along = vec![0.0; n];
        for (row, &x) in basis[rest..].iter().zip(&v) {
            add_scaled(&mut along, row, x);
        }
        for (row, &x) in basis[rest..].iter_mut().zip(&v) {
            add_scaled(row, &along, -2.0 * x);
        }
    }
    let diagonal = (0..n).map(|i| matrix[i][i]).collect();
    (diagonal, beside, basis)
}

/// Rotates until nothing stands beside the diagonal.
fn implicit_ql(diagonal: &mut [f64], beside: &mut [f64], rows: &mut [Vec<f64>]) {
    let n = diagonal.len();
    for first in 0..n {
        loop {
            let is_split = |i: usize| {
                let size = diagonal[i].abs() + diagonal[i + 1].abs();
                beside[i].abs() <= f64::EPSILON * size || beside[i].abs() < f64::MIN_POSITIVE
            };
            let last = (first..n - 1).find(|&i| is_split(i)).unwrap_or(n - 1);
            if last == first {
                break;
            }
            let half = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
            let shift = beside[first] / (half + half.hypot(1.0).copysign(half));
            let mut g = diagonal[last] - diagonal[first] + shift;
            let (mut sine, mut cosine, mut moved) = (1.0, 1.0, 0.0);
            let mut is_done = true;
            for i in (first..last).rev() {
                let (f, b) = (sine * beside[i], cosine * beside[i]);
                let length = f.hypot(g);
                beside[i + 1] = length;
                if length == 0.0 {
                    diagonal[i + 1] -= moved;
                    is_done = false;
                    break;
                }
                (sine, cosine) = (f / length, g / length);
                g = diagonal[i + 1] - moved;
                let turned = (diagonal[i] - g) * sine + 2.0 * cosine * b;
                moved = sine * turned;
                diagonal[i + 1] = g + moved;
                g = cosine * turned - b;
                rotate(rows, i, sine, cosine);
            }
            if is_done {
                diagonal[first] -= moved;
                beside[first] = g;
            }
            beside[last] = 0.0;
        }
    }
}

/// Turns rows `i` and `i + 1` in their plane.
fn rotate(rows: &mut [Vec<f64>], i: usize, sine: f64, cosine: f64) {
    let (front, back) = rows.split_at_mut(i + 1);
    for (a, b) in front[i].iter_mut().zip(&mut back[0]) {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(to: &mut [f64], what: &[f64], scale: f64) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += scale * what;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_times_a_vector_is_the_vector_times_its_value() {
        for n in [1usize, 2, 3, 17] {
            let entry = |i: usize, j: usize| ((i * j + i + j) % 7) as f64 - 2.0;
            let matrix: Vec<Vec<f64>> = (0..n)
                .map(|i| (0..n).map(|j| entry(i, j)).collect())
                .collect();
            let eigen = SymmetricEigen::of(matrix.clone());
            assert!(eigen.values.is_sorted_by(|a, b| a >= b));
            for (value, vector) in eigen.values.iter().zip(&eigen.vectors) {
                assert!((dot(vector, vector) - 1.0).abs() < 1e-12);
                for (row, x) in matrix.iter().zip(vector) {
                    assert!((dot(row, vector) - value * x).abs() < 1e-11);
                }
            }
        }
        assert_eq!(SymmetricEigen::of(vec![vec![0.0; 3]; 3]).values, [0.0; 3]);
    }
}
