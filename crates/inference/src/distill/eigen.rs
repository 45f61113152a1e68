//! Eigenvalues and eigenvectors of a symmetric matrix, always the same for the same numbers.
//!
//! Householder's reduction to three diagonals and implicit QL, as in EISPACK's `tred2` and `tql2` (Bowdler, Martin,
//! Reinsch, Wilkinson: Handbook for Automatic Computation II, 1971). Only additions, multiplications, divisions and
//! square roots in a fixed order, which IEEE 754 rounds alike everywhere; no threads, no library that picks other
//! instructions on another machine.

/// Steps for one eigenvalue; two or three are usual, and EISPACK gives up at thirty.
const MOST_STEPS: usize = 60;

/// Eigenvalues, largest first, and the unit vector of each.
pub(crate) struct Eigen {
    pub values: Vec<f64>,
    pub vectors: Vec<Vec<f64>>,
}

/// Of a symmetric matrix given by rows; only its lower half is read. Each vector's largest entry (the first of several)
/// is positive. None if a number is not finite.
pub(crate) fn eigen(matrix: &[Vec<f64>]) -> Option<Eigen> {
    if matrix.iter().flatten().any(|value| !value.is_finite()) {
        return None;
    }
    let n = matrix.len();
    let mut v: Vec<Vec<f64>> =
        (0..n).map(|row| (0..n).map(|col| matrix[row.max(col)][row.min(col)]).collect()).collect();
    let (mut d, mut e) = (vec![0.0; n], vec![0.0; n]);
    to_three_diagonals(&mut v, &mut d, &mut e);
    by_ql(&mut v, &mut d, &mut e)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| d[*b].total_cmp(&d[*a]).then(a.cmp(b)));
    let vectors = order.iter().map(|column| {
        let mut vector: Vec<f64> = v.iter().map(|row| row[*column]).collect();
        // `max_by` takes the last of equals; counted from behind that is the first.
        let largest = vector.iter().rev().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
        if largest.is_some_and(|value| value < 0.0) {
            vector.iter_mut().for_each(|value| *value = -*value);
        }
        vector
    });
    Some(Eigen { vectors: vectors.collect(), values: order.iter().map(|at| d[*at]).collect() })
}

/// `v` becomes the transformation, `d` the diagonal, `e` what stands below it.
fn to_three_diagonals(v: &mut [Vec<f64>], d: &mut [f64], e: &mut [f64]) {
    let n = d.len();
    if let Some(last) = v.last() {
        d.copy_from_slice(last);
    }
    for i in (1..n).rev() {
        let scale: f64 = d[..i].iter().map(|value| value.abs()).sum();
        let mut h = 0.0;
        if scale == 0.0 {
            e[i] = d[i - 1];
            for j in 0..i {
                d[j] = v[i - 1][j];
                v[i][j] = 0.0;
                v[j][i] = 0.0;
            }
        } else {
            for value in &mut d[..i] {
                *value /= scale;
                h += *value * *value;
            }
            let mut f = d[i - 1];
            let mut g = if f > 0.0 { -h.sqrt() } else { h.sqrt() };
            e[i] = scale * g;
            h -= f * g;
            d[i - 1] = f - g;
            e[..i].fill(0.0);
            for j in 0..i {
                f = d[j];
                v[j][i] = f;
                g = e[j] + v[j][j] * f;
                for k in j + 1..i {
                    g += v[k][j] * d[k];
                    e[k] += v[k][j] * f;
                }
                e[j] = g;
            }
            f = 0.0;
            for j in 0..i {
                e[j] /= h;
                f += e[j] * d[j];
            }
            let hh = f / (h + h);
            for j in 0..i {
                e[j] -= hh * d[j];
            }
            for j in 0..i {
                f = d[j];
                g = e[j];
                for k in j..i {
                    v[k][j] -= f * e[k] + g * d[k];
                }
                d[j] = v[i - 1][j];
                v[i][j] = 0.0;
            }
        }
        d[i] = h;
    }
    for i in 0..n.saturating_sub(1) {
        v[n - 1][i] = v[i][i];
        v[i][i] = 1.0;
        let h = d[i + 1];
        if h != 0.0 {
            for k in 0..=i {
                d[k] = v[k][i + 1] / h;
            }
            for j in 0..=i {
                let g: f64 = (0..=i).map(|k| v[k][i + 1] * v[k][j]).sum();
                for k in 0..=i {
                    v[k][j] -= g * d[k];
                }
            }
        }
        for row in &mut v[..=i] {
            row[i + 1] = 0.0;
        }
    }
    for j in 0..n {
        d[j] = v[n - 1][j];
        v[n - 1][j] = 0.0;
    }
    if n > 0 {
        v[n - 1][n - 1] = 1.0;
        e[0] = 0.0;
    }
}

/// Turns the three diagonals into one; `v`'s columns become the eigenvectors.
fn by_ql(v: &mut [Vec<f64>], d: &mut [f64], e: &mut [f64]) -> Option<()> {
    let n = d.len();
    if n == 0 {
        return Some(());
    }
    e.rotate_left(1);
    e[n - 1] = 0.0;
    let (mut f, mut largest) = (0.0_f64, 0.0_f64);
    for l in 0..n {
        largest = largest.max(d[l].abs() + e[l].abs());
        // `e` ends with a zero, so there is always one.
        let m = (l..n).find(|m| e[*m].abs() <= f64::EPSILON * largest).unwrap_or(n - 1);
        let mut steps = 0;
        let mut is_apart = m == l;
        while !is_apart {
            steps += 1;
            if steps > MOST_STEPS {
                return None;
            }
            let mut g = d[l];
            let mut p = (d[l + 1] - g) / (2.0 * e[l]);
            let mut r = (p * p + 1.0).sqrt();
            if p < 0.0 {
                r = -r;
            }
            d[l] = e[l] / (p + r);
            d[l + 1] = e[l] * (p + r);
            let next = d[l + 1];
            let h = g - d[l];
            for value in &mut d[l + 2..] {
                *value -= h;
            }
            f += h;
            p = d[m];
            let (mut c, mut c2, mut c3) = (1.0, 1.0, 1.0);
            let below = e[l + 1];
            let (mut s, mut s2) = (0.0, 0.0);
            for i in (l..m).rev() {
                c3 = c2;
                c2 = c;
                s2 = s;
                g = c * e[i];
                let h = c * p;
                r = (p * p + e[i] * e[i]).sqrt();
                e[i + 1] = s * r;
                s = e[i] / r;
                c = p / r;
                p = c * d[i] - s * g;
                d[i + 1] = h + s * (c * g + s * d[i]);
                for row in v.iter_mut() {
                    let h = row[i + 1];
                    row[i + 1] = s * row[i] + c * h;
                    row[i] = c * row[i] - s * h;
                }
            }
            p = -s * s2 * c3 * below * e[l] / next;
            e[l] = s * p;
            d[l] = c * p;
            is_apart = e[l].abs() <= f64::EPSILON * largest;
        }
        d[l] += f;
        e[l] = 0.0;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(matrix: &[&[f64]], values: &[f64], vectors: &[&[f64]]) {
        let rows: Vec<Vec<f64>> = matrix.iter().map(|row| row.to_vec()).collect();
        let found = eigen(&rows).unwrap();
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close(&found.values, values), "{:?}", found.values);
        for (found, expected) in found.vectors.iter().zip(vectors) {
            assert!(close(found, expected), "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn known_matrices_have_their_known_parts() {
        check(&[], &[], &[]);
        check(&[&[-3.0]], &[-3.0], &[&[1.0]]);
        check(&[&[2.0, 0.0], &[0.0, 5.0]], &[5.0, 2.0], &[&[0.0, 1.0], &[1.0, 0.0]]);
        let half = 0.5_f64.sqrt();
        check(&[&[2.0, 1.0], &[1.0, 2.0]], &[3.0, 1.0], &[&[half, half], &[half, -half]]);
        // The second difference: 2 - 2 cos(k pi / 4), sines.
        let (root, quarter) = (2.0_f64.sqrt(), 0.5);
        check(
            &[&[2.0, -1.0, 0.0], &[-1.0, 2.0, -1.0], &[0.0, -1.0, 2.0]],
            &[2.0 + root, 2.0, 2.0 - root],
            &[&[-quarter, half, -quarter], &[half, 0.0, -half], &[quarter, half, quarter]],
        );
        check(&[&[0.0, 0.0], &[0.0, 0.0]], &[0.0, 0.0], &[]);
    }

    #[test]
    fn what_is_no_number_has_no_parts() {
        assert!(eigen(&[vec![f64::NAN]]).is_none());
    }

    proptest! {
        #[test]
        fn parts_make_up_the_matrix(numbers in prop::collection::vec(-10.0..10.0_f64, 1..120)) {
            let n = (1..).take_while(|n| n * (n + 1) / 2 <= numbers.len()).last().unwrap();
            let at = |row: usize, col: usize| numbers[row.max(col) * (row.max(col) + 1) / 2 + row.min(col)];
            let matrix: Vec<Vec<f64>> = (0..n).map(|row| (0..n).map(|col| at(row, col)).collect()).collect();
            let parts = eigen(&matrix).unwrap();
            prop_assert!(parts.values.is_sorted_by(|a, b| a >= b));
            for (row, expected) in matrix.iter().enumerate() {
                for (col, expected) in expected.iter().enumerate() {
                    let sum = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
                    let whole = sum(&|k| parts.values[k] * parts.vectors[k][row] * parts.vectors[k][col]);
                    prop_assert!((whole - expected).abs() < 1e-9);
                    let product = sum(&|k| parts.vectors[row][k] * parts.vectors[col][k]);
                    prop_assert!((product - f64::from(u8::from(row == col))).abs() < 1e-10);
                }
            }
        }
    }
}
