//! Each sampler against its own law, enumerated in float64.
//!
//! A test draws 20,000 sequences (200,000 where laws differ little) and compares the counts of the
//! possible ones, 27 if BOS alone is known, with the law by a chi-square test that would fail a
//! correct sampler for one seed in 100,000. Seeds are fixed. Each test also shows that the same
//! counts refute a law that is only a little wrong.

mod autoregressive;
mod blocks;
mod confidence;
mod contexts;
mod experiment;
mod laws;
mod orders;
mod progress;
mod runs;
mod schedules;
mod statistics;
#[path = "../tiny_denoiser/mod.rs"]
mod tiny_denoiser;
