use burn::tensor::Tensor;

use crate::TrainError;

/// Losses and gradient norms of optimizer steps. They stay on the device until someone looks.
#[derive(Debug, Default)]
pub(crate) struct StepLosses {
    unread: Vec<Unread>,
    /// Losses that were read since the last mean.
    losses: Vec<f64>,
    last_norm: f64,
}

#[derive(Debug)]
struct Unread {
    step: usize,
    loss: Tensor<1>,
    grad_norm: Tensor<1>,
}

/// Losses since the last mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StepMean {
    /// Nats per token, averaged.
    pub loss: f64,
    /// Norm of the last gradient, before clipping.
    pub grad_norm: f64,
}

/// A step after which the weights cannot be used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NotFinite {
    pub step: usize,
    pub quantity: &'static str,
    pub value: f64,
}

impl StepLosses {
    /// Notes a step, counted from 1.
    ///
    /// # Shapes
    /// - loss, grad_norm: `[1]`
    pub fn push(&mut self, step: usize, loss: Tensor<1>, grad_norm: Tensor<1>) {
        self.unread.push(Unread {
            step,
            loss,
            grad_norm,
        });
    }

    /// Reads what was noted; the first step with a loss or gradient that is not finite, if any.
    pub fn check(&mut self) -> Result<Option<NotFinite>, TrainError> {
        let unread = std::mem::take(&mut self.unread);
        if unread.is_empty() {
            return Ok(None);
        }
        let steps: Vec<usize> = unread.iter().map(|unread| unread.step).collect();
        let values = unread
            .into_iter()
            .flat_map(|unread| [unread.loss, unread.grad_norm])
            .collect();
        let values = read(Tensor::cat(values, 0))?;
        for (&step, pair) in steps.iter().zip(values.chunks_exact(2)) {
            for (quantity, &value) in ["loss", "norm of the gradient"].into_iter().zip(pair) {
                if !value.is_finite() {
                    return Ok(Some(NotFinite {
                        step,
                        quantity,
                        value,
                    }));
                }
            }
            self.losses.push(pair[0]);
            self.last_norm = pair[1];
        }
        Ok(None)
    }

    /// The mean of the losses that were checked since the last call, if there are any.
    pub fn take_mean(&mut self) -> Option<StepMean> {
        let losses = std::mem::take(&mut self.losses);
        (!losses.is_empty()).then(|| StepMean {
            loss: losses.iter().sum::<f64>() / losses.len() as f64,
            grad_norm: self.last_norm,
        })
    }
}

fn read(values: Tensor<1>) -> Result<Vec<f64>, TrainError> {
    let values = values
        .try_into_vec_as::<f32>()
        .map_err(|error| TrainError::Device {
            reason: error.to_string(),
        })?;
    Ok(values.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn scalar(value: f32) -> Tensor<1> {
        Tensor::from_floats([value], &Device::flex())
    }

    #[test]
    fn the_mean_covers_what_was_checked_in_parts() {
        let mut losses = StepLosses::default();
        losses.push(1, scalar(1.0), scalar(0.1));
        assert_eq!(losses.check().unwrap(), None);
        losses.push(2, scalar(2.0), scalar(0.5));
        losses.push(3, scalar(6.0), scalar(0.25));
        assert_eq!(losses.check().unwrap(), None);
        let mean = StepMean {
            loss: 3.0,
            grad_norm: 0.25,
        };
        assert_eq!(losses.take_mean(), Some(mean));
        assert_eq!(losses.take_mean(), None);
    }

    #[test]
    fn the_first_bad_step_is_named_even_if_only_its_gradient_is_bad() {
        let mut losses = StepLosses::default();
        losses.push(7, scalar(1.0), scalar(1.0));
        losses.push(8, scalar(1.0), scalar(f32::INFINITY));
        losses.push(9, scalar(f32::NAN), scalar(f32::NAN));
        let bad = losses.check().unwrap().unwrap();
        assert_eq!(
            (bad.step, bad.quantity, bad.value),
            (8, "norm of the gradient", f64::INFINITY)
        );
    }
}
