use burn::tensor::{Device, Int, Tensor, TensorData};

use super::SampleError;

/// Rows as a tensor, filled up with 0 to the longest one, `[rows, width]`; the width is at least 1.
pub(super) fn padded(rows: &[Vec<i64>], device: &Device) -> Tensor<2, Int> {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut values = Vec::with_capacity(rows.len() * width);
    for row in rows {
        values.extend_from_slice(row);
        values.resize(values.len() + width - row.len(), 0);
    }
    Tensor::from_data(TensorData::new(values, [rows.len(), width]), device)
}

/// Picks `[picked, width]` out of `[batch, seq, width]`: for each sequence the given places on the second axis.
pub(super) fn select_rows(values: Tensor<3>, places: &[Vec<usize>]) -> Tensor<2> {
    let [batch, seq_len, width] = values.dims();
    let indices = flat_places(places, seq_len);
    let values = values.reshape([batch * seq_len, width]);
    if indices.len() == batch * seq_len && indices.iter().zip(0..).all(|(&index, i)| index == i) {
        return values;
    }
    let indices = int_vector(indices, &values.device());
    values.select(0, indices)
}

/// Places of sequences of equal length as indices into all their tokens.
pub(super) fn flat_places(places: &[Vec<usize>], seq_len: usize) -> Vec<i64> {
    places
        .iter()
        .enumerate()
        .flat_map(|(row, places)| places.iter().map(move |&at| (row * seq_len + at) as i64))
        .collect()
}

/// `[n]`
pub(super) fn int_vector(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// Brings logits to the host.
pub(crate) fn read<const D: usize>(logits: Tensor<D>) -> Result<Vec<f32>, SampleError> {
    logits.try_into_vec_as::<f32>().map_err(device_failed)
}

/// Brings integers to the host.
pub(super) fn read_ints(ints: Tensor<2, Int>) -> Result<Vec<i64>, SampleError> {
    ints.try_into_vec_as::<i64>().map_err(device_failed)
}

fn device_failed(error: impl ToString) -> SampleError {
    SampleError::Device {
        reason: error.to_string(),
    }
}
