//! A workspace of its own for one test, and the real binary run in it with nothing of the machine's settings.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{flowbench_binary, repository};

/// A command that takes longer is ended and the test fails.
const LONGEST: Duration = Duration::from_secs(150);
/// How soon the world is looked at again while waiting for it.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Variables of the machine that programs need to be found and to reach the loopback.
const KEPT: [&str; 6] = ["PATH", "SYSTEMROOT", "SYSTEMDRIVE", "LANG", "LD_LIBRARY_PATH", "TZ"];
/// Flowbench's samples.
const SAMPLES: [&str; 6] = ["flowbench.yaml", "connections.yaml", "flows", "indexes", "eval-sets", "catalog"];

/// A folder with a home, settings and a workspace of its own; removed when dropped.
pub struct Sandbox {
    root: PathBuf,
    variables: Vec<(OsString, OsString)>,
    // Removed last.
    _folder: TempDir,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// An empty workspace: a folder with `flowbench.yaml`.
    ///
    /// # Panics
    /// If the machine has no place for temporary files.
    pub fn new() -> Self {
        let sandbox = Self::bare();
        sandbox.write("flowbench.yaml", "name: sandbox\n");
        sandbox
    }

    /// A folder that is no workspace.
    ///
    /// # Panics
    /// If the machine has no place for temporary files.
    pub fn bare() -> Self {
        let folder =
            tempfile::Builder::new().prefix("flowbench-").tempdir().expect("temporary files have a place");
        let root = folder.path().canonicalize().expect("a folder that was just made can be resolved");
        for name in ["home", "work", "tmp"] {
            std::fs::create_dir(root.join(name)).expect("a fresh folder can be written");
        }
        Self { root, variables: Vec::new(), _folder: folder }
    }

    /// The workspace that ships: flows, indexes, evaluation sets, catalog and the handbook.
    ///
    /// # Panics
    /// If the samples cannot be copied.
    pub fn samples() -> Self {
        let sandbox = Self::bare();
        for name in SAMPLES {
            sandbox.copy(name, name);
        }
        sandbox.copy("fixtures/handbook", "fixtures/handbook");
        sandbox
    }

    /// Sets a variable for all commands of this sandbox.
    #[must_use]
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// A path in the workspace.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join("work").join(relative)
    }

    /// A path in the user's home.
    pub fn home(&self, relative: &str) -> PathBuf {
        self.root.join("home").join(relative)
    }

    /// Writes a file of the workspace.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        let parent = path.parent().expect("a file has a folder");
        std::fs::create_dir_all(parent).expect("a folder of the sandbox can be made");
        std::fs::write(&path, content).expect("a file of the sandbox can be written");
        path
    }

    /// Reads a file of the workspace as text.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        let bytes =
            std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Copies a file or folder of the repository into the workspace.
    ///
    /// # Panics
    /// If it cannot be copied.
    pub fn copy(&self, from_repository: &str, relative: &str) {
        copy_tree(&repository().join(from_repository), &self.path(relative));
    }

    /// Every file of the workspace with its content, local state and what Python keeps for itself left out.
    ///
    /// # Panics
    /// If a file cannot be read.
    pub fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        self.files()
            .into_iter()
            .filter(|(path, _)| !path.split('/').any(|part| part == ".flowbench"))
            .collect()
    }

    /// Every file below the sandbox with its content, the user's home, temporary files and local state included.
    ///
    /// # Panics
    /// If a file cannot be read.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.root, &self.root, &mut found);
        found
    }

    /// A command to run.
    pub fn flowbench<I, S>(&self, arguments: I) -> Invocation
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(flowbench_binary());
        command.args(arguments).current_dir(self.path("")).env_clear();
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.home(""));
        for (name, folder) in [
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_STATE_HOME", ".local/state"),
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_CACHE_HOME", ".cache"),
        ] {
            command.env(name, self.home(folder));
        }
        command.env("TMPDIR", self.root.join("tmp"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Invocation { command, stdin: None, root: self.root.clone(), longest: LONGEST }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    let fail = |error: std::io::Error| -> ! { panic!("cannot copy `{}`: {error}", from.display()) };
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap_or_else(|error| fail(error));
        for entry in std::fs::read_dir(from).unwrap_or_else(|error| fail(error)) {
            let entry = entry.unwrap_or_else(|error| fail(error));
            // What runs in the repository itself left behind is no sample.
            if ![".flowbench", "__pycache__", ".promptflow"].iter().any(|name| entry.file_name() == **name) {
                copy_tree(&entry.path(), &to.join(entry.file_name()));
            }
        }
    } else {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).unwrap_or_else(|error| fail(error));
        }
        std::fs::copy(from, to).unwrap_or_else(|error| fail(error));
    }
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the sandbox can be listed") {
        let path = entry.expect("a folder of the sandbox can be listed").path();
        let kind = std::fs::symlink_metadata(&path).expect("a file of the sandbox can be looked at");
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if kind.is_dir() {
            collect(root, &path, found);
        } else if kind.is_file() {
            found.insert(name, std::fs::read(&path).expect("a file of the sandbox can be read"));
        } else {
            found.insert(name, Vec::new());
        }
    }
}

/// A command about to be run.
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
    root: PathBuf,
    longest: Duration,
}

impl Invocation {
    /// Sets a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Works in this folder.
    #[must_use]
    pub fn within(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// What is typed.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Allows this long instead of the usual.
    #[must_use]
    pub fn at_most(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// Runs to the end.
    ///
    /// # Panics
    /// If it cannot be started, or takes too long.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().finish()
    }

    /// Starts, and goes on with the test.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn spawn(mut self) -> Running {
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the binary can be started");
        let typed = self.stdin.take().zip(child.stdin.take()).map(|(text, mut stdin)| {
            // A program that ends before it has read everything is no failure.
            std::thread::spawn(move || drop(stdin.write_all(&text)))
        });
        let (stdout, stdout_reader) = follow(child.stdout.take().expect("stdout is piped"));
        let (stderr, stderr_reader) = follow(child.stderr.take().expect("stderr is piped"));
        Running {
            child,
            stdout,
            stderr,
            readers: Some((stdout_reader, stderr_reader)),
            typed,
            root: self.root,
            started: Instant::now(),
            longest: self.longest,
        }
    }
}

/// Reads lines as they come; gives them one by one and, at the end, as a whole.
fn follow(stream: impl Read + Send + 'static) -> (Receiver<String>, JoinHandle<Vec<u8>>) {
    let (sender, lines) = channel();
    let reader = std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut whole = Vec::new();
        loop {
            let before = whole.len();
            match stream.read_until(b'\n', &mut whole) {
                Ok(0) | Err(_) => return whole,
                Ok(_) => {
                    // Nobody may be listening.
                    let _ = sender.send(String::from_utf8_lossy(&whole[before..]).trim_end().to_owned());
                }
            }
        }
    });
    (lines, reader)
}

/// Who reads stdout and stderr.
type Readers = (JoinHandle<Vec<u8>>, JoinHandle<Vec<u8>>);

/// A running command; ended when dropped.
pub struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    readers: Option<Readers>,
    typed: Option<JoinHandle<()>>,
    root: PathBuf,
    started: Instant,
    longest: Duration,
}

impl Running {
    /// Waits for a line of stdout that holds this text.
    ///
    /// # Panics
    /// If stdout ends without it.
    #[track_caller]
    pub fn wait_for_stdout(&self, text: &str) -> String {
        wait_for(&self.stdout, text, self.longest)
    }

    /// Waits for a line of stderr that holds this text.
    ///
    /// # Panics
    /// If stderr ends without it.
    #[track_caller]
    pub fn wait_for_stderr(&self, text: &str) -> String {
        wait_for(&self.stderr, text, self.longest)
    }

    /// Waits until a condition on the world holds, and fails if the command ends or time runs out before.
    ///
    /// # Panics
    /// If it never holds.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        while !condition() {
            let has_ended = self.child.try_wait().expect("a child can be asked").is_some();
            assert!(!has_ended || condition(), "the command ended before {what}");
            assert!(self.started.elapsed() < self.longest, "{what} did not happen in {:?}", self.longest);
            // What the command says may be what is waited for; else the world is looked at again soon.
            let _ = self.stderr.recv_timeout(LOOK_AGAIN);
        }
    }

    /// Kills it, as a power cut would.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(mut self) -> Output {
        self.child.kill().expect("a child can be killed");
        self.finish()
    }

    /// Presses Ctrl-C.
    ///
    /// # Panics
    /// If the signal cannot be sent.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let id = id.expect("a child has an id");
        rustix::process::kill_process(id, rustix::process::Signal::INT)
            .expect("a signal can be sent to a child");
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// If that takes too long.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let status = self.wait();
        if let Some(typed) = self.typed.take() {
            let _ = typed.join();
        }
        let (stdout, stderr) = self.readers.take().expect("readers are taken once");
        let text = |reader: JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().expect("a reader does not panic")).into_owned()
        };
        Output {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
            took: self.started.elapsed(),
            root: self.root.clone(),
        }
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        // The end of both streams is the end of the command: readers wake us without polling.
        for stream in [&self.stdout, &self.stderr] {
            loop {
                let left = self.longest.saturating_sub(self.started.elapsed());
                match stream.recv_timeout(left) {
                    Ok(_) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        let _ = self.child.kill();
                        panic!("the command did not end within {:?}", self.longest);
                    }
                }
            }
        }
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn wait_for(stream: &Receiver<String>, text: &str, longest: Duration) -> String {
    let mut seen = Vec::new();
    loop {
        match stream.recv_timeout(longest) {
            Ok(line) if line.contains(text) => return line,
            Ok(line) => seen.push(line),
            Err(_) => panic!("`{text}` never came; what came:\n{}", seen.join("\n")),
        }
    }
}

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code; absent where a signal ended it.
    pub code: Option<i32>,
    /// Results.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
    root: PathBuf,
}

impl Output {
    /// Asserts the exit code.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code == Some(code), "exit code {code} was expected\n{}", self.told());
        assert!(!self.stderr.contains("panicked at"), "a panic\n{}", self.told());
        self
    }

    /// Asserts that it went well.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    #[must_use]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// Asserts that stderr holds this text.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    #[must_use]
    pub fn tells(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "stderr does not hold `{text}`\n{}", self.told());
        self
    }

    /// Asserts that stdout holds this text.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    #[must_use]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "stdout does not hold `{text}`\n{}", self.told());
        self
    }

    /// Stdout as one JSON value.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is no JSON: {error}\n{}", self.told()))
    }

    /// Stdout as one JSON value a line.
    ///
    /// # Panics
    /// If a line is none.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let read = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| {
                panic!("a line of stdout is no JSON: {error}: {line}\n{}", self.told())
            })
        };
        self.stdout.lines().map(read).collect()
    }

    /// The run that stderr or the JSON on stdout names.
    ///
    /// # Panics
    /// If none is named.
    #[track_caller]
    pub fn run_id(&self) -> String {
        let from_json = serde_json::from_str::<Value>(&self.stdout).ok();
        let from_json = from_json.and_then(|value| value["run_id"].as_str().map(str::to_owned));
        let from_text = || {
            let line = self.stderr.lines().rev().find_map(|line| line.strip_prefix("run "))?;
            line.split([' ', ':']).next().map(str::to_owned)
        };
        from_json.or_else(from_text).unwrap_or_else(|| panic!("no run is named\n{}", self.told()))
    }

    /// Status, stdout and stderr for people, with paths, run ids and times replaced.
    pub fn told(&self) -> String {
        let code = self.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        let text =
            format!("exit: {code}\n-- stdout\n{}-- stderr\n{}", lines(&self.stdout), lines(&self.stderr));
        self.filtered(&text)
    }

    fn filtered(&self, text: &str) -> String {
        let root = self.root.to_string_lossy();
        let work = format!("{root}/work");
        let text = text.replace(&work, "[WORK]").replace(root.as_ref(), "[ROOT]");
        let mut filtered = String::new();
        for line in text.split_inclusive('\n') {
            filtered.push_str(&without_facts(line));
        }
        filtered
    }
}

fn lines(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// Replaces `run ID` and lengths of time by words.
fn without_facts(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for at in 0..words.len() {
        let bare = words[at].trim_end_matches([':', ',', '\n']).to_owned();
        let is_number = |text: &str| text.parse::<f64>().is_ok();
        let next = words.get(at + 1).map(|next| next.trim_end_matches([',', '\n', ')']).to_owned());
        if at == 0 && bare == "run" && next.is_some() && words.len() > 2 {
            let ending = if words[1].ends_with(':') { ":" } else { "" };
            words[1] = format!("[RUN]{ending}");
        } else if is_number(&bare) && matches!(next.as_deref(), Some("ms" | "s")) {
            words[at] = "[TIME]".to_owned();
        }
    }
    words.join(" ")
}
