//! What wrappers of networks put in front of the names of their parameters.

use std::collections::BTreeSet;

use crate::file_tensor::FileTensor;
use crate::read_error::ReadError;

/// Parts of names that `torch.compile`, checkpointing and sharding add wherever a module is wrapped.
const ANYWHERE: [&str; 3] = [
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// Parts that stand in front: of `DistributedDataParallel`, of Lightning's and other classes that hold a network.
const IN_FRONT: [&str; 6] = [
    "module.",
    "model.",
    BACKBONE,
    "net.",
    "network.",
    "_forward_module.",
];

/// Where the authors' training code holds the network.
pub(crate) const BACKBONE: &str = "backbone.";

/// Takes off what stands anywhere in names.
pub(crate) fn unwrap_names(tensors: &mut [FileTensor]) {
    for tensor in tensors {
        let parts = tensor.name.split('.');
        let kept: Vec<&str> = parts.filter(|part| !ANYWHERE.contains(part)).collect();
        tensor.name = kept.join(".");
    }
}

/// The prefix, of parts of wrappers or of `own` ones, under which a file holds the parameter `anchor`, which each
/// network has once; `None` if there is no such parameter.
///
/// # Errors
/// When there are several, of which none is the `backbone.`.
pub(crate) fn prefix_of(
    tensors: &[FileTensor],
    anchor: &str,
    own: &str,
) -> Result<Option<String>, ReadError> {
    let prefixes: BTreeSet<&str> = tensors
        .iter()
        .filter_map(|tensor| tensor.name.strip_suffix(anchor))
        .filter(|prefix| is_wrapper(prefix, own))
        .collect();
    let of_backbone = prefixes.iter().filter(|prefix| prefix.contains(BACKBONE));
    match (prefixes.len(), of_backbone.collect::<Vec<_>>().as_slice()) {
        (0, _) => Ok(None),
        (1, _) => Ok(prefixes.first().map(|prefix| (*prefix).to_owned())),
        (_, [prefix]) => Ok(Some((**prefix).to_owned())),
        _ => {
            let names = prefixes.iter().map(|prefix| format!("`{prefix}{anchor}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            Err(format!(
                "it holds more than one network ({names}); save the state dict of one of them"
            )
            .into())
        }
    }
}

/// Whether a prefix consists of parts of wrappers.
fn is_wrapper(prefix: &str, own: &str) -> bool {
    let mut parts = prefix.split_inclusive('.');
    parts.all(|part| IN_FRONT.contains(&part) || part == own)
}

/// The tensors under a prefix, without it; what lies outside is no part of the network.
pub(crate) fn strip(tensors: Vec<FileTensor>, prefix: &str) -> Vec<FileTensor> {
    let stripped = tensors.into_iter().filter_map(|mut tensor| {
        tensor.name = tensor.name.strip_prefix(prefix)?.to_owned();
        Some(tensor)
    });
    stripped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(names: &[&str]) -> Vec<FileTensor> {
        let tensors = names.iter().map(|name| {
            FileTensor::of_other_type((*name).to_owned(), vec![1], true, "of no matter")
        });
        tensors.collect()
    }

    fn names_of(tensors: &[FileTensor]) -> Vec<&str> {
        tensors.iter().map(|tensor| tensor.name.as_str()).collect()
    }

    #[test]
    fn parts_of_wrappers_are_taken_off_wherever_they_stand() {
        let mut tensors = tensors(&[
            "_orig_mod.a.weight",
            "backbone._orig_mod.blocks.0._checkpoint_wrapped_module.a",
            "_fsdp_wrapped_module._orig_mod._orig_mod.a",
            "my_orig_mod.a",
        ]);
        unwrap_names(&mut tensors);
        let wanted = ["a.weight", "backbone.blocks.0.a", "a", "my_orig_mod.a"];
        assert_eq!(names_of(&tensors), wanted);
    }

    #[test]
    fn the_prefix_is_what_stands_before_the_anchor() {
        let prefix = |names: &[&str]| prefix_of(&tensors(names), "e.w", "transformer.");
        for (names, wanted) in [
            (&["e.w", "a"][..], Some("")),
            (&["module.model.e.w"], Some("module.model.")),
            (&["module.transformer.e.w"], Some("module.transformer.")),
            // The authors' checkpoints hold a teacher, too; others hold the network beside its wrapper.
            (&["teacher.e.w", "backbone.e.w"], Some("backbone.")),
            (
                &["model.e.w", "model.backbone.e.w"],
                Some("model.backbone."),
            ),
            (&["teacher.e.w"], None),
            (&["some.w"], None),
            (&["a"], None),
        ] {
            assert_eq!(prefix(names).unwrap().as_deref(), wanted, "{names:?}");
        }
        let error = prefix(&["net.e.w", "model.e.w"]).unwrap_err().to_string();
        assert!(
            error.contains("more than one network (`model.e.w`, `net.e.w`)"),
            "{error}"
        );
    }

    #[test]
    fn what_lies_outside_the_prefix_is_left_out() {
        let stripped = strip(tensors(&["backbone.a", "teacher.a"]), "backbone.");
        assert_eq!(names_of(&stripped), ["a"]);
    }
}
