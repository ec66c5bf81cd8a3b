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
    let in_text = toml::from_str::<T>(text);
    if overrides.is_empty() {
        return in_text.map_err(|error| explain(&error));
    }
    let mut table: toml::Table = toml::from_str(text).map_err(|error| explain(&error))?;
    for setting in overrides {
        apply_override(&mut table, setting)?;
    }
    let merged = toml::to_string(&table).map_err(|error| error.to_string())?;
    toml::from_str(&merged).map_err(|error| match in_text {
        // The text alone has the same fault, and its own line numbers.
        Err(in_text) if in_text.message() == error.message() => explain(&in_text),
        _ => format!(
            "with {}: {}",
            overrides
                .iter()
                .map(|setting| format!("`{setting}`"))
                .collect::<Vec<_>>()
                .join(", "),
            with_nearest_name(error.message())
        ),
    })
}

/// The error with its place in the text.
fn explain(error: &toml::de::Error) -> String {
    let place = error.to_string();
    let nearest = with_nearest_name(error.message());
    place.replacen(error.message(), &nearest, 1)
}

/// Adds the nearest valid name to a message about an unknown one. Serde's messages quote the
/// unknown name first and the valid ones behind it.
fn with_nearest_name(message: &str) -> String {
    let is_about_a_name =
        message.starts_with("unknown field") || message.starts_with("unknown variant");
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (true, Some(unknown)) = (is_about_a_name, quoted.next()) else {
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
