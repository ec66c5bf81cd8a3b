use burn::tensor::{Int, Tensor, TensorData};

use super::revealing::{Revealing, select_rows, steps};
use super::{SampleError, SampleRequest, Samples};
use crate::PartitionDenoiser;

/// PGM sampling with the training-style forward pass at full length: known tokens are group 0, and
/// each hidden position is revealed with the probability of MDLM's ancestral sampler.
///
/// As slow as an MDLM; the check for the samplers that process known tokens only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgmNaive {
    /// Steps from time 1 to time 1e-5.
    pub n_steps: usize,
}

impl PgmNaive {
    /// Draws sequences; `progress` hears of every step done, out of `n_steps + 1`.
    ///
    /// # Errors
    /// When a size is 0, or the network's output cannot be used.
    pub fn sample(
        &self,
        denoiser: &impl PartitionDenoiser,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Samples, SampleError> {
        request.check(self.n_steps)?;
        // Hidden positions hold some token: their own group is never read.
        let mut rows = Revealing::new(request, request.bos_token);
        let mut network_evaluations = 0;
        for (i, (t, s)) in steps(self.n_steps).enumerate() {
            let positions = rows.positions_to_reveal(t, s);
            if positions.iter().any(|positions| !positions.is_empty()) {
                let tokens = rows.tokens(request.device);
                let output = denoiser.partition_logits(tokens, groups(&rows, request));
                network_evaluations += 1;
                let places = places(output.order, &positions)?;
                rows.reveal(request, &positions, select_rows(output.logits, &places))?;
            }
            progress(i + 1, self.n_steps + 1);
        }
        Ok(Samples {
            sequences: rows.into_tokens(),
            network_evaluations,
        })
    }
}

fn groups(rows: &Revealing, request: &SampleRequest) -> Tensor<2, Int> {
    let groups: Vec<i64> = rows
        .sequences
        .iter()
        .flat_map(|row| row.is_known.iter().map(|&is_known| !is_known as i64))
        .collect();
    let shape = [rows.sequences.len(), request.seq_len];
    Tensor::from_data(TensorData::new(groups, shape), request.device)
}

/// Where the network put the rows of some positions.
fn places(order: Tensor<2, Int>, positions: &[Vec<usize>]) -> Result<Vec<Vec<usize>>, SampleError> {
    let seq_len = order.dims()[1];
    let order = order
        .try_into_vec_as::<i64>()
        .map_err(|error| SampleError::Device {
            reason: error.to_string(),
        })?;
    let places = order.chunks(seq_len).zip(positions).map(|(order, row)| {
        let mut place_of = vec![0; seq_len];
        for (place, &position) in order.iter().enumerate() {
            place_of[position as usize] = place;
        }
        row.iter().map(|&position| place_of[position]).collect()
    });
    Ok(places.collect())
}
