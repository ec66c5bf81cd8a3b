/// Stands between the texts in a run's `samples.txt`, which may have several lines each.
pub const SAMPLE_SEPARATOR: &str =
    "\n------------------------------------------------------------------------\n";
