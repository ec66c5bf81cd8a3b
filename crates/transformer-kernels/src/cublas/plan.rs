use burn::tensor::DType;
use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;

/// How a matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Matrix {
    /// Neighbours in a column are neighbours in memory, instead of those in a row.
    pub by_columns: bool,
    /// Elements from one row (or column) to the next.
    pub leading: usize,
}

impl Matrix {
    /// None if neither rows nor columns are contiguous.
    pub fn from_strides([n_rows, n_columns]: [usize; 2], strides: [usize; 2]) -> Option<Self> {
        let by_rows =
            (n_columns == 1 || strides[1] == 1) && (n_rows == 1 || strides[0] >= n_columns);
        let by_columns =
            (n_rows == 1 || strides[0] == 1) && (n_columns == 1 || strides[1] >= n_rows);
        let leading = |n_lines: usize, stride: usize, width: usize| match n_lines {
            1 => width,
            _ => stride,
        };
        if by_rows {
            Some(Self {
                by_columns: false,
                leading: leading(n_rows, strides[0], n_columns),
            })
        } else if by_columns {
            Some(Self {
                by_columns: true,
                leading: leading(n_columns, strides[1], n_rows),
            })
        } else {
            None
        }
    }
}

/// The largest power of two up to 256 that divides an address, or an offset from an even one.
pub(super) fn alignment(address: u64) -> u32 {
    1 << address.trailing_zeros().min(8)
}

/// Everything that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub dtype: DType,
    pub left: Matrix,
    pub right: Matrix,
    pub output_row: usize,
    pub has_bias: bool,
    /// What divides the addresses of left, right and output, in bytes.
    pub alignments: [u32; 3],
}

/// What the library needs to run a product, made once for each kind of it.
///
/// The library thinks in columns: `C = A B` by rows is `C^T = B^T A^T` by columns, so the right
/// matrix comes first.
pub(super) struct Plan {
    pub description: sys::cublasLtMatmulDesc_t,
    pub first: sys::cublasLtMatrixLayout_t,
    pub second: sys::cublasLtMatrixLayout_t,
    pub output: sys::cublasLtMatrixLayout_t,
    pub algorithm: sys::cublasLtMatmulAlgo_t,
}

// SAFETY: descriptors of the library are plain memory on the host, and are only read once made.
unsafe impl Send for Plan {}

impl Plan {
    /// `bias_placeholder` is an address on the device; each product brings its own.
    ///
    /// # Errors
    /// If the library has no kernel for the product.
    pub fn new(
        handle: sys::cublasLtHandle_t,
        product: &Product,
        bias_placeholder: u64,
        workspace_size: usize,
    ) -> Result<Self, CublasError> {
        let Product { m, n, k, .. } = *product;
        let number = match product.dtype {
            DType::BF16 => sys::cudaDataType::CUDA_R_16BF,
            DType::F16 => sys::cudaDataType::CUDA_R_16F,
            _ => sys::cudaDataType::CUDA_R_32F,
        };
        // Sums in float32, and float32 is not rounded to tf32.
        let description = result::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType::CUDA_R_32F,
        )?;
        set_transposed(
            description,
            sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
            product.right.by_columns,
        )?;
        set_transposed(
            description,
            sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSB,
            product.left.by_columns,
        )?;
        if product.has_bias {
            // The result's columns, as the library sees it, are our rows: one number of the bias a row.
            let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
            // SAFETY: the description lives, and the attribute is this enumeration.
            unsafe {
                result::set_matmul_desc_attribute(
                    description,
                    sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_EPILOGUE,
                    (&raw const epilogue).cast(),
                    size_of_val(&epilogue),
                )?;
            }
            set_bias(description, bias_placeholder)?;
        }
        let layout = |matrix: Matrix, n_rows: usize, n_columns: usize| {
            let (inner, outer) = if matrix.by_columns {
                (n_rows, n_columns)
            } else {
                (n_columns, n_rows)
            };
            result::create_matrix_layout(number, inner as u64, outer as u64, matrix.leading as i64)
        };
        let first = layout(product.right, k, n)?;
        let second = layout(product.left, m, k)?;
        let output = layout(
            Matrix {
                by_columns: false,
                leading: product.output_row,
            },
            m,
            n,
        )?;
        let preference = result::create_matmul_pref()?;
        let [left, right, written] = product.alignments;
        use sys::cublasLtMatmulPreferenceAttributes_t as Attribute;
        let alignments = [
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, right),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, left),
            (
                Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                written,
            ),
            (
                Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                written,
            ),
        ];
        // SAFETY: the preference lives, and each attribute is given a value of its type.
        unsafe {
            result::set_matmul_pref_attribute(
                preference,
                Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const workspace_size).cast(),
                size_of::<usize>(),
            )?;
            for (attribute, bytes) in alignments {
                result::set_matmul_pref_attribute(
                    preference,
                    attribute,
                    (&raw const bytes).cast(),
                    size_of::<u32>(),
                )?;
            }
        }
        // SAFETY: everything was made above and nothing is freed yet.
        let found = unsafe {
            result::get_matmul_algo_heuristic(
                handle,
                description,
                first,
                second,
                output,
                output,
                preference,
            )
        };
        // SAFETY: it is not used any more.
        unsafe { result::destroy_matmul_pref(preference)? };
        Ok(Self {
            description,
            first,
            second,
            output,
            algorithm: found?.algo,
        })
    }

    /// Where the next product finds its bias.
    pub fn set_bias(&self, address: u64) -> Result<(), CublasError> {
        set_bias(self.description, address)
    }
}

fn set_bias(description: sys::cublasLtMatmulDesc_t, address: u64) -> Result<(), CublasError> {
    // SAFETY: the description lives, and the attribute is an address on the device.
    unsafe {
        result::set_matmul_desc_attribute(
            description,
            sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
            (&raw const address).cast(),
            size_of::<u64>(),
        )
    }
}

fn set_transposed(
    description: sys::cublasLtMatmulDesc_t,
    attribute: sys::cublasLtMatmulDescAttributes_t,
    is_transposed: bool,
) -> Result<(), CublasError> {
    // cublasOperation_t: 0 as it is, 1 transposed.
    let operation = i32::from(is_transposed);
    // SAFETY: the description lives, and the attribute is a 32-bit enumeration.
    unsafe {
        result::set_matmul_desc_attribute(
            description,
            attribute,
            (&raw const operation).cast(),
            size_of::<i32>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_tell_rows_from_columns() {
        let by_rows = |leading| {
            Some(Matrix {
                by_columns: false,
                leading,
            })
        };
        let by_columns = |leading| {
            Some(Matrix {
                by_columns: true,
                leading,
            })
        };
        assert_eq!(Matrix::from_strides([4, 6], [6, 1]), by_rows(6));
        assert_eq!(Matrix::from_strides([4, 6], [8, 1]), by_rows(8));
        assert_eq!(Matrix::from_strides([4, 6], [1, 4]), by_columns(4));
        assert_eq!(Matrix::from_strides([1, 6], [99, 1]), by_rows(6));
        assert_eq!(Matrix::from_strides([4, 1], [3, 99]), by_rows(3));
        assert_eq!(Matrix::from_strides([4, 6], [12, 2]), None);
        // The same row again and again.
        assert_eq!(Matrix::from_strides([4, 6], [0, 1]), None);
    }

    #[test]
    fn alignment_is_a_power_of_two_up_to_256() {
        assert_eq!(
            [0, 512, 256, 48, 2, 1].map(alignment),
            [256, 256, 256, 16, 2, 1]
        );
    }
}
