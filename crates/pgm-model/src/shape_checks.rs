use burn::nn::Linear;

/// Checks the batch of an input that may be shared by all sequences.
///
/// # Panics
/// Panics if `found` is neither `batch` nor 1.
pub(crate) fn assert_batch_or_one(what: &str, found: usize, batch: usize) {
    assert!(
        found == batch || found == 1,
        "{what} is for a batch of {found}, the batch is {batch}; it has to be the same or 1"
    );
}

/// How many features a linear layer reads; does not draw its weights, which are drawn when they are
/// first used.
pub(crate) fn input_width(linear: &Linear) -> usize {
    linear.weight.lazy_shape()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(
        expected = "sigma is for a batch of 3, the batch is 2; it has to be the same or 1"
    )]
    fn another_batch_is_refused() {
        assert_batch_or_one("sigma", 3, 2);
    }

    #[test]
    fn one_is_for_all() {
        assert_batch_or_one("sigma", 1, 2);
        assert_batch_or_one("sigma", 2, 2);
    }
}
