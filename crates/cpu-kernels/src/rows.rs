//! Whole rows. Copies of them are memory-bound and small, so one thread makes them.

/// Row `index` of a matrix with `width` columns.
#[inline(always)]
pub(crate) fn row<T>(values: &[T], index: usize, width: usize) -> &[T] {
    &values[index * width..][..width]
}

/// The rows `indices` of `x` (·, d), one after the other; every index must be in range.
pub fn gather(x: &[f32], d: usize, indices: &[u32]) -> Vec<f32> {
    let mut gathered = Vec::with_capacity(indices.len() * d);
    for &index in indices {
        gathered.extend_from_slice(&x[index as usize * d..][..d]);
    }
    gathered
}

/// Adds row b of `dy` (·, d) to row `indices[b]` of `dx` (·, d); every index must be in range.
pub fn scatter(dy: &[f32], d: usize, indices: &[u32], dx: &mut [f32]) {
    for (b, &index) in indices.iter().enumerate() {
        let source = &dy[b * d..][..d];
        for (target, source) in dx[index as usize * d..][..d].iter_mut().zip(source) {
            *target += source;
        }
    }
}
