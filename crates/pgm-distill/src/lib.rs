//! Self-distillation through time: a student learns to do in one sampling step what its teacher does in several.
//!
//! A round freezes the model as the teacher. From a sequence with hidden positions the teacher goes `n` steps of size
//! `dt`, and the student predicts in one pass what the teacher predicted along the way
//! ([`discrete_diffusion::distillation`]). After each round the student becomes the teacher and `dt` grows `n`-fold, so
//! that after `r` rounds `K` steps do the work of `K n^r`.
//!
//! - [`DistillConfig`] is a distillation as a TOML file.
//! - [`Distiller`] runs it. What it leaves behind is a run like any other ([`pgm_train::RunFolder`]), with a
//!   checkpoint of the teacher at step 0 and one after each round.
//! - [`RoundSchedule`] and [`Divergence`] are the maths.
//!
//! It works for masked diffusion and for partition generative models; a PGM can learn from both directions of a
//! partition at once ([`Directions`]).
//!
//! # Reference
//! SDTT (arXiv 2410.21035); PGM (arXiv 2505.18883).

mod config;
mod distiller;
mod divergence;
mod method;
mod network_predictor;
mod round;
mod schedule;
mod student_loss;
mod student_rows;
mod update;

pub use config::{
    Directions, DistillConfig, DistillTrainingSection, DistillationSection, OptimizerAtRound,
    TeacherSection, TeacherSource, TeacherWeights,
};
pub use distiller::{DISTILLATION_FILE, Distiller};
pub use divergence::{Divergence, Normalisation};
pub use method::{DIVERGENCE_PER_TOKEN, DistillationMethod};
pub use network_predictor::NetworkPredictor;
pub use round::{Round, RoundRecord};
pub use schedule::RoundSchedule;
pub use student_loss::StudentLoss;
pub use student_rows::{StudentRow, hide};
pub use update::DistillationUpdate;
