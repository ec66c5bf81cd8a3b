use burn::tensor::{IndexingUpdateOp, Int, Tensor, assert_shape};

use crate::Segments;

/// The order in which the tokens of each sequence are sorted by group, group 0 first.
///
/// The sort is stable and needs no sorting: the place of a token follows from running counts.
/// Sort token ids, targets and positions once, before the embedding; every layer of a transformer
/// commutes with a permutation of the tokens, so that activations are never permuted.
#[derive(Debug, Clone)]
pub struct GroupLayout {
    /// `[batch, seq]`: where each token goes.
    ranks: Tensor<2, Int>,
    /// `[batch, 1]`: tokens in group 0.
    first_group_sizes: Tensor<2, Int>,
}

impl GroupLayout {
    /// Computes the order on the device.
    ///
    /// # Shapes
    /// - groups: `[batch, seq]`, 0 or 1
    pub fn new(groups: Tensor<2, Int>) -> Self {
        let [_, seq_len] = groups.dims();
        let in_second = groups.clone().cumsum(1);
        let in_first = groups.clone().mul_scalar(-1).add_scalar(1).cumsum(1);
        let first_group_sizes = in_first.clone().narrow(1, seq_len - 1, 1);
        let second_ranks = in_second.add(first_group_sizes.clone()).sub_scalar(1);
        let ranks = in_first
            .sub_scalar(1)
            .mask_where(groups.equal_elem(1), second_ranks);
        Self {
            ranks,
            first_group_sizes,
        }
    }

    /// The place of each token in sorted order.
    ///
    /// # Shapes
    /// - output: `[batch, seq]`, a permutation of `0..seq` in each row
    pub fn ranks(&self) -> Tensor<2, Int> {
        self.ranks.clone()
    }

    /// Sorts one integer a token by group.
    ///
    /// # Shapes
    /// - values and output: `[batch, seq]`
    ///
    /// # Panics
    /// Panics if the values are for another batch or length than the layout.
    pub fn sort(&self, values: Tensor<2, Int>) -> Tensor<2, Int> {
        let [batch, seq_len] = self.ranks.dims();
        assert_shape!(values, [batch, seq_len]);
        values
            .zeros_like()
            .scatter(1, self.ranks.clone(), values, IndexingUpdateOp::Add)
    }

    /// Sorts one number a token by group.
    ///
    /// # Shapes
    /// - values and output: `[batch, seq]`
    ///
    /// # Panics
    /// Panics if the values are for another batch or length than the layout.
    pub fn sort_float(&self, values: Tensor<2>) -> Tensor<2> {
        let [batch, seq_len] = self.ranks.dims();
        assert_shape!(values, [batch, seq_len]);
        values
            .zeros_like()
            .scatter(1, self.ranks.clone(), values, IndexingUpdateOp::Add)
    }

    /// Puts sorted activations back into the order of the sequence.
    ///
    /// # Shapes
    /// - sorted and output: `[batch, seq, features]`
    ///
    /// # Panics
    /// Panics if the activations are for another batch or length than the layout.
    pub fn unsort(&self, sorted: Tensor<3>) -> Tensor<3> {
        let [batch, seq_len] = self.ranks.dims();
        assert_shape!(sorted, [batch, seq_len, _]);
        let features = sorted.dims()[2];
        let ranks = self
            .ranks
            .clone()
            .unsqueeze_dim::<3>(2)
            .repeat_dim(2, features);
        sorted.gather(1, ranks)
    }

    /// Segments in which each token reads its own group.
    pub fn within_groups(&self) -> Segments {
        let (zero, first, second) = self.sizes();
        self.table([
            [zero.clone(), first.clone(), zero, first.clone()],
            [first.clone(), second.clone(), first, second],
        ])
    }

    /// Segments in which each token reads the other group.
    pub fn across_groups(&self) -> Segments {
        let (zero, first, second) = self.sizes();
        self.table([
            [zero.clone(), first.clone(), first.clone(), second.clone()],
            [first.clone(), second, zero, first],
        ])
    }

    fn sizes(&self) -> (Tensor<2, Int>, Tensor<2, Int>, Tensor<2, Int>) {
        let [_, seq_len] = self.ranks.dims();
        let first = self.first_group_sizes.clone();
        let second = first.clone().mul_scalar(-1).add_scalar(seq_len as i32);
        (first.zeros_like(), first, second)
    }

    fn table(&self, segments: [[Tensor<2, Int>; 4]; 2]) -> Segments {
        let [batch, _] = self.ranks.dims();
        let columns = segments.into_iter().flatten().collect();
        Segments::from_table(Tensor::cat(columns, 1).reshape([batch, 2, 4]))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn tokens_are_sorted_stably_by_group() {
        let device = Device::flex();
        let groups = Tensor::<2, Int>::from_ints([[1, 0, 1, 0, 0], [1, 1, 1, 1, 1]], &device);
        let layout = GroupLayout::new(groups);
        let values = Tensor::<2, Int>::from_ints([[10, 11, 12, 13, 14], [5, 6, 7, 8, 9]], &device);
        let sorted = layout.sort(values);
        let expected =
            Tensor::<2, Int>::from_ints([[11, 13, 14, 10, 12], [5, 6, 7, 8, 9]], &device);
        sorted
            .clone()
            .into_data()
            .assert_eq(&expected.into_data(), false);

        let back = layout.unsort(sorted.float().unsqueeze_dim::<3>(2));
        let expected = Tensor::<3>::from_floats(
            [
                [[10.0], [11.0], [12.0], [13.0], [14.0]],
                [[5.0], [6.0], [7.0], [8.0], [9.0]],
            ],
            &device,
        );
        back.into_data().assert_eq(&expected.into_data(), false);
    }

    #[test]
    #[should_panic(expected = "assert_shape!(sorted, [batch, seq_len, _])")]
    fn activations_of_another_length_are_refused() {
        let device = Device::flex();
        let layout = GroupLayout::new(Tensor::<2, Int>::from_ints([[1, 0, 0]], &device));
        layout.unsort(Tensor::zeros([1, 4, 2], &device));
    }

    #[test]
    fn segments_are_the_diagonal_and_the_off_diagonal_blocks() {
        let device = Device::flex();
        let layout = GroupLayout::new(Tensor::<2, Int>::from_ints([[1, 0, 0, 1, 0]], &device));
        let within = Tensor::<3, Int>::from_ints([[[0, 3, 0, 3], [3, 2, 3, 2]]], &device);
        let across = Tensor::<3, Int>::from_ints([[[0, 3, 3, 2], [3, 2, 0, 3]]], &device);
        layout
            .within_groups()
            .table()
            .into_data()
            .assert_eq(&within.into_data(), false);
        layout
            .across_groups()
            .table()
            .into_data()
            .assert_eq(&across.into_data(), false);
    }
}
