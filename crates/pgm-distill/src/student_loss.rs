use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use discrete_diffusion::TokenSampler;
use discrete_diffusion::distillation::{HiddenSequence, Rollout, StepTargets};
use discrete_diffusion::samplers::{Predictor, SampleError};

use crate::{Divergence, Normalisation, StudentRow};

/// How far a student is from what its teacher predicts along the way.
#[derive(Debug, Clone, Copy)]
pub struct StudentLoss<T> {
    /// The teacher, without autodiff.
    pub teacher: T,
    /// The teacher's steps.
    pub rollout: Rollout,
    /// The loss of a position.
    pub divergence: Divergence,
    /// Over what both distributions are normalised.
    pub normalisation: Normalisation,
    /// The id of MASK.
    pub mask_token: usize,
    /// Of the teacher's draws.
    pub seed: u64,
}

impl<T: Predictor> StudentLoss<T> {
    /// The sum of the divergences over all hidden positions that count, times `scale`, without autodiff; its gradients
    /// are handed to `add`, and their sum is the gradient.
    ///
    /// The student runs once, the teacher once for each of its steps. Both are projected to the vocabulary some positions
    /// at a time, and the divergence of these is differentiated before the next ones are projected: no tensor
    /// `[positions, vocab_size]` of all positions ever exists.
    ///
    /// # Shapes
    /// - output: `[1]`
    ///
    /// # Errors
    /// When the device fails or the teacher's output cannot be used.
    pub fn differentiate(
        &self,
        student: &impl Predictor,
        rows: &[StudentRow],
        scale: f64,
        device: &Device,
        add: &mut dyn FnMut(Gradients),
    ) -> Result<Tensor<1>, SampleError> {
        let sequences: Vec<HiddenSequence> = rows.iter().map(|row| row.sequence.clone()).collect();
        let known: Vec<&[Option<u32>]> = sequences.iter().map(|row| &row.tokens[..]).collect();
        let hidden: Vec<Vec<usize>> = sequences.iter().map(HiddenSequence::hidden).collect();
        let counts: Vec<bool> = rows.iter().flat_map(|row| row.counts.clone()).collect();

        let training_device = device.clone().autodiff();
        let features = student.features(&known, &hidden, &training_device)?;
        let values = features.clone().inner();
        let mut loss = Tensor::zeros([1], device);
        // The gradient at the features, in the order in which the teacher speaks of them.
        let mut feature_gradients = Vec::new();
        let mut order = Vec::with_capacity(counts.len());
        let mut compare = |targets: StepTargets| {
            let StepTargets { places, logits } = targets;
            let features = values.clone().select(0, indices(&places, device));
            let features = features.autodiff().require_grad();
            let weights = places
                .iter()
                .map(|&place| f32::from(u8::from(counts[place])));
            let weights: Vec<f32> = weights.collect();
            let weights = Tensor::<1>::from_data(weights.as_slice(), &training_device);
            let divergences = self.divergence.between(
                student.project(features.clone()),
                logits.autodiff(),
                self.normalisation,
                self.mask_token,
            );
            let sum = (divergences * weights).sum().mul_scalar(scale);
            let gradients = sum.backward();
            let gradient = features.grad(&gradients);
            feature_gradients.push(gradient.expect("the divergence depends on the student"));
            add(gradients);
            loss = loss.clone() + sum.inner();
            order.extend(places);
            Ok(())
        };
        let tokens = TokenSampler::new(1.0)?.excluding(self.mask_token);
        self.rollout.visit_targets(
            &self.teacher,
            &sequences,
            tokens,
            self.seed,
            device,
            &mut compare,
        )?;
        let mut place_of = vec![0; order.len()];
        for (number, place) in order.into_iter().enumerate() {
            place_of[place] = number;
        }
        let gradient = Tensor::cat(feature_gradients, 0).select(0, indices(&place_of, device));
        // Linear in the features, with this gradient.
        add((features * gradient.autodiff()).sum().backward());
        Ok(loss)
    }
}

/// `[n]`
fn indices(places: &[usize], device: &Device) -> Tensor<1, Int> {
    let places: Vec<i64> = places.iter().map(|&at| at as i64).collect();
    let n = places.len();
    Tensor::from_data(TensorData::new(places, [n]), device)
}
