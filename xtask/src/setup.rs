//! What a bare machine lacks: Debian and Ubuntu packages are installed when that is permitted, anything else is
//! named together with the command that brings it.

use crate::Outcome;
use crate::shell::{Call, which};

/// What a part of the work needs from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A C compiler and linker, for crates with C inside.
    Compiler,
    /// Python with virtual environments, for Python nodes.
    Python,
    /// Node and npm.
    Node,
    /// The libraries that a desktop window is built on.
    Desktop,
    /// A screen without a screen, and a driver for the window on it.
    WindowTest,
}

impl Need {
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Compiler => &["build-essential", "pkg-config"],
            Self::Python => &["python3", "python3-venv"],
            Self::Node => &[],
            Self::Desktop => &["libwebkit2gtk-4.1-dev", "librsvg2-dev"],
            // A page without a single font is a page of boxes; hence the last one.
            Self::WindowTest => &["webkit2gtk-driver", "xvfb", "xauth", "dbus", "fonts-dejavu-core"],
        }
    }

    /// True if it is there already, however it came.
    fn is_met(self) -> bool {
        let has = |program: &str| which(program).is_some();
        let library = |name: &str| Call::new("pkg-config", ["--exists", name]).succeeds();
        match self {
            Self::Compiler => has("cc") && has("pkg-config"),
            Self::Python => Call::new("python3", ["-c", "import venv, ensurepip"]).succeeds(),
            Self::Node => has("node") && has("npm"),
            Self::Desktop => library("webkit2gtk-4.1") && library("librsvg-2.0"),
            Self::WindowTest => {
                ["WebKitWebDriver", "xvfb-run", "Xvfb", "xauth", "dbus-run-session"].into_iter().all(has)
            }
        }
    }
}

/// The oldest Node that the user interface's tools run on.
const NODE_AT_LEAST: (u32, u32) = (20, 19);

/// Sees to it that every need is met, or says which command would.
pub fn ensure(needs: &[Need]) -> Outcome {
    let missing: Vec<Need> = needs.iter().copied().filter(|need| !need.is_met()).collect();
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages()).copied().collect();
    if !packages.is_empty() {
        install(&packages)?;
    }
    if needs.contains(&Need::Node) {
        check_node()?;
    }
    match missing.iter().find(|need| !need.is_met()) {
        Some(need) => {
            Err(format!("{need:?} is still missing after its packages were installed: {packages:?}"))
        }
        None => Ok(()),
    }
}

fn install(packages: &[&str]) -> Outcome {
    let list = packages.join(" ");
    let by_hand = format!("sudo apt-get update && sudo apt-get install --no-install-recommends {list}");
    if which("apt-get").is_none() {
        return Err(format!(
            "this machine lacks what the Debian packages `{list}` bring\nhint: install their counterparts and try again"
        ));
    }
    let is_root = Call::new("id", ["-u"]).output().is_ok_and(|id| id.trim() == "0");
    let sudo = match is_root {
        true => "",
        false if Call::new("sudo", ["-n", "true"]).succeeds() => "sudo -n ",
        false => return Err(format!("system packages are missing\nhint: {by_hand}")),
    };
    let environment = "env DEBIAN_FRONTEND=noninteractive";
    Call::words(&format!("{sudo}apt-get update -qq")).run()?;
    Call::words(&format!("{sudo}{environment} apt-get install -y -qq --no-install-recommends {list}"))
        .run()
        .map_err(|error| format!("{error}\nhint: {by_hand}"))
}

fn check_node() -> Outcome {
    let (major, minor) = NODE_AT_LEAST;
    let hint = format!("hint: install Node {major}.{minor} or newer with npm, and try again");
    if which("node").is_none() || which("npm").is_none() {
        return Err(format!("`node` or `npm` is not on PATH\n{hint}"));
    }
    let version = Call::new("node", ["--version"]).output()?;
    match parse_version(&version) {
        Some(found) if found >= NODE_AT_LEAST => Ok(()),
        _ => Err(format!("node is {}, which is too old\n{hint}", version.trim())),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_versions_compare_by_number() {
        assert_eq!(parse_version("v20.20.2\n"), Some((20, 20)));
        assert!(parse_version("v9.99.0") < Some(NODE_AT_LEAST), "nine is older than twenty");
        assert_eq!(parse_version("unknown"), None);
    }
}
