//! Independent random streams, named by what they are for.
//!
//! A stream depends on the seed and its own name alone: drawing more from one stream, or running
//! with another batch size, changes nothing elsewhere.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Masks, partitions and times of an optimizer step.
    Corruption,
    /// Masks, partitions and times of an evaluation.
    Evaluation,
    /// Which positions a sampler reveals.
    Reveal,
    /// Which tokens a sampler draws.
    Tokens,
    /// The seed of the device's own generator (dropout) in an optimizer step.
    Device,
    /// Which samples a bootstrap takes.
    Bootstrap,
    /// Where a clustering begins.
    Clustering,
}

/// The stream for the `index`-th step or sequence.
pub fn stream(seed: u64, stream: Stream, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((index << 3) | stream as u64);
    rng
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_index() {
        let first = |seed, purpose, index| stream(seed, purpose, index).next_u64();
        let reference = first(1, Stream::Reveal, 5);
        assert_eq!(reference, first(1, Stream::Reveal, 5));
        assert_ne!(reference, first(2, Stream::Reveal, 5));
        assert_ne!(reference, first(1, Stream::Tokens, 5));
        assert_ne!(reference, first(1, Stream::Reveal, 6));
    }
}
