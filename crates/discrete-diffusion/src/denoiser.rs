use burn::tensor::{Int, Tensor};

/// A network that predicts hidden tokens of whole sequences: MDLM.
pub trait SequenceDenoiser {
    /// # Shapes
    /// - tokens: `[batch, seq]`, MASK where hidden
    /// - output: `[batch, seq, vocab_size]`
    fn logits(&self, tokens: Tensor<2, Int>) -> Tensor<3>;

    /// What [`Self::project`] makes the logits of chosen places of. By default these are the logits themselves; a
    /// network that ends in a projection to the vocabulary overrides both.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`, MASK where hidden
    /// - places: `[n]`, indices into the `batch * seq` tokens, row by row
    /// - output: `[n, n_features]`
    fn features_at(&self, tokens: Tensor<2, Int>, places: Tensor<1, Int>) -> Tensor<2> {
        let logits = self.logits(tokens);
        let [batch, seq_len, vocab_size] = logits.dims();
        logits
            .reshape([batch * seq_len, vocab_size])
            .select(0, places)
    }

    /// Logits of features.
    ///
    /// # Shapes
    /// - features: `[n, n_features]`
    /// - output: `[n, vocab_size]`
    fn project(&self, features: Tensor<2>) -> Tensor<2> {
        features
    }
}

/// A network that predicts each token from what stands before it.
pub trait CausalDenoiser {
    /// What the network keeps of the tokens it has read; the default is empty.
    type Cache: Default;

    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - output: `[batch, seq, vocab_size]`, of the token *after* each position
    fn next_logits(&self, tokens: Tensor<2, Int>) -> Tensor<3>;

    /// Reads the tokens that follow those in the cache.
    ///
    /// # Shapes
    /// - tokens: `[batch, new]`, at least one a sequence
    /// - output: `[batch, vocab_size]`, of the token after the last one
    fn next_logits_cached(&self, tokens: Tensor<2, Int>, cache: &mut Self::Cache) -> Tensor<2>;
}

/// Logits in an order of the network's choosing.
#[derive(Debug, Clone)]
pub struct PartitionLogits {
    /// `[batch, seq, vocab_size]`
    pub logits: Tensor<3>,
    /// The position in the sequence that each row belongs to, `[batch, seq]`.
    pub order: Tensor<2, Int>,
}

/// What a sampler knows so far: tokens packed to the left in any order, with their positions.
#[derive(Debug, Clone)]
pub struct KnownTokens {
    /// Token ids, `[batch, known]`; entries behind a row's length are ignored.
    pub tokens: Tensor<2, Int>,
    /// The place of each token in its sequence, `[batch, known]`.
    pub positions: Tensor<2, Int>,
    /// Known tokens of each row, at most `known`.
    pub lengths: Vec<usize>,
}

/// The positions to predict, packed to the left.
#[derive(Debug, Clone)]
pub struct QueryPositions {
    /// Places in the sequence, `[batch, queries]`; entries behind a row's length are ignored.
    pub positions: Tensor<2, Int>,
    /// Queries of each row, at most `queries`.
    pub lengths: Vec<usize>,
}

/// A network that predicts each group of a partition from the other: PGM.
pub trait PartitionDenoiser {
    /// Logits of every token, each from the tokens of the other group.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - groups: `[batch, seq]`, 0 or 1
    fn partition_logits(&self, tokens: Tensor<2, Int>, groups: Tensor<2, Int>) -> PartitionLogits;

    /// What [`Self::project`] makes the logits of chosen positions of, from known tokens alone: the logits themselves,
    /// or what a network has before its projection to the vocabulary.
    ///
    /// # Shapes
    /// - output: `[batch, queries, n_features]`
    fn known_features(&self, known: KnownTokens, queries: QueryPositions) -> Tensor<3>;

    /// Logits of features.
    ///
    /// # Shapes
    /// - features: `[n, n_features]`
    /// - output: `[n, vocab_size]`
    fn project(&self, features: Tensor<2>) -> Tensor<2> {
        features
    }
}
