/// Why a list of segments was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// A sequence has another number of segments than the first one.
    #[error(
        "sequence {sequence} has {found} segments, sequence 0 has {expected}; pad the shorter list with empty segments"
    )]
    Ragged {
        /// Index of the sequence in the batch.
        sequence: usize,
        /// Segments of this sequence.
        found: usize,
        /// Segments of the first sequence.
        expected: usize,
    },
    /// A segment reaches beyond the tensor.
    #[error(
        "segment {segment} of sequence {sequence} ends at {axis} {end}, but there are only {len}"
    )]
    OutOfBounds {
        /// Index of the sequence in the batch.
        sequence: usize,
        /// Index of the segment in the sequence.
        segment: usize,
        /// `query` or `key`.
        axis: &'static str,
        /// One past the last position of the segment.
        end: usize,
        /// Length of the axis.
        len: usize,
    },
    /// Two segments of one sequence share queries.
    #[error(
        "segments {first} and {second} of sequence {sequence} share query {query}; a query belongs to one segment"
    )]
    Overlap {
        /// Index of the sequence in the batch.
        sequence: usize,
        /// The segment that starts first.
        first: usize,
        /// The segment that overlaps it.
        second: usize,
        /// The first shared query.
        query: usize,
    },
    /// There are no segments at all.
    #[error("no segments were given; a batch needs at least one sequence with one segment")]
    Empty,
}
