use burn::tensor::DType;

/// Dimensions of a tensor, at most.
const MAX_DIMS: usize = 8;
/// Letters in the name of a storage or of its type, at most; `torch.save` numbers storages.
const MAX_KEY: usize = 32;

/// Index of an object.
pub(super) type Id = usize;

/// What a pickle describes, as far as it is needed to find tensors.
///
/// Objects refer to each other by index, so that shared and circular ones need no care.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    objects: Vec<Object>,
    pub root: Id,
}

/// A value in a pickle.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    /// What is not looked into: numbers with a point, bytes, instances of any class.
    Opaque,
    /// An integer.
    Int(i64),
    /// A string.
    Text(String),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dictionary, in the order in which it was filled.
    Dict(Vec<(Id, Id)>),
    /// A class or function by its name, `module.name`. It is neither imported nor called.
    Global(String),
    /// Numbers in an entry of the archive.
    Storage(Storage),
    /// A view of a storage.
    Tensor(Box<TensorView>),
}

/// Numbers in the entry `data/{key}` of the archive.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub key: String,
    pub kind: StorageKind,
}

/// What the numbers of a storage are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StorageKind {
    /// Floats that are read.
    Floats(DType),
    /// Anything else, by the name of its class.
    Other(String),
}

/// A tensor: a view of a storage, in units of its elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorView {
    pub storage: Storage,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

impl TensorView {
    /// Whether elements lie one after the other, the last dimension fastest.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut stride = 1usize;
        self.shape
            .iter()
            .zip(&self.strides)
            .rev()
            .all(|(&size, &found)| {
                let fits = size == 1 || found == stride;
                stride = stride.saturating_mul(size);
                fits
            })
    }

    /// The element behind the last one, if elements lie one after the other.
    pub(super) fn end(&self) -> Option<usize> {
        let n = self
            .shape
            .iter()
            .try_fold(1usize, |n, &size| n.checked_mul(size))?;
        self.offset.checked_add(n)
    }
}

impl Pickle {
    /// Adds an object.
    pub(super) fn push(&mut self, object: Object) -> Id {
        self.objects.push(object);
        self.objects.len() - 1
    }

    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// The object with an index.
    pub(super) fn object(&self, id: Id) -> &Object {
        &self.objects[id]
    }

    /// The same, to fill it.
    pub(super) fn object_mut(&mut self, id: Id) -> &mut Object {
        &mut self.objects[id]
    }

    /// What a dictionary has under a name.
    pub(super) fn entry(&self, dict: Id, name: &str) -> Option<Id> {
        let Object::Dict(entries) = self.object(dict) else {
            return None;
        };
        let is_it = |key: Id| matches!(self.object(key), Object::Text(text) if text == name);
        // The last one wins, as in Python.
        let entry = entries.iter().rev().find(|&&(key, _)| is_it(key))?;
        Some(entry.1)
    }

    /// What calling a function would give, for the few that build tensors and dictionaries; anything
    /// else stays unknown.
    pub(super) fn call(&self, function: Id, arguments: Id) -> Object {
        let (Object::Global(name), Object::Tuple(arguments)) =
            (self.object(function), self.object(arguments))
        else {
            return Object::Opaque;
        };
        match (name.as_str(), arguments.as_slice()) {
            // A subclass of tensors: (function, class, its arguments, state).
            ("torch._tensor._rebuild_from_type_v2", [function, _, arguments, ..]) => {
                match (self.object(*function), self.object(*arguments)) {
                    (Object::Global(name), Object::Tuple(arguments)) => {
                        self.rebuild(name, arguments)
                    }
                    _ => Object::Opaque,
                }
            }
            (name, arguments) => self.rebuild(name, arguments),
        }
    }

    fn rebuild(&self, function: &str, arguments: &[Id]) -> Object {
        let found = match (function, arguments) {
            (
                "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2",
                [storage, offset, shape, strides, ..],
            ) => self.tensor(*storage, *offset, *shape, *strides),
            (
                "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
                [data, ..],
            ) => match self.object(*data) {
                tensor @ Object::Tensor(_) => Some(tensor.clone()),
                _ => None,
            },
            (name, _) if is_dict(name) => Some(Object::Dict(Vec::new())),
            _ => None,
        };
        found.unwrap_or(Object::Opaque)
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Option<Object> {
        let Object::Storage(storage) = self.object(storage) else {
            return None;
        };
        Some(Object::Tensor(Box::new(TensorView {
            storage: storage.clone(),
            offset: self.size(offset)?,
            shape: self.sizes(shape)?,
            strides: self.sizes(strides)?,
        })))
    }

    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        match self.object(id) {
            Object::Tuple(ids) if ids.len() <= MAX_DIMS => {
                ids.iter().map(|&id| self.size(id)).collect()
            }
            _ => None,
        }
    }

    fn size(&self, id: Id) -> Option<usize> {
        match self.object(id) {
            Object::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    /// What a reference to something outside the pickle stands for: the tuple `('storage', class,
    /// key, device, number of elements)`.
    pub(super) fn persistent(&self, id: Id) -> Object {
        let Object::Tuple(parts) = self.object(id) else {
            return Object::Opaque;
        };
        let [tag, class, key, ..] = parts.as_slice() else {
            return Object::Opaque;
        };
        match [tag, class, key].map(|&id| self.object(id)) {
            [Object::Text(tag), Object::Global(class), Object::Text(key)]
                if tag == "storage" && key.len() <= MAX_KEY =>
            {
                storage_kind(class).map_or(Object::Opaque, |kind| {
                    Object::Storage(Storage {
                        key: key.clone(),
                        kind,
                    })
                })
            }
            _ => Object::Opaque,
        }
    }
}

/// Whether a class is a dictionary whose entries matter.
pub(super) fn is_dict(class: &str) -> bool {
    matches!(
        class,
        "collections.OrderedDict"
            | "collections.defaultdict"
            | "builtins.dict"
            | "__builtin__.dict"
    )
}

fn storage_kind(class: &str) -> Option<StorageKind> {
    Some(StorageKind::Floats(match class {
        "torch.DoubleStorage" => DType::F64,
        "torch.FloatStorage" => DType::F32,
        "torch.HalfStorage" => DType::F16,
        "torch.BFloat16Storage" => DType::BF16,
        other => {
            let name = other.strip_prefix("torch.")?.strip_suffix("Storage")?;
            return (name.len() <= MAX_KEY).then(|| StorageKind::Other(name.to_owned()));
        }
    }))
}
