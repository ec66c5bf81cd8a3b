//! What the logits of each network may depend on, on small networks with random weights.

mod baselines;
mod initial_loss;
mod partition_transformer;
mod precision;
mod small_networks;
