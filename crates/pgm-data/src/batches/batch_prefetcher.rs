use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use burn_dataset::Dataset;

use crate::{DataError, ShuffledBatches, TokenBatch, TokenSequence};

/// Batches that each worker keeps ready, next to the one that it is making.
const N_READY: usize = 2;

/// The batches of one training step after the other, made ahead of time by threads of their own.
///
/// Worker `w` of `n` makes the steps `first_step + w + i n`, and the batches are taken from the workers in turn: which
/// batch belongs to a step does not depend on their number, nor on who is faster. Memory holds at most 3 batches a
/// worker. Dropped, it stops the workers and waits for them.
///
/// ```
/// use std::sync::Arc;
///
/// use burn_dataset::InMemDataset;
/// use pgm_data::{BatchPrefetcher, ShuffledBatches, TokenSequence};
///
/// let row = |token| TokenSequence { tokens: vec![token; 4], valid: vec![true; 4] };
/// let rows = Arc::new(InMemDataset::new((0..10).map(row).collect()));
/// let batches = ShuffledBatches::new(10, 4, 42)?;
/// let mut prefetcher = BatchPrefetcher::new(rows, batches, 7, 2);
/// let (step, batch) = prefetcher.next_batch()?;
/// assert_eq!((step, batch.batch_size), (7, 4));
/// # Ok::<(), pgm_data::DataError>(())
/// ```
pub struct BatchPrefetcher {
    maker: Arc<BatchMaker>,
    step: u64,
    first_step: u64,
    workers: Vec<Worker>,
}

/// What every worker needs.
struct BatchMaker {
    rows: Arc<dyn Dataset<TokenSequence>>,
    batches: ShuffledBatches,
}

struct Worker {
    /// Taken away when the worker is to stop.
    ready: Option<Receiver<Result<TokenBatch, DataError>>>,
    thread: Option<JoinHandle<()>>,
}

impl BatchPrefetcher {
    /// Begins at `first_step`, counted from 0, with `n_workers` threads; with 0, batches are made when they are asked for.
    ///
    /// # Panics
    /// When a thread cannot be started.
    pub fn new(
        rows: Arc<dyn Dataset<TokenSequence>>,
        batches: ShuffledBatches,
        first_step: u64,
        n_workers: usize,
    ) -> Self {
        let maker = Arc::new(BatchMaker { rows, batches });
        let workers = (0..n_workers)
            .map(|index| {
                let (sender, ready) = sync_channel(N_READY);
                let maker = Arc::clone(&maker);
                let first = first_step + index as u64;
                let thread = thread::Builder::new()
                    .name(format!("batches-{index}"))
                    .spawn(move || maker.send_all(first, n_workers, &sender))
                    .expect("a thread can be started");
                Worker {
                    ready: Some(ready),
                    thread: Some(thread),
                }
            })
            .collect();
        Self {
            maker,
            step: first_step,
            first_step,
            workers,
        }
    }

    /// The next step and its batch; waits where the batch is not ready yet.
    ///
    /// # Errors
    /// When the data set cannot read a row, or a worker panics. Further calls are errors too; without workers, they try
    /// the step again.
    pub fn next_batch(&mut self) -> Result<(u64, TokenBatch), DataError> {
        let step = self.step;
        let batch = if self.workers.is_empty() {
            self.maker.batch(step)?
        } else {
            let turn = (step - self.first_step) % self.workers.len() as u64;
            self.workers[turn as usize].receive(step)?
        };
        self.step += 1;
        Ok((step, batch))
    }
}

impl BatchMaker {
    fn batch(&self, step: u64) -> Result<TokenBatch, DataError> {
        TokenBatch::collect(&*self.rows, &self.batches.indices(step))
    }

    /// Makes every `stride`-th batch until there is an error or nobody waits for them any more.
    fn send_all(
        &self,
        first: u64,
        stride: usize,
        sender: &SyncSender<Result<TokenBatch, DataError>>,
    ) {
        for step in (first..).step_by(stride) {
            let batch = self.batch(step);
            let is_last = batch.is_err();
            if sender.send(batch).is_err() || is_last {
                return;
            }
        }
    }
}

impl Worker {
    fn receive(&mut self, step: u64) -> Result<TokenBatch, DataError> {
        let received = self.ready.as_ref().and_then(|ready| ready.recv().ok());
        received.unwrap_or_else(|| {
            // The worker has ended without a batch: after an error, or by a panic.
            let reason = match self.thread.take().map(JoinHandle::join) {
                Some(Err(panic)) => panic_message(panic.as_ref()),
                _ => "it has stopped after an error".to_owned(),
            };
            Err(DataError::BatchWorker { step, reason })
        })
    }
}

impl Drop for BatchPrefetcher {
    fn drop(&mut self) {
        // First all queues, so that no worker is waited for while it waits for room.
        for worker in &mut self.workers {
            worker.ready = None;
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::warn!("a thread that makes batches has panicked");
            }
        }
    }
}

/// What a panic says, where it says something.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    message.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_dataset::DatasetError;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Ten rows, of which some fail; counts what is asked for.
    #[derive(Default)]
    struct Rows {
        broken: Option<usize>,
        panicking: Option<usize>,
        n_read: AtomicUsize,
    }

    impl Dataset<TokenSequence> for Rows {
        fn get(&self, index: usize) -> Result<TokenSequence, DatasetError> {
            self.n_read.fetch_add(1, Ordering::SeqCst);
            if self.broken == Some(index) {
                return Err(DatasetError::new(std::io::Error::other("unplugged")));
            }
            assert_ne!(self.panicking, Some(index), "row out of reach");
            // Rows take different times.
            if index.is_multiple_of(3) {
                thread::yield_now();
            }
            Ok(TokenSequence {
                tokens: vec![index as u32; 2],
                valid: vec![true; 2],
            })
        }

        fn len(&self) -> usize {
            10
        }
    }

    fn batches() -> ShuffledBatches {
        ShuffledBatches::new(10, 3, 5).unwrap()
    }

    #[test]
    fn steps_come_in_order_and_do_not_depend_on_the_number_of_workers() {
        let expected: Vec<_> = (4..40)
            .map(|step| {
                let batch = TokenBatch::collect(&Rows::default(), &batches().indices(step));
                (step, batch.unwrap())
            })
            .collect();
        for n_workers in [0, 1, 2, 3, 7] {
            let rows = Arc::new(Rows::default());
            let mut prefetcher = BatchPrefetcher::new(rows, batches(), 4, n_workers);
            for wanted in &expected {
                assert_eq!(&prefetcher.next_batch().unwrap(), wanted, "{n_workers}");
            }
        }
    }

    #[test]
    fn a_run_that_resumes_in_mid_epoch_sees_the_rows_that_were_left() {
        let all = |first: u64, n_steps: usize| -> Vec<u32> {
            let rows = Arc::new(Rows::default());
            let mut prefetcher = BatchPrefetcher::new(rows, batches(), first, 2);
            (0..n_steps)
                .flat_map(|_| prefetcher.next_batch().unwrap().1.tokens)
                .collect()
        };
        // 3 of 10 rows a step: step 5 lies in the middle of the second epoch.
        let whole = all(0, 12);
        assert_eq!([all(0, 5), all(5, 7)].concat(), whole);
    }

    #[test]
    fn workers_stop_at_a_bounded_number_of_batches_and_when_dropped() {
        let rows = Arc::new(Rows::default());
        let mut prefetcher = BatchPrefetcher::new(rows.clone(), batches(), 0, 2);
        prefetcher.next_batch().unwrap();
        drop(prefetcher);
        // One was taken; each of two workers holds two and has made a third.
        assert!(rows.n_read.load(Ordering::SeqCst) <= 3 * (1 + 2 * 3));
        assert_eq!(Arc::strong_count(&rows), 1, "the threads are gone");
    }

    #[test]
    fn errors_and_panics_are_reported_at_their_step() {
        for n_workers in [0, 1, 3] {
            let bad_row = batches().indices(4)[0];
            let first_bad = (0..)
                .find(|&step| batches().indices(step).contains(&bad_row))
                .unwrap();
            let rows = Arc::new(Rows {
                broken: Some(bad_row),
                ..Rows::default()
            });
            let mut prefetcher = BatchPrefetcher::new(rows, batches(), 0, n_workers);
            for step in 0..first_bad {
                assert_eq!(prefetcher.next_batch().unwrap().0, step);
            }
            let error = prefetcher.next_batch().unwrap_err().to_string();
            assert!(error.contains("unplugged"), "{error}");
            assert!(prefetcher.next_batch().is_err());
        }

        let rows = Arc::new(Rows {
            panicking: Some(batches().indices(0)[1]),
            ..Rows::default()
        });
        let mut prefetcher = BatchPrefetcher::new(rows, batches(), 0, 2);
        let error = prefetcher.next_batch().unwrap_err().to_string();
        assert!(error.contains("step 0"), "{error}");
        assert!(error.contains("row out of reach"), "{error}");
    }
}
