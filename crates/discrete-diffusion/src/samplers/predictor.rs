use burn::tensor::{Device, Tensor};

use super::SampleError;
use super::transfer::{flat_places, int_vector, padded, read_ints, select_rows};
use crate::{CausalDenoiser, KnownTokens, PartitionDenoiser, QueryPositions, SequenceDenoiser};

/// A network as a sampler sees it: it predicts hidden positions from the tokens that are known.
pub trait Predictor {
    /// Runs the network once, up to its projection to the vocabulary if it has one that can be spared.
    ///
    /// `sequences` hold what is known, `None` where hidden; `positions` are hidden ones of each
    /// sequence, and there is at least one in all.
    ///
    /// # Shapes
    /// - output: `[number of positions, n_features]`, sequence by sequence
    ///
    /// # Errors
    /// When the device fails.
    fn features(
        &self,
        sequences: &[&[Option<u32>]],
        positions: &[Vec<usize>],
        device: &Device,
    ) -> Result<Tensor<2>, SampleError>;

    /// Logits of features.
    ///
    /// # Shapes
    /// - features: `[n, n_features]`
    /// - output: `[n, vocab_size]`
    fn project(&self, features: Tensor<2>) -> Tensor<2>;

    /// Logits of the positions: [`Self::project`] of their [`Self::features`].
    ///
    /// # Shapes
    /// - output: `[number of positions, vocab_size]`, sequence by sequence
    ///
    /// # Errors
    /// When the device fails.
    fn logits(
        &self,
        sequences: &[&[Option<u32>]],
        positions: &[Vec<usize>],
        device: &Device,
    ) -> Result<Tensor<2>, SampleError> {
        Ok(self.project(self.features(sequences, positions, device)?))
    }
}

/// An MDLM: the network runs over all positions of the sequences in question, with MASK where hidden, and
/// projects the positions in question to the vocabulary.
#[derive(Debug, Clone, Copy)]
pub struct MaskedPredictor<'a, D> {
    /// The network.
    pub denoiser: &'a D,
    /// The id of MASK.
    pub mask_token: u32,
}

impl<D: SequenceDenoiser> MaskedPredictor<'_, D> {
    /// Logits of every position, `[batch, seq, vocab_size]`.
    pub(super) fn all_logits(&self, sequences: &[&[Option<u32>]], device: &Device) -> Tensor<3> {
        self.denoiser
            .logits(padded(&filled(sequences, self.mask_token), device))
    }
}

impl<D: SequenceDenoiser> Predictor for MaskedPredictor<'_, D> {
    fn features(
        &self,
        sequences: &[&[Option<u32>]],
        positions: &[Vec<usize>],
        device: &Device,
    ) -> Result<Tensor<2>, SampleError> {
        let (sequences, positions) = asked(sequences, positions);
        let tokens = padded(&filled(&sequences, self.mask_token), device);
        let places = flat_places(&positions, tokens.dims()[1]);
        let places = int_vector(places, device);
        Ok(self.denoiser.features_at(tokens, places))
    }

    fn project(&self, features: Tensor<2>) -> Tensor<2> {
        self.denoiser.project(features)
    }
}

/// A PGM, with the forward pass of training at full length: known tokens are group 0, hidden
/// positions group 1.
///
/// As slow as an MDLM; the check for [`KnownPredictor`].
#[derive(Debug, Clone, Copy)]
pub struct PartitionPredictor<'a, D> {
    /// The network.
    pub denoiser: &'a D,
}

impl<D: PartitionDenoiser> Predictor for PartitionPredictor<'_, D> {
    fn features(
        &self,
        sequences: &[&[Option<u32>]],
        positions: &[Vec<usize>],
        device: &Device,
    ) -> Result<Tensor<2>, SampleError> {
        let (sequences, positions) = asked(sequences, positions);
        // Hidden positions hold some token: their own group is never read.
        let tokens = padded(&filled(&sequences, 0), device);
        let groups: Vec<Vec<i64>> = sequences
            .iter()
            .map(|row| row.iter().map(|token| token.is_none() as i64).collect())
            .collect();
        let output = self
            .denoiser
            .partition_logits(tokens, padded(&groups, device));
        let seq_len = output.order.dims()[1];
        let order = read_ints(output.order)?;
        let places: Vec<Vec<usize>> = order
            .chunks(seq_len)
            .zip(positions)
            .map(|(order, positions)| {
                let mut place_of = vec![0; seq_len];
                for (place, &position) in order.iter().enumerate() {
                    place_of[position as usize] = place;
                }
                positions.iter().map(|&at| place_of[at]).collect()
            })
            .collect();
        Ok(select_rows(output.logits, &places))
    }

    fn project(&self, logits: Tensor<2>) -> Tensor<2> {
        logits
    }
}

/// A PGM that processes known tokens and queried positions only; sequences may know different
/// numbers of tokens.
#[derive(Debug, Clone, Copy)]
pub struct KnownPredictor<'a, D> {
    /// The network.
    pub denoiser: &'a D,
}

impl<D: PartitionDenoiser> Predictor for KnownPredictor<'_, D> {
    fn features(
        &self,
        sequences: &[&[Option<u32>]],
        positions: &[Vec<usize>],
        device: &Device,
    ) -> Result<Tensor<2>, SampleError> {
        let (sequences, positions) = asked(sequences, positions);
        let mut tokens = Vec::with_capacity(sequences.len());
        let mut places = Vec::with_capacity(sequences.len());
        let mut queries = Vec::with_capacity(sequences.len());
        for (sequence, positions) in sequences.into_iter().zip(positions) {
            let known = (0i64..)
                .zip(sequence)
                .filter_map(|(i, t)| t.map(|t| (i, t as i64)));
            let (row_places, row_tokens): (Vec<i64>, Vec<i64>) = known.unzip();
            tokens.push(row_tokens);
            places.push(row_places);
            queries.push(positions.into_iter().map(|at| at as i64).collect());
        }
        let lengths = |rows: &[Vec<i64>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
        let features = self.denoiser.known_features(
            KnownTokens {
                tokens: padded(&tokens, device),
                positions: padded(&places, device),
                lengths: lengths(&tokens),
            },
            QueryPositions {
                positions: padded(&queries, device),
                lengths: lengths(&queries),
            },
        );
        let unpadded: Vec<Vec<usize>> =
            queries.iter().map(|row| (0..row.len()).collect()).collect();
        Ok(select_rows(features, &unpadded))
    }

    fn project(&self, features: Tensor<2>) -> Tensor<2> {
        self.denoiser.project(features)
    }
}

/// An autoregressive network: each position is predicted from what stands before it alone.
///
/// What stands before a queried position has to be known, the position itself need not; position 0 has nothing
/// before it and cannot be queried.
#[derive(Debug, Clone, Copy)]
pub struct CausalPredictor<'a, D> {
    /// The network.
    pub denoiser: &'a D,
}

impl<D: CausalDenoiser> Predictor for CausalPredictor<'_, D> {
    fn features(
        &self,
        sequences: &[&[Option<u32>]],
        positions: &[Vec<usize>],
        device: &Device,
    ) -> Result<Tensor<2>, SampleError> {
        // Filled up behind their ends, which nothing before reads.
        let tokens = padded(&filled(sequences, 0), device);
        let before: Vec<Vec<usize>> = positions
            .iter()
            .map(|row| row.iter().map(|&at| at - 1).collect())
            .collect();
        Ok(select_rows(self.denoiser.next_logits(tokens), &before))
    }

    fn project(&self, logits: Tensor<2>) -> Tensor<2> {
        logits
    }
}

/// The sequences of which some position is asked, with these positions. The network need not run
/// over the others, which a step may leave as they are or which are complete.
fn asked<'a>(
    sequences: &[&'a [Option<u32>]],
    positions: &[Vec<usize>],
) -> (Vec<&'a [Option<u32>]>, Vec<Vec<usize>>) {
    let rows = sequences.iter().copied().zip(positions.iter().cloned());
    rows.filter(|(_, positions)| !positions.is_empty()).unzip()
}

/// Sequences with a token for what is hidden.
fn filled(sequences: &[&[Option<u32>]], hidden: u32) -> Vec<Vec<i64>> {
    let fill = |token: &Option<u32>| token.unwrap_or(hidden) as i64;
    sequences
        .iter()
        .map(|row| row.iter().map(fill).collect())
        .collect()
}
