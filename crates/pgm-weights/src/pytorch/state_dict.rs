use super::pickle::{Id, Object, Pickle};
use crate::read_error::ReadError;

/// Keys under which training code keeps a network's tensors by name.
const RAW: [&str; 10] = [
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "shadow",
    "ema_model",
];

/// Keys under which it keeps averaged ones.
const AVERAGE: [&str; 6] = [
    "ema",
    "ema_state_dict",
    "model_ema",
    "state_dict_ema",
    "ema_model",
    "ema_model_state_dict",
];

/// Dictionaries within dictionaries that are looked into.
const MAX_DEPTH: usize = 3;
/// Keys that are written out.
const SHOWN: usize = 8;

/// Where a checkpoint holds weights.
#[derive(Debug, PartialEq)]
pub(super) enum StateDicts {
    /// Tensors by name.
    Only(Id),
    /// The same twice: as after the last step, and averaged.
    WithAverage { raw: Id, average: Id },
    /// The authors' form: averaged weights are a list without names, `ema.shadow_params`.
    WithList { raw: Id, list: Id },
}

impl StateDicts {
    /// Looks under the usual keys; a dictionary without them that holds tensors is a state dict itself.
    ///
    /// # Errors
    /// When there is no state dict; says what there is.
    pub fn find(pickle: &Pickle) -> Result<Self, ReadError> {
        let root = pickle.root;
        let ema = pickle.entry(root, "ema");
        let list = ema.and_then(|ema| pickle.entry(ema, "shadow_params"));
        let average = AVERAGE.iter().find_map(|key| {
            let dict = pickle.entry(root, key)?;
            within(pickle, dict, MAX_DEPTH)
        });
        let raw = within(pickle, root, MAX_DEPTH).filter(|raw| Some(*raw) != average);
        match (raw, average, list) {
            (Some(raw), Some(average), _) => Ok(Self::WithAverage { raw, average }),
            (Some(raw), None, Some(list)) => Ok(Self::WithList { raw, list }),
            (Some(only), None, None) | (None, Some(only), _) => Ok(Self::Only(only)),
            (None, None, _) => Err(without_state_dict(pickle).into()),
        }
    }
}

/// The state dict in a dictionary.
fn within(pickle: &Pickle, dict: Id, depth: usize) -> Option<Id> {
    let depth = depth.checked_sub(1)?;
    let nested = RAW
        .iter()
        .find_map(|key| within(pickle, pickle.entry(dict, key)?, depth));
    nested.or_else(|| has_tensors(pickle, dict).then_some(dict))
}

fn has_tensors(pickle: &Pickle, dict: Id) -> bool {
    let Object::Dict(entries) = pickle.object(dict) else {
        return false;
    };
    entries.iter().any(|&(key, value)| {
        matches!(
            (pickle.object(key), pickle.object(value)),
            (Object::Text(_), Object::Tensor(_))
        )
    })
}

/// Why a checkpoint is none.
fn without_state_dict(pickle: &Pickle) -> String {
    match pickle.object(pickle.root) {
        Object::Dict(entries) => {
            let key_names = entries.iter().take(SHOWN).map(|&(key, _)| match pickle.object(key) {
                Object::Text(key) => format!("`{}`", key.chars().take(40).collect::<String>()),
                _ => "one that is no text".to_owned(),
            });
            let key_names = key_names.collect::<Vec<_>>().join(", ");
            let found = match entries.len() {
                0 => "it is empty".to_owned(),
                1..=SHOWN => format!("its keys are {key_names}"),
                n => format!("its {n} keys are {key_names}, ..."),
            };
            format!(
                "it holds no state dict (tensors by name), neither itself nor under a usual key, such as `state_dict` or `model`; {found}"
            )
        }
        Object::List(_) | Object::Tuple(_) => {
            "it holds a list, wanted a state dict (tensors by name)".into()
        }
        Object::Tensor(_) => "it holds a single tensor, wanted a state dict (tensors by name)".into(),
        _ => "it holds an object of a class, wanted a state dict; save `model.state_dict()` instead of the model"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::super::pickle::{Storage, StorageKind, TensorView};
    use super::*;

    /// A dictionary of the given entries.
    fn dict(pickle: &mut Pickle, entries: &[(&str, Id)]) -> Id {
        let entries = entries.iter().map(|&(key, value)| {
            let key = pickle.push(Object::Text(key.to_owned()));
            (key, value)
        });
        let entries = entries.collect();
        pickle.push(Object::Dict(entries))
    }

    /// A dictionary with a tensor.
    fn weights(pickle: &mut Pickle) -> Id {
        let tensor = pickle.push(Object::Tensor(Box::new(TensorView {
            storage: Storage {
                key: "0".into(),
                kind: StorageKind::Floats(DType::F32),
            },
            offset: 0,
            shape: vec![1],
            strides: vec![1],
        })));
        dict(pickle, &[("w", tensor)])
    }

    #[test]
    fn state_dicts_are_found_on_their_own_and_under_the_usual_keys() {
        for path in [
            &[][..],
            &["state_dict"],
            &["model"],
            &["module"],
            &["net"],
            &["model", "state_dict"],
        ] {
            let mut pickle = Pickle::default();
            let raw = weights(&mut pickle);
            pickle.root = path.iter().rev().fold(raw, |dict_id, key| {
                let step = pickle.push(Object::Int(3));
                dict(&mut pickle, &[("step", step), (*key, dict_id)])
            });
            let found = StateDicts::find(&pickle).unwrap();
            assert_eq!(found, StateDicts::Only(raw), "{path:?}");
        }
    }

    #[test]
    fn averaged_weights_stand_beside_the_raw_ones_or_alone() {
        let mut pickle = Pickle::default();
        let (raw, average) = (weights(&mut pickle), weights(&mut pickle));
        let shadow = dict(&mut pickle, &[("shadow", average)]);
        let both = dict(&mut pickle, &[("model", raw), ("ema", shadow)]);
        let alone = dict(&mut pickle, &[("ema_model", average)]);
        for (root, wanted) in [
            (both, StateDicts::WithAverage { raw, average }),
            (alone, StateDicts::Only(average)),
        ] {
            pickle.root = root;
            assert_eq!(StateDicts::find(&pickle).unwrap(), wanted);
        }
    }

    #[test]
    fn what_is_there_instead_is_named() {
        let mut pickle = Pickle::default();
        let n = pickle.push(Object::Int(1));
        let nothing = dict(&mut pickle, &[]);
        let keys: Vec<(String, Id)> = (0..9).map(|i| (format!("k{i}"), n)).collect();
        let keys: Vec<(&str, Id)> = keys.iter().map(|(key, id)| (key.as_str(), *id)).collect();
        let many = dict(&mut pickle, &keys);
        let object = pickle.push(Object::Opaque);
        let mut circular = Vec::new();
        let key = pickle.push(Object::Text("model".into()));
        let circle = pickle.len();
        circular.push((key, circle));
        assert_eq!(pickle.push(Object::Dict(circular)), circle);
        for (root, wanted) in [
            (nothing, "`model`; it is empty"),
            (
                many,
                "its 9 keys are `k0`, `k1`, `k2`, `k3`, `k4`, `k5`, `k6`, `k7`, ...",
            ),
            (object, "save `model.state_dict()` instead of the model"),
            (circle, "its keys are `model`"),
        ] {
            pickle.root = root;
            let error = StateDicts::find(&pickle).unwrap_err().to_string();
            assert!(error.ends_with(wanted), "{error}");
        }
    }
}
