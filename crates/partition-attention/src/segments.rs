use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::SegmentError;

/// A rectangle of the attention matrix: these queries read these keys.
///
/// Positions count from the start of the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// First query.
    pub query_start: usize,
    /// Number of queries.
    pub query_len: usize,
    /// First key.
    pub key_start: usize,
    /// Number of keys; 0 makes the output of these queries 0.
    pub key_len: usize,
}

/// Which keys each query of a batch may read, as rectangles that live on the device.
///
/// Queries of one sequence belong to at most one segment.
#[derive(Debug, Clone)]
pub struct Segments {
    table: Tensor<3, Int>,
}

impl Segments {
    /// Wraps a table that is already on the device.
    ///
    /// The values are trusted, because reading them back would stall the device: a segment has to
    /// lie inside the tensors, and queries must not be shared between segments.
    ///
    /// # Shapes
    /// - table: `[batch, n_segments, 4]` of (query start, query length, key start, key length)
    ///
    /// # Panics
    /// Panics if the last axis is not 4.
    pub fn from_table(table: Tensor<3, Int>) -> Self {
        let [_, _, width] = table.dims();
        assert_eq!(
            width, 4,
            "a segment has 4 entries (query start, query length, key start, key length), got {width}"
        );
        Self { table }
    }

    /// Checks segments and moves them to the device.
    ///
    /// # Errors
    /// When sequences have different numbers of segments, when one leaves `query_len` or `key_len`,
    /// or when two segments of a sequence share queries.
    pub fn new(
        sequences: &[Vec<Segment>],
        query_len: usize,
        key_len: usize,
        device: &Device,
    ) -> Result<Self, SegmentError> {
        let expected = sequences.first().map_or(0, Vec::len);
        if expected == 0 {
            return Err(SegmentError::Empty);
        }
        let mut table = Vec::with_capacity(sequences.len() * expected * 4);
        for (sequence, segments) in sequences.iter().enumerate() {
            if segments.len() != expected {
                return Err(SegmentError::Ragged {
                    sequence,
                    found: segments.len(),
                    expected,
                });
            }
            check_bounds(sequence, segments, query_len, key_len)?;
            check_overlap(sequence, segments)?;
            for s in segments {
                table
                    .extend([s.query_start, s.query_len, s.key_start, s.key_len].map(|x| x as i64));
            }
        }
        let data = TensorData::new(table, [sequences.len(), expected, 4]);
        Ok(Self {
            table: Tensor::from_data(data, device),
        })
    }

    /// The table on the device.
    ///
    /// # Shapes
    /// - output: `[batch, n_segments, 4]`
    pub fn table(&self) -> Tensor<3, Int> {
        self.table.clone()
    }

    /// Which segment each query belongs to, as ones and zeros.
    ///
    /// # Shapes
    /// - output: `[batch, query_len, n_segments]`
    pub fn query_membership(&self, query_len: usize) -> Tensor<3> {
        self.membership(query_len, 0)
    }

    /// Which segments each key belongs to, as ones and zeros.
    ///
    /// # Shapes
    /// - output: `[batch, key_len, n_segments]`
    pub fn key_membership(&self, key_len: usize) -> Tensor<3> {
        self.membership(key_len, 2)
    }

    fn membership(&self, len: usize, column: usize) -> Tensor<3> {
        let [batch, n_segments, _] = self.table.dims();
        let spread = |column: usize| {
            self.table
                .clone()
                .narrow(2, column, 1)
                .swap_dims(1, 2)
                .expand([batch, len, n_segments])
        };
        let start = spread(column);
        let end = start.clone() + spread(column + 1);
        let positions = Tensor::<1, Int>::arange(0..len as i64, &self.table.device())
            .reshape([1, len, 1])
            .expand([batch, len, n_segments]);
        positions
            .clone()
            .greater_equal(start)
            .bool_and(positions.lower(end))
            .float()
    }
}

fn check_bounds(
    sequence: usize,
    segments: &[Segment],
    query_len: usize,
    key_len: usize,
) -> Result<(), SegmentError> {
    for (segment, s) in segments.iter().enumerate() {
        for (axis, end, len) in [
            ("query", s.query_start + s.query_len, query_len),
            ("key", s.key_start + s.key_len, key_len),
        ] {
            if end > len {
                return Err(SegmentError::OutOfBounds {
                    sequence,
                    segment,
                    axis,
                    end,
                    len,
                });
            }
        }
    }
    Ok(())
}

fn check_overlap(sequence: usize, segments: &[Segment]) -> Result<(), SegmentError> {
    let mut order: Vec<usize> = (0..segments.len())
        .filter(|&i| segments[i].query_len > 0)
        .collect();
    order.sort_by_key(|&i| segments[i].query_start);
    for pair in order.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        let end = segments[first].query_start + segments[first].query_len;
        if end > segments[second].query_start {
            return Err(SegmentError::Overlap {
                sequence,
                first,
                second,
                query: segments[second].query_start,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(query_start: usize, query_len: usize, key_start: usize, key_len: usize) -> Segment {
        Segment {
            query_start,
            query_len,
            key_start,
            key_len,
        }
    }

    #[test]
    fn segments_that_leave_the_tensor_are_refused_with_the_numbers() {
        let error = Segments::new(&[vec![segment(0, 3, 2, 4)]], 3, 5, &Device::flex()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "segment 0 of sequence 0 ends at key 6, but there are only 5"
        );
    }

    #[test]
    fn a_query_belongs_to_one_segment() {
        let segments = vec![segment(2, 2, 0, 1), segment(0, 3, 0, 1)];
        let error = Segments::new(&[segments], 4, 4, &Device::flex()).unwrap_err();
        assert_eq!(
            error,
            SegmentError::Overlap {
                sequence: 0,
                first: 1,
                second: 0,
                query: 2
            }
        );
    }

    #[test]
    fn ragged_and_empty_batches_are_refused() {
        let ragged = [vec![segment(0, 1, 0, 1)], vec![]];
        let device = Device::flex();
        assert!(matches!(
            Segments::new(&ragged, 1, 1, &device),
            Err(SegmentError::Ragged { sequence: 1, .. })
        ));
        assert!(matches!(
            Segments::new(&[], 1, 1, &device),
            Err(SegmentError::Empty)
        ));
    }
}
