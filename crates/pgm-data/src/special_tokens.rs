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
    /// Looks the usual names up, first among the tokens marked as special, then in the whole vocabulary.
    pub(crate) fn find(tokenizer: &Tokenizer) -> Option<Self> {
        let added = tokenizer.get_added_vocabulary();
        let marked = |name: &str| {
            tokenizer
                .token_to_id(name)
                .filter(|_| added.is_special_token(name))
        };
        let any = |name: &str| tokenizer.token_to_id(name);
        let boundaries = |lookup: &dyn Fn(&str) -> Option<u32>| {
            BOUNDARIES
                .iter()
                .find_map(|(bos, eos)| Some((lookup(bos)?, lookup(eos)?)))
        };
        let (bos_id, eos_id) = boundaries(&marked).or_else(|| boundaries(&any))?;
        Some(Self {
            bos_id,
            eos_id,
            mask_id: MASKS.into_iter().find_map(marked),
            pad_id: PADS.into_iter().find_map(marked),
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
    }
}
