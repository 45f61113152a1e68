//! Matrix products on the processor. The one place of encoders that speaks to `gemm` with pointers.

/// A matrix inside a slice: where it begins, how far its rows and columns are apart.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub data: &'a [f32],
    pub row_step: usize,
    pub column_step: usize,
}

impl<'a> View<'a> {
    /// Rows of `width` numbers, one after another.
    pub(super) fn rows(data: &'a [f32], width: usize) -> Self {
        Self { data, row_step: width, column_step: 1 }
    }

    /// The same matrix with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self { data: self.data, row_step: self.column_step, column_step: self.row_step }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row_step + (columns - 1) * self.column_step < self.data.len()
    }
}

/// `out = alpha * left * right` with `left` of `rows` x `depth` and `right` of `depth` x `columns`; `out` has its
/// rows `out_step` apart. With `parallel` the pool's threads share the work.
///
/// # Panics
/// If a slice is too short for its dimensions.
#[expect(unsafe_code, reason = "`gemm` takes pointers; every one is checked against its slice here")]
pub(super) fn multiply(
    out: &mut [f32],
    out_step: usize,
    (rows, depth, columns): (usize, usize, usize),
    left: View<'_>,
    right: View<'_>,
    alpha: f32,
    parallel: bool,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(columns <= out_step || rows == 1, "rows of a product must not overlap");
    assert!((rows - 1) * out_step + columns <= out.len(), "the result must fit");
    assert!(left.holds(rows, depth) && right.holds(depth, columns), "the factors must be there");
    let parallelism = if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: `out` holds every element at row * out_step + column for row < rows, column < columns, and these are
    // distinct; `left` and `right` hold every element of theirs (asserted above). `out` is borrowed mutably, so it
    // overlaps neither. All steps come from lengths of slices and so fit in an isize.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            1,
            out_step as isize,
            false,
            left.data.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.data.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            0.0,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}
