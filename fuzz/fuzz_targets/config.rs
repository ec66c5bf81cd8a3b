//! Any text as a configuration, with one `--set` behind a zero byte: refused with a reason, or read, and then it means
//! the same after it was written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgm_train::ExperimentConfig;

fuzz_target!(|input: &str| {
    let (text, setting) = match input.split_once('\0') {
        Some((text, setting)) => (text, Some(setting.to_string())),
        None => (input, None),
    };
    let settings: Vec<String> = setting.into_iter().collect();
    match ExperimentConfig::from_toml(text, &settings) {
        Ok(config) => {
            let again = ExperimentConfig::from_toml(&config.to_toml(), &[]).expect("its own text");
            assert_eq!(again, config);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
