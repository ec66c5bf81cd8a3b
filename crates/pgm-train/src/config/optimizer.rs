use serde::{Deserialize, Serialize};

/// Adam without weight decay, its learning rate, clipping and averaged weights. The defaults are
/// published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSection {
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Optimizer steps in which the learning rate grows from 0.
    pub warmup_steps: usize,
    /// What the learning rate does after the warm-up.
    pub schedule: LearningRateSchedule,
    /// Learning rate at the last step of a schedule that falls.
    pub final_learning_rate: f64,
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

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearningRateSchedule {
    /// It stays.
    #[default]
    Constant,
    /// It falls in a straight line, to `final_learning_rate` at `training.n_steps`.
    Linear,
    /// It falls along half a cosine, to `final_learning_rate` at `training.n_steps`.
    Cosine,
}

impl Default for OptimizerSection {
    fn default() -> Self {
        Self {
            learning_rate: 3e-4,
            warmup_steps: 2500,
            schedule: LearningRateSchedule::default(),
            final_learning_rate: 0.0,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            max_grad_norm: 1.0,
            ema_decay: 0.9999,
        }
    }
}

impl OptimizerSection {
    /// The learning rate of the `step`-th of `n_steps` updates; that of the first, step 0, is 0
    /// unless there is no warm-up.
    pub fn learning_rate_at(&self, step: usize, n_steps: usize) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * step as f64 / self.warmup_steps as f64;
        }
        let falling_steps = n_steps.saturating_sub(1 + self.warmup_steps).max(1);
        let fallen = ((step - self.warmup_steps) as f64 / falling_steps as f64).min(1.0);
        let left = match self.schedule {
            LearningRateSchedule::Constant => 1.0,
            LearningRateSchedule::Linear => 1.0 - fallen,
            LearningRateSchedule::Cosine => 0.5 + 0.5 * (std::f64::consts::PI * fallen).cos(),
        };
        self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(schedule: LearningRateSchedule) -> OptimizerSection {
        OptimizerSection {
            learning_rate: 1.0,
            final_learning_rate: 0.2,
            warmup_steps: 4,
            schedule,
            ..Default::default()
        }
    }

    #[test]
    fn every_schedule_warms_up_from_zero() {
        for schedule in [
            LearningRateSchedule::Constant,
            LearningRateSchedule::Linear,
            LearningRateSchedule::Cosine,
        ] {
            let rates: Vec<f64> = (0..5)
                .map(|k| with(schedule).learning_rate_at(k, 15))
                .collect();
            assert_eq!(rates, [0.0, 0.25, 0.5, 0.75, 1.0]);
        }
    }

    #[test]
    fn falling_schedules_end_at_the_last_update() {
        // Updates 4 to 14 fall: update 9 is half-way, 14 the last of 15.
        for schedule in [LearningRateSchedule::Linear, LearningRateSchedule::Cosine] {
            let optimizer = with(schedule);
            assert!((optimizer.learning_rate_at(9, 15) - 0.6).abs() < 1e-12);
            assert!((optimizer.learning_rate_at(14, 15) - 0.2).abs() < 1e-12);
            assert!((optimizer.learning_rate_at(99, 15) - 0.2).abs() < 1e-12);
        }
        // A quarter of half a cosine: (1 + cos(pi / 5)) / 2 = 0.90451.
        let cosine = with(LearningRateSchedule::Cosine).learning_rate_at(6, 15);
        assert!(
            (cosine - (0.2 + 0.8 * 0.904_508_5)).abs() < 1e-6,
            "{cosine}"
        );
        assert_eq!(
            with(LearningRateSchedule::Constant).learning_rate_at(99, 15),
            1.0
        );
    }

    #[test]
    fn without_a_warm_up_the_first_update_has_the_full_rate() {
        let optimizer = OptimizerSection {
            warmup_steps: 0,
            ..Default::default()
        };
        assert_eq!(optimizer.learning_rate_at(0, 10), 3e-4);
    }
}
