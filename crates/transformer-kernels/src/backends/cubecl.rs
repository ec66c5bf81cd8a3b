use burn_cubecl::CubeBackend;

use crate::TransformerOps;

impl TransformerOps for CubeBackend {}
