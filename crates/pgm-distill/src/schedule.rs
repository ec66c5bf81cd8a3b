/// Rounds of a distillation and the teacher's step size in each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundSchedule {
    /// Rounds at most.
    pub n_rounds: usize,
    /// Optimizer steps of a round.
    pub steps_per_round: usize,
    /// Teacher steps that the student does in one; the step size grows by this factor each round.
    pub teacher_steps: usize,
    /// Sampling steps of the first round's teacher.
    pub first_sampling_steps: usize,
    /// No round has a teacher of fewer sampling steps.
    pub min_sampling_steps: usize,
}

/// Times run from 1 to this.
const LAST_TIME: f64 = 1e-5;

impl RoundSchedule {
    /// The teacher's step size `dt` in a round, counted from 0.
    pub fn step_size(&self, round: usize) -> f64 {
        let growth = (self.teacher_steps as f64).powi(round as i32);
        (1.0 - LAST_TIME) / self.first_sampling_steps as f64 * growth
    }

    /// Sampling steps of the teacher of a round, `round(1 / dt)`.
    pub fn sampling_steps(&self, round: usize) -> usize {
        (1.0 / self.step_size(round)).round() as usize
    }

    /// Rounds that take place.
    pub fn rounds(&self) -> usize {
        (0..self.n_rounds)
            .take_while(|&round| self.sampling_steps(round) >= self.min_sampling_steps)
            .count()
    }

    /// Optimizer steps of all rounds.
    pub fn n_steps(&self) -> usize {
        self.rounds() * self.steps_per_round
    }

    /// The round of the update after `step` optimizer steps.
    pub fn round_of(&self, step: usize) -> usize {
        step / self.steps_per_round
    }

    /// Optimizer steps done when a round starts.
    pub fn start_of(&self, round: usize) -> usize {
        round * self.steps_per_round
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: RoundSchedule = RoundSchedule {
        n_rounds: 100,
        steps_per_round: 10_000,
        teacher_steps: 2,
        first_sampling_steps: 1024,
        min_sampling_steps: 8,
    };

    #[test]
    fn the_step_size_doubles_down_to_eight_steps() {
        let steps: Vec<usize> = (0..PUBLISHED.rounds())
            .map(|round| PUBLISHED.sampling_steps(round))
            .collect();
        assert_eq!(steps, [1024, 512, 256, 128, 64, 32, 16, 8]);
        assert!((PUBLISHED.step_size(1) - (1.0 - 1e-5) / 512.0).abs() < 1e-15);
        assert_eq!(PUBLISHED.n_steps(), 80_000);
    }

    #[test]
    fn rounds_begin_where_the_last_ended() {
        assert_eq!(PUBLISHED.round_of(9_999), 0);
        assert_eq!(PUBLISHED.round_of(10_000), 1);
        assert_eq!(PUBLISHED.start_of(3), 30_000);
        let few = RoundSchedule {
            n_rounds: 5,
            ..PUBLISHED
        };
        assert_eq!(few.rounds(), 5);
    }
}
