use burn::tensor::{Device, Tensor};
use pgm_model::{KnownTokens, PreQuery, QueryPositions, QueryProcessorKind, SortedTokens};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::small_networks::*;

#[test]
fn tokens_never_see_their_own_group() {
    for (model, what) in partition_transformers() {
        let (tokens, groups) = (random_tokens(1), random_groups(2));
        let before = partition_logits(&model, &tokens, &groups);
        for changed in 0..SEQ_LEN {
            let after = partition_logits(&model, &with_another_token(&tokens, changed), &groups);
            for position in (0..SEQ_LEN).filter(|&i| groups[i] == groups[changed]) {
                // Bit for bit: what is blocked has a weight of exactly 0.
                assert_eq!(
                    before[position], after[position],
                    "{what}: the logits of {position} moved with token {changed} of its own group"
                );
            }
        }
    }
}

#[test]
fn tokens_see_every_token_of_the_other_group() {
    for (model, what) in partition_transformers() {
        let (tokens, groups) = (random_tokens(1), random_groups(2));
        let before = partition_logits(&model, &tokens, &groups);
        for changed in 0..SEQ_LEN {
            let after = partition_logits(&model, &with_another_token(&tokens, changed), &groups);
            for position in (0..SEQ_LEN).filter(|&i| groups[i] != groups[changed]) {
                let difference = largest_difference(&before[position], &after[position]);
                assert!(
                    difference > CHANGE,
                    "{what}: the logits of {position} do not depend on token {changed}"
                );
            }
        }
    }
}

#[test]
fn an_empty_group_leaves_logits_that_depend_on_positions_alone() {
    for (model, what) in partition_transformers() {
        for group in [0, 1] {
            let groups = vec![group; SEQ_LEN];
            let one = partition_logits(&model, &random_tokens(1), &groups);
            let other = partition_logits(&model, &random_tokens(2), &groups);
            assert!(one.iter().flatten().all(|x| x.is_finite()), "{what}");
            assert_eq!(one, other, "{what}");
        }
    }
}

#[test]
fn sorted_logits_are_those_of_the_sequence() {
    let device = Device::flex();
    for (model, what) in partition_transformers() {
        let tokens = int_tensor(&[random_tokens(1), random_tokens(2)]);
        let groups = int_tensor(&[random_groups(3), random_groups(4)]);
        let sorted = SortedTokens::new(tokens.clone(), groups.clone());
        let order = host_ints(sorted.positions.clone());
        let sigma = Tensor::zeros([1], &device);
        let logits = rows(model.forward(tokens, groups, sigma.clone()));
        let sorted_logits = rows(model.forward_sorted(sorted, sigma));
        for (row, order) in order.iter().enumerate() {
            for (place, &position) in order.iter().enumerate() {
                assert_eq!(
                    logits[row * SEQ_LEN + position],
                    sorted_logits[row * SEQ_LEN + place],
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn known_tokens_predict_the_rest_as_group_0_predicts_group_1() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut largest = 0f32;
    for (model, what) in partition_transformers() {
        for n_known in [1, 4, SEQ_LEN - 1] {
            let tokens = random_tokens(n_known as u64);
            let (known, queries) = random_split(n_known, &mut rng);
            let mut groups = vec![1; SEQ_LEN];
            known.iter().for_each(|&position| groups[position] = 0);
            let expected = partition_logits(&model, &tokens, &groups);
            let logits = known_logits(&model, &tokens, &known, &queries);
            for (&position, logits) in queries.iter().zip(&logits) {
                let difference = largest_difference(logits, &expected[position]);
                largest = largest.max(difference);
                assert!(
                    difference < TOLERANCE,
                    "{what}: {n_known} known, off by {difference:e}"
                );
            }
        }
    }
    println!("largest difference {largest:.1e}");
}

/// Known tokens and queries are sets: their order in memory means nothing.
#[test]
fn the_order_of_known_tokens_and_queries_does_not_matter() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for (model, what) in partition_transformers() {
        let tokens = random_tokens(3);
        let (mut known, queries) = random_split(5, &mut rng);
        let before = known_logits(&model, &tokens, &known, &queries);
        known.rotate_left(2);
        let reversed: Vec<usize> = queries.iter().rev().copied().collect();
        let after = known_logits(&model, &tokens, &known, &reversed);
        for (before, after) in before.iter().zip(after.iter().rev()) {
            let difference = largest_difference(before, after);
            assert!(difference < TOLERANCE, "{what}: off by {difference:e}");
        }
    }
}

#[test]
fn padding_of_known_tokens_and_queries_does_not_matter() {
    let device = Device::flex();
    let (known, queries) = ([vec![4, 0, 7], vec![1, 2, 8, 3, 0]], [vec![2, 8], vec![6]]);
    for (model, what) in partition_transformers() {
        let tokens = [random_tokens(7), random_tokens(8)];
        let padded = |width: usize, padding: usize| {
            let pad = |row: &[usize], width: usize| {
                let mut row = row.to_vec();
                row.resize(width, padding);
                row
            };
            let known_tokens: Vec<Vec<usize>> = (0..2)
                .map(|row| {
                    pad(
                        &known[row]
                            .iter()
                            .map(|&i| tokens[row][i])
                            .collect::<Vec<_>>(),
                        width,
                    )
                })
                .collect();
            let known_positions: Vec<Vec<usize>> =
                known.iter().map(|row| pad(row, width)).collect();
            let query_positions: Vec<Vec<usize>> = queries.iter().map(|row| pad(row, 3)).collect();
            let logits = model.forward_known(
                KnownTokens {
                    tokens: int_tensor(&known_tokens),
                    positions: int_tensor(&known_positions),
                    lengths: known.iter().map(Vec::len).collect(),
                },
                QueryPositions {
                    positions: int_tensor(&query_positions),
                    lengths: queries.iter().map(Vec::len).collect(),
                },
                Tensor::zeros([1], &device),
            );
            rows(logits)
        };
        let logits = [padded(5, 0), padded(5, 6), padded(8, 9)];
        for row in 0..2 {
            let alone = known_logits(&model, &tokens[row], &known[row], &queries[row]);
            for (query, expected) in alone.iter().enumerate() {
                for logits in &logits {
                    let difference = largest_difference(&logits[row * 3 + query], expected);
                    assert!(difference < TOLERANCE, "{what}: off by {difference:e}");
                }
            }
        }
    }
}

/// Rotary angles enter scores by their differences; only the sinusoid of GroupSwap is absolute.
#[test]
fn without_the_sinusoid_only_distances_between_positions_matter() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for (pre_query, is_invariant) in [(PreQuery::Learned, true), (PreQuery::Sinusoid, false)] {
        let model = partition_transformer(pre_query, QueryProcessorKind::Linear);
        let mut tokens = random_tokens(3);
        let (known, queries) = random_split(5, &mut rng);
        let before = known_logits(&model, &tokens, &known, &queries);
        let shift = |positions: &[usize]| positions.iter().map(|i| i + 40).collect::<Vec<_>>();
        tokens.splice(0..0, vec![0; 40]);
        let after = known_logits(&model, &tokens, &shift(&known), &shift(&queries));
        let difference = largest_difference(&before.concat(), &after.concat());
        assert_eq!(
            difference < TOLERANCE,
            is_invariant,
            "{pre_query:?}: {difference:e}"
        );
    }
}
