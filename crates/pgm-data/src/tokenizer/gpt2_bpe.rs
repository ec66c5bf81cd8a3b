//! GPT-2's byte-level BPE, recovered from tiktoken's table of ranks.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Merges};

use super::byte_level::byte_chars;
use crate::Tokenizer;

/// Ids of GPT-2's ordinary tokens; `<|endoftext|>` is the next one.
const N_ORDINARY: u32 = 50256;

/// GPT-2's vocabulary and merges.
///
/// tiktoken keeps no merges, only the bytes and the rank of each token, and a token's rank is its id. A
/// token's merge is what is left of its bytes when all merges of lower ranks are done: two parts.
pub(crate) fn gpt2_bpe() -> BPE {
    let core = tiktoken_rs::r50k_base().expect("the table inside of tiktoken-rs is well formed");
    let tokens: Vec<Vec<u8>> = (0..N_ORDINARY)
        .map(|id| core.decode_bytes(&[id]).expect("every id has its bytes"))
        .collect();
    let ranks: HashMap<&[u8], usize> = tokens
        .iter()
        .enumerate()
        .map(|(rank, bytes)| (bytes.as_slice(), rank))
        .collect();

    let chars = byte_chars();
    let spell =
        |bytes: &[u8]| -> String { bytes.iter().map(|&byte| chars[usize::from(byte)]).collect() };
    let merges: Merges = tokens
        .iter()
        .enumerate()
        .filter(|(_, bytes)| bytes.len() > 1)
        .map(|(rank, bytes)| {
            let middle = last_merge(bytes, rank, &ranks);
            (spell(&bytes[..middle]), spell(&bytes[middle..]))
        })
        .collect();
    let vocab = tokens
        .iter()
        .map(|bytes| spell(bytes))
        .chain([Tokenizer::END_OF_TEXT.to_owned()])
        .zip(0_u32..)
        .collect();
    BPE::new(vocab, merges)
}

/// Where the two parts meet that merge to `token` last.
fn last_merge(token: &[u8], rank: usize, ranks: &HashMap<&[u8], usize>) -> usize {
    let mut bounds: Vec<usize> = (0..=token.len()).collect();
    while bounds.len() > 3 {
        let (_, first) = bounds
            .windows(3)
            .enumerate()
            .filter_map(|(first, bound)| {
                let merged = ranks.get(&token[bound[0]..bound[2]])?;
                (*merged < rank).then_some((*merged, first))
            })
            .min()
            .expect("a BPE token is made of tokens of lower ranks");
        bounds.remove(first + 1);
    }
    bounds[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_merge_respects_the_order_of_ranks() {
        // "abcd": "bc" (rank 4) merges first, then "abc" (rank 5); left are "abc" and "d".
        let tokens: [&[u8]; 7] = [b"a", b"b", b"c", b"d", b"bc", b"abc", b"abcd"];
        let ranks = tokens.into_iter().zip(0..).collect();
        assert_eq!(last_merge(b"abcd", 6, &ranks), 3);
        assert_eq!(last_merge(b"abc", 5, &ranks), 1);
    }
}
