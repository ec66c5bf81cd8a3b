//! Numbers as people read them.

use std::time::Duration;

use pgm_perplexity::PerplexityReport;

/// `1234567` as `1,234,567`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text on a line of its own, cut after `n_letters`.
pub fn one_line(text: &str, n_letters: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(n_letters) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// `5.2k`, `1.3M`, `870`.
pub fn short(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.1}G", v / 1e9),
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 1e3 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

/// `1 h 02 min`, `3 min 05 s`, `12 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A perplexity with its standard error and where it comes from.
pub fn perplexity(report: &PerplexityReport) -> String {
    let source = match report.n_draws {
        0 => "exact for these sequences".to_string(),
        1 => "1 draw of hidden tokens each".to_string(),
        n => format!("{n} draws of hidden tokens each"),
    };
    format!(
        "{:.2} ± {:.2} (standard error; {} sequences, {} tokens, {source})",
        report.perplexity,
        report.perplexity_standard_error,
        count(report.n_sequences),
        count(report.n_tokens),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shortened() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(short(5234.0), "5.2k");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
    }
}
