//! Token ids in one memory-mapped file.

mod shard_header;
mod shard_writer;
mod token_shard;

pub use shard_writer::ShardWriter;
pub use token_shard::TokenShard;
