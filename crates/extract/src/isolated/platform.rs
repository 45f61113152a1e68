//! What differs between operating systems: how a process gives up what it will not need.
//!
//! The only module here with calls that exist on Unix alone. Linux holds all of it; macOS takes the memory limit
//! without holding it, Windows has none of it, and there only time bounds a worker.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, setrlimit};

/// Gives up, for good: memory beyond a limit, opening files and sockets, writing files, core dumps. What is open stays
/// open. Limits that the system refuses are left as they are: a worker with fewer of them is better than none.
#[cfg(unix)]
pub(super) fn confine(max_memory_bytes: u64) {
    /// Standard input, output and error; the limit is the number of the next one.
    const OPEN_FILES: u64 = 3;
    let limits = [
        // Private memory that can be written; unlike `As` it leaves out what is only set aside.
        (Resource::Data, max_memory_bytes),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ];
    for (resource, limit) in limits {
        let _ = setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
    }
}

/// Nothing can be given up here.
#[cfg(not(unix))]
pub(super) fn confine(_: u64) {}
