//! `cargo xtask test`: what CI checks, fast things first, the same on a laptop.
//!
//! A part stops at its first failing step; the other parts still run, so that one look at the end names everything
//! that is wrong, how long each step took and how to run the failing part alone.

use std::time::{Duration, Instant};

use crate::setup::{self, Need};
use crate::shell::{Call, target_dir};
use crate::{Outcome, app, dependencies, tidy};

/// One part that can be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Unit,
    Ui,
    Product,
    Window,
}

impl Part {
    /// In the order of running: what fails soonest comes first.
    const ALL: [Self; 4] = [Self::Ui, Self::Unit, Self::Product, Self::Window];

    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Ui => "ui",
            Self::Product => "product",
            Self::Window => "window",
        }
    }

    fn needs(self) -> &'static [Need] {
        match self {
            Self::Unit | Self::Product => &[Need::Compiler, Need::Python],
            Self::Ui => &[Need::Node],
            Self::Window => &[Need::Compiler, Need::Node, Need::Desktop, Need::WindowTest],
        }
    }

    /// With `whole`, everything is checked in one go and cargo sees the whole workspace each time: asked for single
    /// packages it would settle on other features of shared dependencies, and build half of them again.
    fn steps(self, whole: bool) -> Vec<(&'static str, Step)> {
        let run = |line: &'static str| -> Step { Box::new(move || Call::words(line).run()) };
        match (self, whole) {
            (Self::Ui, _) => vec![
                ("packages", Box::new(app::install_ui)),
                ("types", npm("types")),
                ("lint", npm("lint")),
                ("tests", npm("test")),
                ("build", npm("build")),
            ],
            (Self::Unit, true) => vec![
                ("tidy", Box::new(tidy::run)),
                (
                    "clippy",
                    run(
                        "cargo clippy --workspace --all-targets --features flowbench-app/custom-protocol -- -D warnings",
                    ),
                ),
                (
                    "programs",
                    run(
                        "cargo build --workspace --bin flowbench --bin flowbench-app --features flowbench-app/custom-protocol",
                    ),
                ),
                (
                    "tests",
                    run(
                        "cargo test --workspace --exclude flowbench-tests --features flowbench-app/custom-protocol",
                    ),
                ),
            ],
            (Self::Unit, false) => vec![
                ("tidy", Box::new(tidy::run)),
                ("clippy", run("cargo clippy --all-targets -- -D warnings")),
                ("tests", run("cargo test --workspace --exclude flowbench-tests --exclude flowbench-app")),
            ],
            (Self::Product, true) => vec![("tests", Box::new(product_tests))],
            (Self::Product, false) => vec![
                ("command line", run("cargo build -p flowbench-cli")),
                ("tests", run("cargo test -p flowbench-tests")),
            ],
            (Self::Window, true) => vec![("journey", Box::new(window_journey))],
            (Self::Window, false) => vec![
                ("packages", Box::new(app::install_ui)),
                ("page", npm("build")),
                ("clippy", run("cargo clippy -p flowbench-app --all-targets -- -D warnings")),
                ("tests", run("cargo test -p flowbench-app")),
                ("app", Box::new(|| app::build().map(drop))),
                ("journey", Box::new(window_journey)),
            ],
        }
    }
}

/// The product tests by the names of their test targets, because `-p` would choose other features; see [`Part::steps`].
fn product_tests() -> Outcome {
    let mut line: Vec<String> =
        ["test", "--workspace", "--features", WHOLE_FEATURES].map(str::to_owned).into();
    for name in dependencies::test_targets("flowbench-tests")? {
        line.extend(["--test".to_owned(), name]);
    }
    Call::cargo(line).run()
}

/// The page goes into the program; see [`app::build`].
const WHOLE_FEATURES: &str = "flowbench-app/custom-protocol";

type Step = Box<dyn Fn() -> Outcome>;

fn npm(script: &'static str) -> Step {
    Box::new(move || Call::new("npm", ["run", "--silent", script]).within("ui").run())
}

/// Opening takes seconds; a window that does not answer must not hold up everything else.
const WINDOW_LIMIT: [&str; 2] = ["--kill-after=10", "240"];

/// Drives the real window: a session bus and a screen of its own, then the journeys in `ui/window`.
fn window_journey() -> Outcome {
    let application = app::binary();
    let mut line: Vec<String> = WINDOW_LIMIT.map(str::to_owned).into();
    line.extend(
        ["dbus-run-session", "--", "xvfb-run", "-a", "-s", "-screen 0 1280x800x24"].map(str::to_owned),
    );
    line.extend(["node", "--test", "--test-reporter=spec", "window/"].map(str::to_owned));
    Call::new("timeout", line)
        .within("ui")
        .env("FLOWBENCH_APP", application)
        .env("FLOWBENCH_SCREENSHOTS", target_dir().join("screenshots"))
        .run()
}

/// `cargo xtask test [--only PART]...`
pub fn run(args: &[String]) -> Outcome {
    let parts = parse(args)?;
    let started = Instant::now();
    let mut needs = Vec::new();
    for need in parts.iter().flat_map(|part| part.needs()) {
        if !needs.contains(need) {
            needs.push(*need);
        }
    }
    setup::ensure(&needs)?;
    let mut lines = vec![line("set-up", started.elapsed(), "")];
    let mut failed = Vec::new();
    let whole = parts == Part::ALL;
    for part in parts {
        for (name, step) in part.steps(whole) {
            println!("\n== {} / {name}", part.name());
            let started = Instant::now();
            let outcome = step();
            let title = format!("{} / {name}", part.name());
            lines.push(line(&title, started.elapsed(), if outcome.is_ok() { "" } else { "FAILED" }));
            if let Err(message) = outcome {
                eprintln!("error: {message}");
                failed.push((part, title));
                break;
            }
        }
    }
    println!("\n== {}", line("everything", started.elapsed(), "").trim_start());
    for line in &lines {
        println!("{line}");
    }
    if failed.is_empty() {
        return Ok(());
    }
    let mut message = String::new();
    for (part, title) in &failed {
        message.push_str(&format!("{title} failed\nhint: cargo xtask test --only {}\n", part.name()));
    }
    Err(message.trim_end().to_owned())
}

fn line(title: &str, elapsed: Duration, note: &str) -> String {
    format!("   {title:<22} {:>7.1} s  {note}", elapsed.as_secs_f64()).trim_end().to_owned()
}

fn parse(args: &[String]) -> Outcome<Vec<Part>> {
    let mut wanted = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let name = match arg.strip_prefix("--only") {
            Some("") => rest.next().ok_or("`--only` wants a part: unit, product, ui or window")?.as_str(),
            Some(value) => value.trim_start_matches('='),
            None => return Err(format!("`test` has no option `{arg}`")),
        };
        for name in name.split(',') {
            let part = Part::ALL.into_iter().find(|part| part.name() == name);
            wanted
                .push(part.ok_or_else(|| format!("there is no part `{name}`: unit, product, ui or window"))?);
        }
    }
    Ok(Part::ALL.into_iter().filter(|part| wanted.is_empty() || wanted.contains(part)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(args: &[&str]) -> Outcome<Vec<Part>> {
        parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn parts_are_chosen_by_name() {
        assert_eq!(parts(&[]), Ok(Part::ALL.to_vec()));
        assert_eq!(parts(&["--only", "ui"]), Ok(vec![Part::Ui]));
        assert_eq!(parts(&["--only=window,unit"]), Ok(vec![Part::Unit, Part::Window]));
        assert_eq!(parts(&["--only", "x"]), Err("there is no part `x`: unit, product, ui or window".into()));
        assert_eq!(parts(&["--fast"]), Err("`test` has no option `--fast`".into()));
    }
}
