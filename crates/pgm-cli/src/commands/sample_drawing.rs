use clap::{Args, ValueEnum};
use pgm_generation::{RevealOrder, SamplerKind, SamplingSettings};

/// How text is drawn; what is left out is the run's.
#[derive(Debug, Args)]
pub struct DrawingArgs {
    /// Sampling steps: fewer are faster, more are better; autoregressive models take one a token
    #[arg(long)]
    steps: Option<usize>,
    /// Divides the logits: below 1 is safer, 0 takes the most likely token
    #[arg(long)]
    temperature: Option<f64>,
    /// Draw from this many most likely tokens only
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw from the most likely tokens that together have this probability only
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// The way of drawing; which ones fit a model stands below
    #[arg(long)]
    sampler: Option<Sampler>,
    /// Which positions are revealed first: entropy for sampler entropy-bound, else random, if left out.
    /// Probabilities are the network's, before temperature, top-k and top-p
    #[arg(long)]
    order: Option<Order>,
    /// Reveal blocks of this many positions one after the other, from the end of the prompt; the steps are
    /// spread over them in proportion to what is to be drawn, one a block at least
    #[arg(long, value_name = "TOKENS")]
    block_length: Option<usize>,
    /// The bound of sampler entropy-bound: larger is faster, 0 reveals one position a step
    #[arg(long, value_name = "NATS")]
    entropy_bound: Option<f64>,
    /// How readily the remask samplers take tokens back, from 0 to 1
    #[arg(long, value_name = "ETA")]
    remask_eta: Option<f64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sampler {
    /// The same number of positions a step
    Uniform,
    /// Binomial numbers of positions: the law of ancestral sampling
    NonUniform,
    /// Binomial numbers of positions as in the published code
    NonUniformPublished,
    /// The forward pass of training at full length (slow, for comparison)
    Naive,
    /// Ancestral sampling, one random number a token
    Ancestral,
    /// Ancestral sampling with noise over the whole vocabulary (slow, for comparison)
    Published,
    /// As published, keeping predictions while nothing changes
    Cached,
    /// As many positions a step as --entropy-bound allows; --steps is not used
    EntropyBound,
    /// ReMDM: tokens are taken back with probability --remask-eta at most
    RemaskCap,
    /// ReMDM: tokens are taken back with --remask-eta of the largest probability
    RemaskRescale,
    /// Token after token
    Autoregressive,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// All orders are equally likely
    Random,
    /// The probability of the token that was drawn decides, as in MaskGIT and LLaDA
    Confidence,
    /// The probability of the most likely token decides, whichever is drawn
    MaxProbability,
    /// The distance between the probabilities of the two most likely tokens decides
    Margin,
    /// The lowest entropy first
    Entropy,
}

impl DrawingArgs {
    /// The settings of a run with those of the command line over them.
    pub fn settings(&self, run: &SamplingSettings) -> SamplingSettings {
        SamplingSettings {
            n_steps: self.steps.unwrap_or(run.n_steps),
            temperature: self.temperature.unwrap_or(run.temperature),
            top_k: self.top_k.or(run.top_k),
            top_p: self.top_p.or(run.top_p),
            sampler: self.sampler.map(SamplerKind::from).or(run.sampler),
            order: self.order.map(RevealOrder::from).or(run.order),
            block_length: self.block_length.or(run.block_length),
            entropy_bound: self.entropy_bound.unwrap_or(run.entropy_bound),
            remask_eta: self.remask_eta.unwrap_or(run.remask_eta),
        }
    }
}

impl From<Sampler> for SamplerKind {
    fn from(sampler: Sampler) -> Self {
        match sampler {
            Sampler::Uniform => Self::Uniform,
            Sampler::NonUniform => Self::NonUniform,
            Sampler::NonUniformPublished => Self::NonUniformPublished,
            Sampler::Naive => Self::Naive,
            Sampler::Ancestral => Self::Ancestral,
            Sampler::Published => Self::Published,
            Sampler::Cached => Self::Cached,
            Sampler::EntropyBound => Self::EntropyBound,
            Sampler::RemaskCap => Self::RemaskCap,
            Sampler::RemaskRescale => Self::RemaskRescale,
            Sampler::Autoregressive => Self::Autoregressive,
        }
    }
}

impl From<Order> for RevealOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Random => Self::Random,
            Order::Confidence => Self::Confidence,
            Order::MaxProbability => Self::MaxProbability,
            Order::Margin => Self::Margin,
            Order::Entropy => Self::Entropy,
        }
    }
}
