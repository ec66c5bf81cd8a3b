//! Files that are written whole, their checksums, and locks between processes.

mod atomic_file;
mod checksum;
mod file_lock;
mod line_file;
mod lock_holder;

pub(crate) use atomic_file::AtomicFile;
pub use atomic_file::write_file;
pub(crate) use checksum::{from_hex, to_hex};
pub use checksum::{sha256_hex, sha256_of_file, sha256_of_reader};
pub use file_lock::{FileLock, LockAttempt};
pub use line_file::{append_line, n_bytes_of_whole_lines};
pub use lock_holder::LockHolder;
