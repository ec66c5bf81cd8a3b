use std::time::{Duration, Instant};

/// Tokens per second and time left of a long piece of work.
#[derive(Debug, Clone)]
pub(crate) struct Throughput {
    started: Instant,
    paused: Duration,
    done_at_start: usize,
    total: usize,
}

impl Throughput {
    /// Starts the clock; `done` of `total` units are done already.
    pub fn start(done: usize, total: usize) -> Self {
        Self {
            started: Instant::now(),
            paused: Duration::ZERO,
            done_at_start: done,
            total,
        }
    }

    /// Leaves out time that was spent on something else.
    pub fn pause(&mut self, paused: Duration) {
        self.paused += paused;
    }

    /// Time since the start, without pauses.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.paused)
    }

    /// Units per second since the start.
    pub fn rate(&self, done: usize) -> f64 {
        let seconds = self.elapsed().as_secs_f64().max(1e-9);
        done.saturating_sub(self.done_at_start) as f64 / seconds
    }

    /// The time the rest will take at this rate, if anything was done.
    pub fn remaining(&self, done: usize) -> Option<Duration> {
        let rate = self.rate(done);
        (rate > 0.0).then(|| Duration::from_secs_f64(self.total.saturating_sub(done) as f64 / rate))
    }
}
