use burn::backend::Flex;

use crate::PartitionAttentionOps;

impl PartitionAttentionOps for Flex {}
