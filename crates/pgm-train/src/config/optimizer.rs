use serde::{Deserialize, Serialize};

/// Adam without weight decay, warm-up, clipping and averaged weights. The defaults are published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSection {
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Optimizer steps in which the learning rate grows from 0.
    pub warmup_steps: usize,
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the square root of the second moment.
    pub epsilon: f32,
    /// Largest norm of the gradient of all parameters together; 0 turns clipping off.
    pub max_grad_norm: f64,
    /// Decay of the averaged weights, reached through `(1 + n) / (10 + n)`; 0 turns them off.
    pub ema_decay: f64,
}

impl Default for OptimizerSection {
    fn default() -> Self {
        Self {
            learning_rate: 3e-4,
            warmup_steps: 2500,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            max_grad_norm: 1.0,
            ema_decay: 0.9999,
        }
    }
}

impl OptimizerSection {
    /// The learning rate of the `step`-th update, the first being 0: linear warm-up, then constant.
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        let warm = step as f64 / self.warmup_steps.max(1) as f64;
        self.learning_rate * warm.min(1.0)
    }
}
