//! From TOML text and `--set` arguments to a configuration, with errors that say where and what else.

use serde::de::DeserializeOwned;

use crate::TrainError;

/// Reads a configuration of any kind from TOML; `overrides` are `table.key=value` and win.
///
/// # Errors
/// When it is not TOML, or a key or value is not known; the nearest valid name is in the text.
pub fn parse_toml<T: DeserializeOwned>(text: &str, overrides: &[String]) -> Result<T, TrainError> {
    parse(text, overrides).map_err(|reason| TrainError::Config { reason })
}

/// Reads a configuration; the reason why it is refused otherwise.
fn parse<T: DeserializeOwned>(text: &str, overrides: &[String]) -> Result<T, String> {
    // Refuses integers that cannot be written again.
    let mut table: toml::Table = toml::from_str(text).map_err(|error| explain(&error))?;
    let in_text = toml::from_str::<T>(text);
    if overrides.is_empty() {
        return in_text.map_err(|error| explain(&error));
    }
    for setting in overrides {
        apply_override(&mut table, setting)?;
    }
    let merged = toml::to_string(&table).map_err(|error| error.to_string())?;
    toml::from_str(&merged).map_err(|error| match in_text {
        // The text alone has the same fault, and its own line numbers.
        Err(in_text) if in_text.message() == error.message() => explain(&in_text),
        _ => {
            let key = error.span().and_then(|span| key_at(&merged, span.start));
            let names: Vec<String> = responsible(overrides, key.as_deref())
                .iter()
                .map(|setting| format!("`{setting}`"))
                .collect();
            format!("with {}: {}", names.join(", "), in_words(error.message()))
        }
    })
}

/// The error with its place in the text.
fn explain(error: &toml::de::Error) -> String {
    let place = error.to_string();
    let in_words = in_words(error.message());
    let explained = place.replacen(error.message(), &in_words, 1);
    explained.trim_end().to_owned()
}

/// The overrides of a key, of a table in it or around it; all of them if there is none.
fn responsible<'a>(overrides: &'a [String], key: Option<&str>) -> Vec<&'a String> {
    let is_in = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let concerns = |setting: &&String| {
        let name = setting.split('=').next().unwrap_or_default().trim();
        key.is_some_and(|key| is_in(key, name) || is_in(name, key))
    };
    let found: Vec<&String> = overrides.iter().filter(concerns).collect();
    if found.is_empty() {
        return overrides.iter().collect();
    }
    found
}

/// The full name of the key in whose line a byte lies, in a text that was written by this program.
fn key_at(text: &str, byte: usize) -> Option<String> {
    let start = text[..byte].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next()?;
    let header = |line: &str| {
        let name = line.strip_prefix('[')?.strip_suffix(']')?;
        Some(name.trim_matches(['[', ']']).to_owned())
    };
    if let Some(table) = header(line) {
        return Some(table);
    }
    let key = line.split('=').next()?.trim();
    let table = text[..start].lines().rev().find_map(header);
    Some(match table {
        Some(table) => format!("{table}.{key}"),
        None => key.to_owned(),
    })
}

/// A message of Serde or of the TOML library, with the way out.
fn in_words(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        return with_nearest_name(message);
    }
    // What the table of all values says of a number that it cannot hold.
    let is_beyond_toml = message == "u64 value was too large"
        || message == "integer number overflowed"
        || message.starts_with("invalid type: integer") && message.contains("128");
    if is_beyond_toml {
        return format!(
            "an integer is beyond the range of TOML, wanted {} to {}",
            i64::MIN,
            i64::MAX
        );
    }
    let Some(largest) = largest_of(message) else {
        return message.to_string();
    };
    if (message.starts_with("invalid value: integer")
        || message.starts_with("invalid type: floating point"))
        && let Some(value) = quoted.next()
    {
        return format!("the value is {value}, wanted an integer from 0 to {largest}");
    }
    // A value of the command line that is no TOML was taken as a string.
    let mut strings = message.split('"').skip(1).step_by(2);
    if message.starts_with("invalid type: string")
        && let Some(value) = strings.next()
        && is_integer(value)
    {
        return format!("the value is {value}, wanted an integer from 0 to {largest}");
    }
    message.to_string()
}

/// The largest value of the unsigned integer that a message says it expected.
fn largest_of(message: &str) -> Option<u64> {
    let (_, expected) = message.rsplit_once("expected ")?;
    match expected.trim_end() {
        "u64" | "usize" => Some(i64::MAX as u64),
        "u32" => Some(u32::MAX.into()),
        "u16" => Some(u16::MAX.into()),
        "u8" => Some(u8::MAX.into()),
        _ => None,
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        Some("0b") => (&digits[2..], 2),
        _ => (digits, 10),
    };
    let is_digit = |character: char| character == '_' || character.is_digit(radix);
    !digits.is_empty() && digits.chars().all(is_digit)
}

/// Adds the nearest valid name to a message about an unknown one. Serde's messages quote the
/// unknown name first and the valid ones behind it.
fn with_nearest_name(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else {
        return message.to_string();
    };
    let nearest = quoted
        .map(|name| (strsim::normalized_damerau_levenshtein(unknown, name), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(similarity, _)| *similarity >= 0.4);
    match nearest {
        Some((_, name)) => format!("{message}; did you mean `{name}`?"),
        None => message.to_string(),
    }
}

/// Sets `table.key` to a TOML value; text that is no TOML value is taken as a string.
fn apply_override(table: &mut toml::Table, setting: &str) -> Result<(), String> {
    let (key, value) = setting
        .split_once('=')
        .ok_or_else(|| format!("`{setting}` is no setting, wanted `table.key=value`"))?;
    let value = format!("value = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_string()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty());
    let last = last.ok_or_else(|| format!("`{setting}` names no key"))?;
    let mut current = table;
    for part in parts {
        current = current
            .entry(part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("`{part}` in `{setting}` is no table"))?;
    }
    current.insert(last.to_string(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        seed: u64,
        #[serde(default)]
        training: Section,
    }

    #[derive(Debug, PartialEq, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Section {
        n_steps: usize,
        width: u32,
    }

    fn refused(text: &str, overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(|&s| s.to_owned()).collect();
        parse::<Config>(text, &overrides).unwrap_err()
    }

    #[test]
    fn integers_out_of_range_are_named_with_the_range() {
        let range = "wanted an integer from 0 to 9223372036854775807";
        for value in [
            "-1",
            "9223372036854775808",
            "18446744073709551615",
            "99999999999999999999999",
            "0xffffffffffffffff",
        ] {
            let setting = format!("seed={value}");
            let error = refused("", &["training.n_steps=5", &setting]);
            assert_eq!(
                error,
                format!("with `{setting}`: the value is {value}, {range}")
            );
            let error = refused("", &[&format!("training.n_steps={value}"), "seed=2"]);
            assert!(error.starts_with("with `training.n_steps="), "{error}");
            assert!(error.ends_with(range) && !error.contains("seed"), "{error}");
            // In a file, with its line.
            let text = format!("[training]\nn_steps = {value}\n");
            for overrides in [&["seed=2"][..], &[]] {
                let error = refused(&text, overrides);
                assert!(error.contains("line 2"), "{error}");
                assert!(error.contains("9223372036854775807"), "{error}");
            }
        }
        let error = refused("", &["training.width=4294967296"]);
        assert!(
            error.ends_with("wanted an integer from 0 to 4294967295"),
            "{error}"
        );
        let error = refused("", &["training.n_steps=1e6"]);
        assert!(error.contains("1000000.0, wanted an integer"), "{error}");
        let largest = [format!("seed={}", i64::MAX)];
        assert_eq!(parse::<Config>("", &largest).unwrap().seed, i64::MAX as u64);
    }

    #[test]
    fn the_setting_that_is_wrong_is_named() {
        let both = ["seed=4", "training.n_stepz=5"];
        let error = refused("", &both);
        assert!(error.starts_with("with `training.n_stepz=5`: "), "{error}");
        let error = refused("", &["seed=4", "trainign.width=5"]);
        assert!(error.starts_with("with `trainign.width=5`: "), "{error}");
        assert!(error.contains("did you mean `training`?"), "{error}");
        let error = refused("", &["seed=many"]);
        assert!(error.contains("\"many\""), "{error}");
    }
}
