//! Any bytes as a token shard: refused, or read from end to end. Every second input gets the right
//! magic, version, length and checksum first, as a damaged program could write it.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use pgm_data::TokenShard;
use sha2::{Digest, Sha256};

const HEADER: usize = 128;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, bytes)) = input.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if kind % 2 == 1 {
        sign(&mut bytes, kind);
    }
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("it can be written");
    let Ok(shard) = TokenShard::open(file.path()) else {
        return;
    };
    let mut tokens = Vec::new();
    shard.read(0..shard.n_tokens(), &mut tokens);
    assert!(
        tokens
            .iter()
            .all(|&token| (token as usize) < shard.vocab_size())
    );
    let n_read: usize = (0..shard.n_documents())
        .map(|index| shard.document(index).len())
        .sum();
    assert!(n_read <= shard.n_tokens());
});

/// Makes header and checksum fit the bytes behind them.
fn sign(bytes: &mut Vec<u8>, kind: u8) {
    bytes.resize(bytes.len().max(HEADER), 0);
    let vocab_size: u32 = if kind & 2 == 0 { 300 } else { 70_000 };
    let token_bytes = if kind & 2 == 0 { 2 } else { 4 };
    let n_payload = bytes.len() - HEADER;
    let n_documents = (n_payload / 8).min(usize::from(kind >> 2));
    let n_tokens = (n_payload - 8 * n_documents) / token_bytes;
    bytes.truncate(HEADER + n_tokens * token_bytes + 8 * n_documents);
    bytes[..8].copy_from_slice(b"PGMSHARD");
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    bytes[12..16].copy_from_slice(&(token_bytes as u32).to_le_bytes());
    bytes[16..20].copy_from_slice(&vocab_size.to_le_bytes());
    bytes[20..24].fill(0);
    bytes[24..32].copy_from_slice(&(n_tokens as u64).to_le_bytes());
    bytes[32..40].copy_from_slice(&(n_documents as u64).to_le_bytes());
    bytes[72..HEADER].fill(0);
    let mut hasher = Sha256::new();
    hasher.update(&bytes[HEADER..]);
    hasher.update(&bytes[..HEADER]);
    let checksum = hasher.finalize();
    bytes[72..104].copy_from_slice(&checksum);
}
