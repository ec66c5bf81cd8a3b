use burn::store::bridge;
use burn::store::burn_pack::{Error as PackError, Tensor as StoredTensor};
use burn::tensor::DType;

/// The number format of weights in a file. Networks are float32, into which a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoredDtype {
    /// float32: what the network has.
    #[default]
    F32,
    /// float16: half the bytes, 11 significant bits, up to 65504.
    F16,
    /// bfloat16: half the bytes, 8 significant bits, the range of float32.
    Bf16,
}

impl StoredDtype {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// The tensor in this format; it is converted when its bytes are drawn. Drawing them fails where a finite number
    /// becomes an infinite one.
    pub(crate) fn convert(self, tensor: StoredTensor) -> StoredTensor {
        let dtype = self.dtype();
        if tensor.dtype == dtype || !tensor.dtype.is_float() {
            return tensor;
        }
        let (name, shape, param_id) = (tensor.name.clone(), tensor.shape.clone(), tensor.param_id);
        bridge::deferred(name.clone(), dtype, shape, param_id, move || {
            let data = bridge::to_data(&tensor)?;
            let converted = data.clone().convert_dtype(dtype);
            let numbers = data.iter::<f32>().zip(converted.iter::<f32>());
            for (before, after) in numbers {
                if before.is_finite() && !after.is_finite() {
                    return Err(PackError::ValidationError(format!(
                        "`{name}` holds {before}, which float16 cannot hold (up to 65504); write bfloat16 or float32"
                    )));
                }
            }
            Ok(converted)
        })
    }
}
