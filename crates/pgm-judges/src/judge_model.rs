use burn::module::Module;
use burn::tensor::{Int, Tensor};

use crate::gpt2::Gpt2;
use crate::llama::Llama;

/// Rows of logits that are in memory at a time.
const ROWS: usize = 512;

/// A network that says how likely a text is.
#[derive(Module, Debug)]
pub enum JudgeModel {
    /// GPT-2 of any size.
    Gpt2(Gpt2),
    /// Llama, or a network of its architecture.
    Llama(Llama),
}

impl JudgeModel {
    /// Logits of the token that follows each position.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - output: `[batch, seq, vocab_size]`
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [batch, seq_len] = tokens.dims();
        let logits = self.read_out(flatten(self.hidden(tokens)));
        let vocab_size = logits.dims()[1];
        logits.reshape([batch, seq_len, vocab_size])
    }

    /// Nats that each token but the first costs, given those before it. Logits are computed for some
    /// positions at a time, as those of all take gigabytes.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`, at least two a row
    /// - output: `[batch, seq - 1]`
    ///
    /// # Panics
    /// Panics if there are fewer than two tokens a row.
    pub fn token_nll(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        self.token_nll_and_hidden(tokens).0
    }

    /// [`Self::token_nll`], and what the output layer reads at each position, from the same forward pass.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`, at least two a row
    /// - output: `[batch, seq - 1]` and `[batch, seq, hidden_size]`
    ///
    /// # Panics
    /// Panics if there are fewer than two tokens a row.
    pub fn token_nll_and_hidden(&self, tokens: Tensor<2, Int>) -> (Tensor<2>, Tensor<3>) {
        let [batch, seq_len] = tokens.dims();
        assert!(seq_len > 1, "{seq_len} tokens a row, wanted at least 2");
        let n_targets = seq_len - 1;
        let targets = tokens.clone().narrow(1, 1, n_targets);
        let targets = targets.reshape([batch * n_targets, 1]);
        let all_hidden = self.hidden(tokens);
        let hidden = flatten(all_hidden.clone().narrow(1, 0, n_targets));
        let n_rows = batch * n_targets;
        let pieces = (0..n_rows).step_by(ROWS).map(|start| {
            let length = ROWS.min(n_rows - start);
            let logits = self.read_out(hidden.clone().narrow(0, start, length));
            let largest = logits.clone().max_dim(1);
            let shifted = logits - largest;
            let chosen = shifted
                .clone()
                .gather(1, targets.clone().narrow(0, start, length));
            shifted.exp().sum_dim(1).log() - chosen
        });
        let nll = Tensor::cat(pieces.collect(), 0).reshape([batch, n_targets]);
        (nll, all_hidden)
    }

    fn hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        match self {
            Self::Gpt2(model) => model.hidden(tokens),
            Self::Llama(model) => model.hidden(tokens),
        }
    }

    fn read_out(&self, hidden: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Gpt2(model) => model.read_out(hidden),
            Self::Llama(model) => model.read_out(hidden),
        }
    }
}

fn flatten(hidden: Tensor<3>) -> Tensor<2> {
    let [batch, seq_len, d_model] = hidden.dims();
    hidden.reshape([batch * seq_len, d_model])
}
