//! Finds the `flowbench` binary, and builds it where it is missing or older than its sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names a binary to test instead of the one of this build.
pub const BINARY_VARIABLE: &str = "FLOWBENCH_BINARY";

/// Root of the repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Folder that this build writes to, such as `target/debug`.
///
/// # Panics
/// If the running program is no test that cargo built.
pub fn build_folder() -> PathBuf {
    let own = std::env::current_exe().expect("a running program knows its file");
    let deps = own.parent().expect("a file has a folder");
    match deps.file_name().is_some_and(|name| name == "deps") {
        true => deps.parent().expect("`deps` is in the build's folder").to_owned(),
        false => deps.to_owned(),
    }
}

/// The `flowbench` binary.
///
/// # Panics
/// If it cannot be built: nothing can be tested then.
pub fn flowbench_binary() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(given) = std::env::var_os(BINARY_VARIABLE).filter(|given| !given.is_empty()) {
            return PathBuf::from(given);
        }
        let folder = build_folder();
        let binary = folder.join(format!("flowbench{}", std::env::consts::EXE_SUFFIX));
        if !is_fresh(&binary) {
            build(&folder);
        }
        assert!(binary.is_file(), "`{}` was not built", binary.display());
        binary
    })
}

/// True if no source is newer than the binary, by the list that cargo writes beside it.
fn is_fresh(binary: &Path) -> bool {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|found| found.modified());
    let (Ok(built), Ok(sources)) = (modified(binary), std::fs::read_to_string(binary.with_extension("d")))
    else {
        return false;
    };
    let Some((_, sources)) = sources.split_once(": ") else { return false };
    // A blank within a path is written with a backslash before it.
    let sources = sources.replace("\\ ", "\0");
    sources
        .split_whitespace()
        .map(|source| source.replace('\0', " "))
        .all(|source| modified(Path::new(&source)).is_ok_and(|changed| changed <= built))
}

fn build(folder: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "flowbench-cli", "--bin", "flowbench"]).current_dir(repository());
    let profile = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if profile != "debug" {
        command.args(["--profile", &profile]);
    }
    if let Some(target) = folder.parent() {
        command.env("CARGO_TARGET_DIR", target);
    }
    let outcome = command.output().expect("cargo can be started");
    assert!(
        outcome.status.success(),
        "flowbench cannot be built:\n{}",
        String::from_utf8_lossy(&outcome.stderr)
    );
}
