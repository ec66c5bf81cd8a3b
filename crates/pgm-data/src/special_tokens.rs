use tokenizers::Tokenizer;

/// The ids of the tokens that stand for no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpecialTokens {
    pub(crate) bos_id: u32,
    pub(crate) eos_id: u32,
    pub(crate) mask_id: Option<u32>,
    pub(crate) pad_id: Option<u32>,
}

/// Beginning and end, by their usual names. `<|endoftext|>` is last: some tokenizers of the BERT kind have it too.
const BOUNDARIES: [(&str, &str); 3] = [
    ("[CLS]", "[SEP]"),
    ("<s>", "</s>"),
    ("<|endoftext|>", "<|endoftext|>"),
];
const MASKS: [&str; 2] = ["[MASK]", "<mask>"];
const PADS: [&str; 2] = ["[PAD]", "<pad>"];

impl SpecialTokens {
    /// Looks the usual names up among the tokens marked as special; in the whole vocabulary where beginning and end
    /// are not marked, as in a file without `added_tokens`.
    pub(crate) fn find(tokenizer: &Tokenizer) -> Option<Self> {
        let added = tokenizer.get_added_vocabulary();
        let any = |name: &str| tokenizer.token_to_id(name);
        let marked = |name: &str| any(name).filter(|_| added.is_special_token(name));
        Self::among(marked).or_else(|| Self::among(any))
    }

    fn among(lookup: impl Fn(&str) -> Option<u32>) -> Option<Self> {
        let (bos_id, eos_id) = BOUNDARIES
            .into_iter()
            .find_map(|(bos, eos)| Some((lookup(bos)?, lookup(eos)?)))?;
        Some(Self {
            bos_id,
            eos_id,
            mask_id: MASKS.into_iter().find_map(&lookup),
            pad_id: PADS.into_iter().find_map(&lookup),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::AddedToken;
    use tokenizers::models::bpe::BPE;

    fn with_added(names: &[(&str, bool)]) -> Tokenizer {
        let mut tokenizer = Tokenizer::new(BPE::default());
        for (name, is_special) in names {
            tokenizer
                .add_tokens([AddedToken::from(*name, *is_special)])
                .unwrap();
        }
        tokenizer
    }

    #[test]
    fn bert_names_win_over_endoftext() {
        let names = ["<|endoftext|>", "[CLS]", "[SEP]", "[MASK]", "[PAD]"];
        let found = SpecialTokens::find(&with_added(&names.map(|name| (name, true)))).unwrap();
        assert_eq!((found.bos_id, found.eos_id), (1, 2));
        assert_eq!((found.mask_id, found.pad_id), (Some(3), Some(4)));
    }

    #[test]
    fn tokens_marked_as_special_win_over_ordinary_ones() {
        let tokenizer = with_added(&[("<s>", false), ("</s>", false), ("<|endoftext|>", true)]);
        assert_eq!(SpecialTokens::find(&tokenizer).unwrap().bos_id, 2);
        let ordinary = with_added(&[("<s>", false), ("</s>", false)]);
        let found = SpecialTokens::find(&ordinary).unwrap();
        assert_eq!((found.bos_id, found.eos_id, found.mask_id), (0, 1, None));
        assert_eq!(SpecialTokens::find(&with_added(&[("a", true)])), None);
        // The text may hold a word `[MASK]` without its being the mask.
        let one_marked = with_added(&[("<s>", true), ("</s>", true), ("[MASK]", false)]);
        assert_eq!(SpecialTokens::find(&one_marked).unwrap().mask_id, None);
    }

    #[test]
    fn a_vocabulary_without_marks_has_its_tokens_all_the_same() {
        let names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        let found = SpecialTokens::find(&with_added(&names.map(|name| (name, false)))).unwrap();
        assert_eq!((found.bos_id, found.eos_id), (2, 3));
        assert_eq!((found.mask_id, found.pad_id), (Some(4), Some(0)));
    }
}
