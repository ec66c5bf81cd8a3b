use serde_json::Value;
use tokenizers::Tokenizer;

/// The ids that a post-processor puts in front of a text and behind it; the first of each side.
pub(crate) fn post_processor_ends(tokenizer: &Tokenizer) -> (Option<u32>, Option<u32>) {
    let processor = tokenizer.get_post_processor();
    // The parts of a template are shown in its JSON alone.
    let processor = processor.and_then(|processor| serde_json::to_value(processor).ok());
    processor.as_ref().map_or((None, None), ends_of)
}

fn ends_of(processor: &Value) -> (Option<u32>, Option<u32>) {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match processor["type"].as_str() {
        Some("BertProcessing" | "RobertaProcessing") => {
            (id(&processor["cls"][1]), id(&processor["sep"][1]))
        }
        Some("TemplateProcessing") => {
            let Some(pieces) = processor["single"].as_array() else {
                return (None, None);
            };
            let is_text = |piece: &Value| piece.get("Sequence").is_some();
            let Some(text) = pieces.iter().position(is_text) else {
                return (None, None);
            };
            let id_of = |piece: &Value| {
                let name = piece["SpecialToken"]["id"].as_str()?;
                id(&processor["special_tokens"][name]["ids"][0])
            };
            let bos = pieces[..text].iter().find_map(id_of);
            (bos, pieces[text..].iter().find_map(id_of))
        }
        Some("Sequence") => {
            let parts = processor["processors"].as_array();
            let mut ends = (None, None);
            for (bos, eos) in parts.into_iter().flatten().map(ends_of) {
                ends = (ends.0.or(bos), ends.1.or(eos));
            }
            ends
        }
        _ => (None, None),
    }
}
