use burn_cubecl::CubeBackend;

use crate::PartitionAttentionOps;

impl PartitionAttentionOps for CubeBackend {}
