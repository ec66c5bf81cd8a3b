//! The usual names of special tokens.

/// Beginning and end, by their usual names. `<|endoftext|>` alone is last: some tokenizers of the BERT kind have it too.
pub(crate) const BOUNDARIES: [(&str, &str); 12] = [
    ("[CLS]", "[SEP]"),
    ("<s>", "</s>"),
    ("<bos>", "<eos>"),
    ("<|begin_of_text|>", "<|end_of_text|>"),
    ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    ("<|begin▁of▁sentence|>", "<|end▁of▁sentence|>"),
    ("<|bos|>", "<|eos|>"),
    ("[BOS]", "[EOS]"),
    ("<BOS>", "<EOS>"),
    ("<BOS_TOKEN>", "<EOS_TOKEN>"),
    ("<|startoftext|>", "<|endoftext|>"),
    ("<|endoftext|>", "<|endoftext|>"),
];
/// Tokens that stand for a hidden one.
pub(crate) const MASKS: [&str; 4] = ["[MASK]", "<mask>", "<|mask|>", "<|mdm_mask|>"];
/// Tokens that fill rows up.
pub(crate) const PADS: [&str; 7] = [
    "[PAD]",
    "<pad>",
    "<|pad|>",
    "<|padding|>",
    "<PAD>",
    "<｜▁pad▁｜>",
    "<|finetune_right_pad_id|>",
];
