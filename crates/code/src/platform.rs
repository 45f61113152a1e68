//! What differs between operating systems: process groups, and finding processes that left theirs.
//!
//! The only module with calls that exist on Unix alone. Elsewhere Python workers are refused with a clear
//! error; scripts run everywhere.

#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(not(unix))]
pub(crate) use elsewhere::*;

/// Name of the variable by which a worker's descendants are known, whatever group they moved to.
pub(crate) const TAG_VARIABLE: &str = "FLOWBENCH_WORKER";

#[cfg(unix)]
mod unix {
    use std::os::fd::OwnedFd;
    use std::process::{ExitStatus, Stdio};

    use rustix::process::{Pid, Signal, kill_process, kill_process_group};
    use tokio::net::UnixStream;
    use tokio::process::Command;

    use super::TAG_VARIABLE;

    /// The halves of the protocol's connection.
    pub(crate) type Incoming = tokio::net::unix::OwnedReadHalf;
    /// See [`Incoming`].
    pub(crate) type Outgoing = tokio::net::unix::OwnedWriteHalf;

    /// Our end of a socket and the other one, to become a child's standard input.
    pub(crate) fn socket_pair() -> std::io::Result<(UnixStream, Stdio)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((UnixStream::from_std(ours)?, Stdio::from(OwnedFd::from(theirs))))
    }

    /// Puts the child at the head of a process group of its own.
    pub(crate) fn own_group(command: &mut Command) {
        command.process_group(0);
    }

    /// Ends every process of a group. A group that is gone is fine.
    pub(crate) fn kill_group(leader: u32) {
        if let Some(pid) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// How many processes a group has; 0 where that cannot be told.
    pub(crate) fn group_size(leader: u32) -> usize {
        processes().filter(|pid| group_of(*pid) == Some(leader)).count()
    }

    /// Ends every process that carries the tag: children that left the group. Ends when two looks in a row
    /// found none, because a process may fork, or be just between two programs, while we look.
    pub(crate) fn kill_tagged(tag: &str) {
        let mark = format!("{TAG_VARIABLE}={tag}");
        let mut quiet = 0;
        for _ in 0..100 {
            let mut found = false;
            for pid in processes().filter(|pid| carries(*pid, mark.as_bytes())) {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    found |= kill_process(pid, Signal::KILL).is_ok();
                }
            }
            quiet = if found { 0 } else { quiet + 1 };
            if quiet == 2 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    fn processes() -> impl Iterator<Item = u32> {
        std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// The process group, from the fifth field of `stat`; the second may hold blanks and brackets.
    fn group_of(pid: u32) -> Option<u32> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        if fields.next()? == "Z" {
            return None;
        }
        fields.nth(1)?.parse().ok()
    }

    /// A zombie has no environment any more, so it never counts.
    fn carries(pid: u32, mark: &[u8]) -> bool {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == mark))
    }

    /// How a process ended, in words.
    pub(crate) fn ending(status: ExitStatus) -> String {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}{}", signal_name(signal)),
            (None, None) => "ended".to_owned(),
        }
    }

    fn signal_name(signal: i32) -> &'static str {
        match signal {
            4 => " (SIGILL)",
            6 => " (SIGABRT)",
            7 => " (SIGBUS)",
            8 => " (SIGFPE)",
            9 => " (SIGKILL)",
            11 => " (SIGSEGV)",
            15 => " (SIGTERM)",
            _ => "",
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::io;
    use std::process::{ExitStatus, Stdio};

    use tokio::net::TcpStream;
    use tokio::process::Command;

    pub(crate) type Incoming = tokio::net::tcp::OwnedReadHalf;
    pub(crate) type Outgoing = tokio::net::tcp::OwnedWriteHalf;

    /// A child cannot be given a socket as standard input here, so workers do not start.
    pub(crate) fn socket_pair() -> io::Result<(TcpStream, Stdio)> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "Python workers are not available on this system"))
    }

    pub(crate) fn own_group(_command: &mut Command) {}

    pub(crate) fn kill_group(_leader: u32) {}

    pub(crate) fn group_size(_leader: u32) -> usize {
        0
    }

    pub(crate) fn kill_tagged(_tag: &str) {}

    pub(crate) fn ending(status: ExitStatus) -> String {
        format!("ended: {status}")
    }
}
