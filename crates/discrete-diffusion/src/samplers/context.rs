use super::SampleError;

/// What is known of a sequence before it is drawn: one entry a position, `None` where a token is to be drawn.
///
/// ```
/// use discrete_diffusion::samplers::Context;
///
/// // BOS, a prompt of two tokens, and a known token further on.
/// let context = Context::new(6, 0).with_prompt(&[11, 12])?.with_token(4, 13)?;
/// assert_eq!(context.tokens(), [Some(0), Some(11), Some(12), None, Some(13), None]);
/// assert_eq!(context.n_unknown(), 2);
/// # Ok::<(), discrete_diffusion::samplers::SampleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    tokens: Vec<Option<u32>>,
}

impl Context {
    /// `seq_len` tokens of which only the first one is known.
    pub fn new(seq_len: usize, bos_token: u32) -> Self {
        let mut tokens = vec![None; seq_len];
        tokens.iter_mut().take(1).for_each(|t| *t = Some(bos_token));
        Self { tokens }
    }

    /// Adds the tokens that follow position 0.
    ///
    /// # Errors
    /// When the sequence is too short for them.
    pub fn with_prompt(mut self, prompt: &[u32]) -> Result<Self, SampleError> {
        for (i, &token) in prompt.iter().enumerate() {
            self = self.with_token(i + 1, token)?;
        }
        Ok(self)
    }

    /// Adds a known token.
    ///
    /// # Errors
    /// When the sequence has no such position.
    pub fn with_token(mut self, position: usize, token: u32) -> Result<Self, SampleError> {
        let seq_len = self.tokens.len();
        match self.tokens.get_mut(position) {
            Some(known) => *known = Some(token),
            None => return Err(SampleError::TooLong { position, seq_len }),
        }
        Ok(self)
    }

    /// What is known at each position.
    pub fn tokens(&self) -> &[Option<u32>] {
        &self.tokens
    }

    /// Tokens of the sequence, known and unknown.
    pub fn seq_len(&self) -> usize {
        self.tokens.len()
    }

    /// Tokens to draw.
    pub fn n_unknown(&self) -> usize {
        self.tokens.iter().filter(|token| token.is_none()).count()
    }

    /// Known tokens at the left, before the first unknown one.
    pub fn prefix_len(&self) -> usize {
        let unknown = self.tokens.iter().position(Option::is_none);
        unknown.unwrap_or(self.tokens.len())
    }

    /// A drawn sequence up to and including the first EOS behind everything that was known.
    pub fn until_eos<'a>(&self, sequence: &'a [u32], eos_token: u32) -> &'a [u32] {
        let known = self.tokens.iter().rposition(Option::is_some);
        let start = known.map_or(0, |last| last + 1).min(sequence.len());
        let eos = sequence[start..].iter().position(|&t| t == eos_token);
        &sequence[..eos.map_or(sequence.len(), |at| start + at + 1)]
    }
}

impl From<Vec<Option<u32>>> for Context {
    fn from(tokens: Vec<Option<u32>>) -> Self {
        Self { tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_cut_behind_the_first_eos_that_was_drawn_at_the_end() {
        let context = Context::new(7, 9).with_token(3, 5).unwrap();
        // The EOS (9) at position 1 stands before something known.
        assert_eq!(
            context.until_eos(&[9, 9, 1, 5, 2, 9, 3], 9),
            [9, 9, 1, 5, 2, 9]
        );
        assert_eq!(context.until_eos(&[9, 9, 1, 5, 2], 9), [9, 9, 1, 5, 2]);
        let nothing = Context::from(vec![None; 3]);
        assert_eq!(nothing.until_eos(&[9, 1, 1], 9), [9]);
    }

    #[test]
    fn tokens_behind_the_end_are_refused() {
        let error = Context::new(3, 0).with_prompt(&[1, 2, 3]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a known token is at position 3, but the sequence has 3 positions, counted from 0; shorten the prompt or take longer sequences"
        );
        assert_eq!(
            Context::new(3, 0).with_prompt(&[1]).unwrap().prefix_len(),
            2
        );
    }
}
