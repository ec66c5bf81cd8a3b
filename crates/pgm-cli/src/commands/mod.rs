mod config_args;
mod convert;
mod cost_report;
mod eval_ppl;
mod info;
mod prepare_data;
mod run_args;
mod sample;
mod sample_context;
mod sample_drawing;
mod train;

pub use convert::ConvertArgs;
pub use eval_ppl::EvalPplArgs;
pub use info::InfoArgs;
pub use prepare_data::PrepareDataArgs;
pub use sample::SampleArgs;
pub use train::TrainArgs;
