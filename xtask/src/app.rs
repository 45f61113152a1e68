//! The desktop workbench: its page (npm) and its window (Tauri).

use std::fs;
use std::path::PathBuf;

use crate::Outcome;
use crate::setup::{self, Need};
use crate::shell::{Call, root, target_dir};

/// `cargo xtask app [FOLDER]`: builds page and window and opens the workbench.
pub fn run(args: &[String]) -> Outcome {
    setup::ensure(&[Need::Compiler, Need::Node, Need::Desktop])?;
    install_ui()?;
    Call::words("npm run --silent build").within("ui").run()?;
    let binary = build()?;
    Call::new(binary, args).interactive().run()
}

/// The packages of the page, exactly as locked; nothing is done when they are in place already.
pub fn install_ui() -> Outcome {
    let lock = root().join("ui/package-lock.json");
    let wanted = fs::read(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    // Outside node_modules on purpose: npm empties that folder before it installs.
    let stamp = target_dir().join("ui-packages.stamp");
    if root().join("ui/node_modules").is_dir() && fs::read(&stamp).is_ok_and(|found| found == wanted) {
        println!("npm packages are as locked");
        return Ok(());
    }
    Call::words("npm ci --no-audit --no-fund").within("ui").run()?;
    fs::create_dir_all(target_dir())
        .and_then(|()| fs::write(&stamp, &wanted))
        .map_err(|error| format!("{}: {error}", stamp.display()))
}

/// Builds the window with its page inside and returns the program.
pub fn build() -> Outcome<PathBuf> {
    // Without `custom-protocol` Tauri looks for a development server instead of the page it carries.
    Call::words("cargo build -p flowbench-app --features custom-protocol").run()?;
    Ok(binary())
}

/// Where [`build`] leaves the program.
pub fn binary() -> PathBuf {
    target_dir().join("debug").join(format!("flowbench-app{}", std::env::consts::EXE_SUFFIX))
}
