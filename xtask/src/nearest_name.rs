//! What somebody meant who misspelt a name.

/// The name with the fewest single-letter changes from `word`; the first of equals.
///
/// # Panics
/// If there are no names.
pub fn nearest_name<'a>(word: &str, names: &[&'a str]) -> &'a str {
    names
        .iter()
        .min_by_key(|name| edit_distance(word, name))
        .expect("there is at least one name")
}

/// Levenshtein's distance: insertions, deletions and replacements of letters.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (n_before, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = n_before + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_letters() {
        assert_eq!(edit_distance("", "cuda"), 4);
        assert_eq!(edit_distance("cuda", "cuda"), 0);
        // One letter inserted, one replaced.
        assert_eq!(edit_distance("vulcn", "vulkan"), 2);
    }

    #[test]
    fn misspelt_names_are_recognised() {
        let names = ["flex", "wgpu", "vulkan"];
        assert_eq!(nearest_name("webgpu", &names), "wgpu");
        assert_eq!(nearest_name("vulcan", &names), "vulkan");
        assert_eq!(nearest_name("felx", &names), "flex");
    }
}
