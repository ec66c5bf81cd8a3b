use burn::tensor::{Device, Tensor};

use crate::small_networks::*;

#[test]
fn dit_reads_all_tokens_and_tells_their_positions_apart() {
    let model = dit();
    let tokens = random_tokens(1);
    let before = dit_logits(&model, std::slice::from_ref(&tokens));
    for changed in 0..SEQ_LEN {
        let after = dit_logits(&model, &[with_another_token(&tokens, changed)]);
        for position in 0..SEQ_LEN {
            let difference = largest_difference(&before[position], &after[position]);
            assert!(
                difference > CHANGE,
                "{position} hears of token {changed} by {difference:e} only"
            );
        }
    }
    // Two tokens that change places are seen by a third.
    let swapped = vec![3, 5, 1, 1, 1, 1, 1, 1, 1];
    let logits = [vec![5, 3, 1, 1, 1, 1, 1, 1, 1], swapped].map(|row| dit_logits(&model, &[row]));
    assert!(largest_difference(&logits[0][4], &logits[1][4]) > CHANGE);
    // Where all tokens are the same, so is all that can be read, at every distance.
    let logits = dit_logits(&model, &[vec![4; SEQ_LEN]]);
    for row in &logits {
        assert!(largest_difference(row, &logits[0]) < TOLERANCE);
    }
}

#[test]
fn causal_dit_reads_the_past_only() {
    let model = causal_dit();
    let tokens = random_tokens(1);
    let before = causal_logits(&model, std::slice::from_ref(&tokens));
    for changed in 0..SEQ_LEN {
        let after = causal_logits(&model, &[with_another_token(&tokens, changed)]);
        for position in 0..SEQ_LEN {
            let difference = largest_difference(&before[position], &after[position]);
            if position < changed {
                assert_eq!(
                    difference, 0.0,
                    "{position} depends on token {changed} behind it"
                );
            } else {
                assert!(
                    difference > CHANGE,
                    "{position} hears of token {changed} by {difference:e} only"
                );
            }
        }
    }
    // A prefix has the logits of the whole.
    let prefix = causal_logits(&model, &[tokens[..4].to_vec()]);
    assert!(largest_difference(&prefix.concat(), &before[..4].concat()) < TOLERANCE);
}

#[test]
fn sequences_of_a_batch_do_not_see_each_other() {
    let one = [random_tokens(1), random_tokens(2)];
    let other = [random_tokens(1), random_tokens(3)];
    let (dit, causal) = (dit(), causal_dit());
    assert_eq!(
        dit_logits(&dit, &one)[..SEQ_LEN],
        dit_logits(&dit, &other)[..SEQ_LEN]
    );
    assert_eq!(
        causal_logits(&causal, &one)[..SEQ_LEN],
        causal_logits(&causal, &other)[..SEQ_LEN]
    );
    for (model, what) in partition_transformers() {
        let groups = int_tensor(&[random_groups(3), random_groups(4)]);
        let logits = [&one, &other].map(|batch| {
            let sigma = Tensor::zeros([1], &Device::flex());
            rows(model.forward(int_tensor(batch), groups.clone(), sigma))
        });
        assert_eq!(logits[0][..SEQ_LEN], logits[1][..SEQ_LEN], "{what}");
        assert_ne!(logits[0][SEQ_LEN..], logits[1][SEQ_LEN..], "{what}");
    }
}
