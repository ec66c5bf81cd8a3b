use burn::tensor::{Int, Tensor};
use discrete_diffusion::{KnownTokens, QueryPositions};
use partition_attention::{GroupLayout, Segment, Segments};

/// Token sequences sorted by group, the form in which the networks work.
#[derive(Debug, Clone)]
pub struct SortedTokens {
    /// Token ids, `[batch, seq]`, group 0 first.
    pub tokens: Tensor<2, Int>,
    /// The place of each token in its sequence, `[batch, seq]`.
    pub positions: Tensor<2, Int>,
    /// The order.
    pub layout: GroupLayout,
}

impl SortedTokens {
    /// Sorts sequences by group.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - groups: `[batch, seq]`, 0 or 1
    ///
    /// # Panics
    /// Panics if the shapes differ.
    pub fn new(tokens: Tensor<2, Int>, groups: Tensor<2, Int>) -> Self {
        let [batch, seq_len] = tokens.dims();
        assert_eq!(
            groups.dims(),
            [batch, seq_len],
            "groups has to have the shape of tokens"
        );
        let positions = positions(seq_len, &tokens).repeat_dim(0, batch);
        let layout = GroupLayout::new(groups);
        Self {
            tokens: layout.sort(tokens),
            positions: layout.sort(positions),
            layout,
        }
    }
}

/// Segments in which the known tokens read each other.
pub(crate) fn known_segments(known: &KnownTokens) -> Segments {
    let [_, len] = known.tokens.dims();
    segments(&known.lengths, len, &known.lengths, len, &known.tokens)
}

/// Segments in which the queries read the known tokens.
pub(crate) fn query_segments(known: &KnownTokens, queries: &QueryPositions) -> Segments {
    let [_, known_len] = known.tokens.dims();
    let [_, query_len] = queries.positions.dims();
    segments(
        &queries.lengths,
        query_len,
        &known.lengths,
        known_len,
        &known.tokens,
    )
}

/// The positions `[1, seq]` of a sequence: 0, 1, 2, ..., on the device of some tokens.
pub fn positions(seq_len: usize, like: &Tensor<2, Int>) -> Tensor<2, Int> {
    Tensor::arange(0..seq_len as i64, &like.device()).unsqueeze_dim(0)
}

/// One segment a row: all its queries read all its keys.
pub(crate) fn segments(
    query_lengths: &[usize],
    query_len: usize,
    key_lengths: &[usize],
    key_len: usize,
    like: &Tensor<2, Int>,
) -> Segments {
    let [batch, _] = like.dims();
    assert!(
        query_lengths.len() == batch && key_lengths.len() == batch,
        "lengths are for {} and {} rows, the batch has {batch}",
        query_lengths.len(),
        key_lengths.len()
    );
    let rows: Vec<Vec<Segment>> = query_lengths
        .iter()
        .zip(key_lengths)
        .map(|(&queries, &keys)| {
            vec![Segment {
                query_start: 0,
                query_len: queries,
                key_start: 0,
                key_len: keys,
            }]
        })
        .collect();
    Segments::new(&rows, query_len, key_len, &like.device())
        .unwrap_or_else(|error| panic!("lengths do not fit the tensors: {error}"))
}
