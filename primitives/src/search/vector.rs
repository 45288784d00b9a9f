//! Nearest vectors by angle, exactly: every vector is compared.

use super::Hit;

/// Why vectors have no angle between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VectorError {
    /// A vector without direction.
    #[error("a vector of zeros has no direction")]
    ZeroVector,
    /// A vector of another length than the one asked with.
    #[error("vector {seq} has {found} dimensions, not {expected}")]
    DimensionMismatch {
        /// Place of the vector.
        seq: usize,
        /// Its length.
        found: usize,
        /// Length of the vector asked with.
        expected: usize,
    },
    /// A component that is infinite or no number.
    #[error("a component is not a finite number")]
    NonFinite,
}

/// The `k` vectors with the smallest angle to `query`, best first, ties by lower place; the score is the cosine, -1 to 1.
///
/// Summed in double precision, in which no finite component overflows. Takes time linear in the vectors, and `k log k`.
///
/// # Errors
/// [`VectorError`], for the first vector it holds for; `query` is looked at first.
pub fn nearest<'v>(
    vectors: impl IntoIterator<Item = &'v [f32]>,
    query: &[f32],
    k: usize,
) -> Result<Vec<Hit>, VectorError> {
    let length = norm(query)?;
    let hits: Result<Vec<Hit>, VectorError> = vectors
        .into_iter()
        .enumerate()
        .map(|(seq, vector)| {
            if vector.len() != query.len() {
                return Err(VectorError::DimensionMismatch {
                    seq,
                    found: vector.len(),
                    expected: query.len(),
                });
            }
            let own = norm(vector)?;
            let dot: f64 = vector.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            // Adding zero makes the negative zero positive, so that both tie.
            Ok(Hit { seq, score: (dot / (own * length)).clamp(-1.0, 1.0) + 0.0 })
        })
        .collect();
    Ok(Hit::best(hits?, k))
}

fn norm(vector: &[f32]) -> Result<f64, VectorError> {
    if !vector.iter().all(|component| component.is_finite()) {
        return Err(VectorError::NonFinite);
    }
    let squares: f64 = vector.iter().map(|component| f64::from(*component).powi(2)).sum();
    if squares == 0.0 { Err(VectorError::ZeroVector) } else { Ok(squares.sqrt()) }
}
