//! What other processes are told of this one.

use std::time::SystemTime;

use pgm_data::LockHolder;

/// Says who this process is, for the locks that it takes.
pub fn introduce() {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let started = humantime::format_rfc3339_seconds(SystemTime::now());
    LockHolder::introduce(host(), &arguments.join(" "), started.to_string());
}

/// The name of the host, or nothing where the system does not tell without a call of its own.
fn host() -> String {
    let in_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let variable = || std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME"));
    let name = in_kernel.or_else(|| variable().ok()).unwrap_or_default();
    name.trim().to_owned()
}
