//! Any text as a template to fill in, with a sequence length in its first byte: refused, or a context
//! that holds every token of its text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgm_generation::{Template, TemplateError};

fuzz_target!(|input: (u8, &str)| {
    let (length, text) = input;
    let seq_len = usize::from(length) * 8 + 1;
    let Ok(template) = Template::parse(text) else {
        return;
    };
    let mut n_encoded = 0;
    // A byte a token.
    let context = template.context::<TemplateError>(0, seq_len, |text| {
        n_encoded += text.len();
        Ok(text.bytes().map(u32::from).collect())
    });
    if let Ok(context) = context {
        assert!(context.seq_len() <= seq_len);
        assert!(context.n_unknown() > 0);
        assert_eq!(context.seq_len() - context.n_unknown(), 1 + n_encoded);
        assert!(n_encoded <= text.len());
    }
});
