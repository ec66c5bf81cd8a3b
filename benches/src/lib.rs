//! The benches lie in `benches/`; run them with `cargo bench -p pgm-benches`.
