use burn::tensor::Tensor;

use crate::{StepReport, TrainError};

/// Losses and gradient norms of optimizer steps. They stay on the device until someone looks.
#[derive(Debug, Default)]
pub(crate) struct StepLosses {
    unread: Vec<Unread>,
    /// Losses that were read since the last mean, and their mean weights.
    losses: Vec<[f64; 2]>,
    last_norm: f64,
}

#[derive(Debug)]
struct Unread {
    step: usize,
    loss: Tensor<1>,
    mean_weight: f64,
    grad_norm: Tensor<1>,
}

/// Losses since the last mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StepMean {
    /// Nats of a token, a mean with the weights of training.
    pub loss: f64,
    /// Mean of those weights.
    pub mean_weight: f64,
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
    /// - loss and norm of the report: `[1]`
    pub fn push(&mut self, step: usize, report: StepReport) {
        self.unread.push(Unread {
            step,
            loss: report.loss,
            mean_weight: report.mean_weight,
            grad_norm: report.grad_norm,
        });
    }

    /// Reads what was noted; the first step with a loss or gradient that is not finite, if any.
    pub fn check(&mut self) -> Result<Option<NotFinite>, TrainError> {
        let unread = std::mem::take(&mut self.unread);
        if unread.is_empty() {
            return Ok(None);
        }
        let steps: Vec<(usize, f64)> = unread
            .iter()
            .map(|unread| (unread.step, unread.mean_weight))
            .collect();
        let values = unread
            .into_iter()
            .flat_map(|unread| [unread.loss, unread.grad_norm])
            .collect();
        let values = read(Tensor::cat(values, 0))?;
        for (&(step, mean_weight), pair) in steps.iter().zip(values.chunks_exact(2)) {
            for (quantity, &value) in ["loss", "norm of the gradient"].into_iter().zip(pair) {
                if !value.is_finite() {
                    return Ok(Some(NotFinite {
                        step,
                        quantity,
                        value,
                    }));
                }
            }
            self.losses.push([pair[0], mean_weight]);
            self.last_norm = pair[1];
        }
        Ok(None)
    }

    /// The mean over the steps that were checked since the last call, if any of their tokens had a weight.
    pub fn take_mean(&mut self) -> Option<StepMean> {
        let losses = std::mem::take(&mut self.losses);
        let [loss, weight] = [0, 1].map(|i| losses.iter().map(|pair| pair[i]).sum::<f64>());
        (weight > 0.0).then(|| StepMean {
            loss: loss / weight,
            mean_weight: weight / losses.len() as f64,
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

    fn report(loss: f32, mean_weight: f64, grad_norm: f32) -> StepReport {
        let scalar = |value: f32| Tensor::from_floats([value], &Device::flex());
        StepReport {
            loss: scalar(loss),
            mean_weight,
            grad_norm: scalar(grad_norm),
            learning_rate: 0.1,
        }
    }

    #[test]
    fn the_mean_covers_what_was_checked_in_parts() {
        let mut losses = StepLosses::default();
        losses.push(1, report(1.0, 0.5, 0.1));
        assert_eq!(losses.check().unwrap(), None);
        losses.push(2, report(2.0, 0.25, 0.5));
        losses.push(3, report(6.0, 0.75, 0.25));
        assert_eq!(losses.check().unwrap(), None);
        // 9 over 1.5.
        let mean = StepMean {
            loss: 6.0,
            mean_weight: 0.5,
            grad_norm: 0.25,
        };
        assert_eq!(losses.take_mean(), Some(mean));
        assert_eq!(losses.take_mean(), None);
    }

    #[test]
    fn steps_that_hide_nothing_do_not_count() {
        let mut losses = StepLosses::default();
        losses.push(1, report(0.0, 0.0, 0.0));
        assert_eq!(losses.check().unwrap(), None);
        assert_eq!(losses.take_mean(), None);
        losses.push(2, report(0.0, 0.0, 0.0));
        losses.push(3, report(2.0, 0.5, 1.0));
        assert_eq!(losses.check().unwrap(), None);
        assert_eq!(losses.take_mean().map(|mean| mean.loss), Some(4.0));
    }

    #[test]
    fn the_first_bad_step_is_named_even_if_only_its_gradient_is_bad() {
        let mut losses = StepLosses::default();
        losses.push(7, report(1.0, 1.0, 1.0));
        losses.push(8, report(1.0, 1.0, f32::INFINITY));
        losses.push(9, report(f32::NAN, 1.0, f32::NAN));
        let bad = losses.check().unwrap().unwrap();
        assert_eq!(
            (bad.step, bad.quantity, bad.value),
            (8, "norm of the gradient", f64::INFINITY)
        );
    }
}
