use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use burn::store::bridge;
use burn::store::burn_pack::{Error as PackError, Tensor as StoredTensor};
use burn::tensor::{Bytes, DType, Shape, TensorData};

/// Why the values of a tensor cannot be read, as what is said of the tensor.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableTensor {
    /// It has no floats, or quantised ones.
    #[error("has type {dtype}, wanted F64, F32, F16 or BF16; take weights that are not quantised")]
    OtherType {
        /// Its type.
        dtype: String,
    },
    /// An archive lacks its values.
    #[error("lies in `{entry}`, which is missing")]
    MissingEntry {
        /// The file in the archive.
        entry: String,
    },
    /// An archive has too few values.
    #[error("reaches beyond the {n_bytes} bytes of `{entry}`")]
    ShortEntry {
        /// The file in the archive.
        entry: String,
        /// The bytes that it has.
        n_bytes: u64,
    },
    /// Its values do not follow each other.
    #[error(
        "has shape {shape:?} and strides {strides:?}; call `.contiguous()` on it and save again"
    )]
    Strided {
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides, in values.
        strides: Vec<usize>,
    },
}

/// A tensor of a file, unread. What cannot be read is known by name, so that it harms nobody who does not need it.
#[derive(Debug, Clone)]
pub(crate) struct FileTensor {
    pub name: String,
    pub shape: Vec<usize>,
    /// Whether its values are floats. Those of parameters are; masks and counters, which are no parameters, are not.
    pub is_float: bool,
    /// The values, or why they cannot be read.
    pub values: Result<StoredTensor, UnreadableTensor>,
}

impl FileTensor {
    /// A tensor of a file of Burn's.
    pub fn new(stored: StoredTensor) -> Self {
        let shape = stored.shape.to_vec();
        if is_read(stored.dtype) {
            Self {
                name: stored.name.clone(),
                shape,
                is_float: true,
                values: Ok(stored),
            }
        } else {
            let dtype = format!("{:?}", stored.dtype);
            Self::of_other_type(stored.name, shape, false, &dtype)
        }
    }

    /// A tensor whose bytes lie in a file, little-endian and in row-major order.
    pub fn in_file(
        path: &Arc<Path>,
        name: String,
        dtype: DType,
        shape: Vec<usize>,
        offset: u64,
    ) -> Self {
        let path = path.clone();
        let shape = Shape::from(shape);
        let n_bytes = bridge::data_len(dtype, &shape);
        let declared = shape.clone();
        Self::new(bridge::deferred(name, dtype, shape, None, move || {
            let mut bytes = vec![0; n_bytes];
            let mut file = File::open(&path).map_err(io)?;
            file.seek(SeekFrom::Start(offset)).map_err(io)?;
            file.read_exact(&mut bytes).map_err(io)?;
            let bytes = Bytes::from_bytes_vec(bytes);
            TensorData::try_from_bytes(bytes, declared.clone(), dtype)
                .map_err(|error| PackError::TensorBytesSizeMismatch(error.to_string()))
        }))
    }

    /// A tensor of a type that is not read.
    pub fn of_other_type(name: String, shape: Vec<usize>, is_float: bool, dtype: &str) -> Self {
        Self {
            name,
            shape,
            is_float,
            values: Err(UnreadableTensor::OtherType {
                dtype: dtype.to_owned(),
            }),
        }
    }

    /// A tensor of floats that cannot be read for another reason.
    pub fn unreadable(name: String, shape: Vec<usize>, reason: UnreadableTensor) -> Self {
        Self {
            name,
            shape,
            is_float: true,
            values: Err(reason),
        }
    }
}

fn io(error: std::io::Error) -> PackError {
    PackError::IoError(error.to_string())
}

/// Whether parameters of a type are read.
fn is_read(dtype: DType) -> bool {
    matches!(
        dtype,
        DType::F64 | DType::F32 | DType::Flex32 | DType::F16 | DType::BF16
    )
}
