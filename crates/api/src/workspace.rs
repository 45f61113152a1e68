//! A workspace: an ordinary folder, its settings, its connections and its state folder.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flowbench_core::connection::Connection;
use flowbench_core::finding::Finding;
use flowbench_format::connections::{ConnectionEntry, SecretValue, ValueReference, parse_connections};
use flowbench_format::workspace::{WorkspaceSettings, parse_workspace};

use crate::error::ApiError;
use crate::files::{read_source, write_atomically};

/// How a workspace is found.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Where to look from: a flow, a file, a folder.
    pub start: PathBuf,
    /// The root, where the user names it.
    pub root: Option<PathBuf>,
    /// Connections looked in first; their hosts count as approved.
    pub connections: Option<PathBuf>,
}

/// Where a connection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionOrigin {
    /// The file named for this call.
    Given,
    /// The workspace's file.
    Workspace,
    /// The user's own file.
    User,
}

/// A connection and where it is written.
#[derive(Clone, Debug)]
pub struct KnownConnection {
    /// As written, secrets unresolved.
    pub entry: ConnectionEntry,
    /// Where.
    pub origin: ConnectionOrigin,
    /// File.
    pub file: PathBuf,
}

/// An opened workspace.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    settings: WorkspaceSettings,
    connections: Vec<KnownConnection>,
    findings: Vec<Finding>,
    state: OnceLock<PathBuf>,
}

/// Name of a workspace's settings file.
const SETTINGS_FILE: &str = "flowbench.yaml";
/// Name of a connections file.
const CONNECTIONS_FILE: &str = "connections.yaml";

impl Workspace {
    /// Opens the workspace: the nearest folder above with `flowbench.yaml`, else the flow's own folder. Writes nothing.
    pub fn open(options: &OpenOptions) -> Result<Self, ApiError> {
        let start = &options.start;
        let start = match std::fs::metadata(start) {
            Ok(metadata) if metadata.is_dir() => start.clone(),
            Ok(_) => start
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new("."))
                .to_owned(),
            Err(error) => return Err(ApiError::file("open", start, &error)),
        };
        let root = match &options.root {
            Some(root) if root.is_dir() => root.clone(),
            Some(root) => {
                return Err(ApiError::wrong_use("workspace", format!("`{}` is no folder", root.display())));
            }
            None => find_root(&start).unwrap_or(start),
        };
        let mut workspace = Self {
            root,
            settings: WorkspaceSettings::default(),
            connections: Vec::new(),
            findings: Vec::new(),
            state: OnceLock::new(),
        };
        workspace.read_settings()?;
        if let Some(file) = &options.connections {
            workspace.read_connections(file, ConnectionOrigin::Given)?;
        }
        let own = workspace.root.join(CONNECTIONS_FILE);
        if own.is_file() {
            workspace.read_connections(&own, ConnectionOrigin::Workspace)?;
        }
        if let Some(users) =
            user_config_folder().map(|folder| folder.join(CONNECTIONS_FILE)).filter(|file| file.is_file())
        {
            workspace.read_connections(&users, ConnectionOrigin::User)?;
        }
        Ok(workspace)
    }

    fn read_settings(&mut self) -> Result<(), ApiError> {
        let file = self.root.join(SETTINGS_FILE);
        if !file.is_file() {
            return Ok(());
        }
        let read = parse_workspace(&read_source(&file)?, Some(&self.shown(&file)));
        self.findings.extend(read.findings);
        self.settings = read.settings;
        Ok(())
    }

    fn read_connections(&mut self, file: &Path, origin: ConnectionOrigin) -> Result<(), ApiError> {
        let shown = self.shown(file);
        let read = parse_connections(&read_source(file)?, Some(&shown));
        if origin == ConnectionOrigin::Given && flowbench_core::finding::has_errors(&read.findings) {
            let first = &read.findings[0];
            let mut error = ApiError::wrong_use("connections/invalid", first.message.clone());
            error.place = Some(first.place.clone());
            error.hints.extend(first.suggestion.clone());
            return Err(error);
        }
        self.findings.extend(read.findings);
        self.connections.extend(read.entries.into_iter().map(|entry| KnownConnection {
            entry,
            origin,
            file: file.to_owned(),
        }));
        Ok(())
    }

    /// The workspace's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is wrong with its own files.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Settings as written in `flowbench.yaml`.
    pub fn settings(&self) -> &WorkspaceSettings {
        &self.settings
    }

    /// A path as it is shown to people: relative to where they are, if it is below that.
    pub fn shown(&self, path: &Path) -> String {
        let here = std::env::current_dir().ok();
        let shown = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
        let text = shown.to_string_lossy().replace('\\', "/");
        text.strip_prefix("./").map(str::to_owned).unwrap_or(text)
    }

    /// Folder of local state, created when first asked for: `.flowbench/` in the root, else the user's own state folder.
    pub fn state(&self) -> Result<PathBuf, ApiError> {
        if let Some(state) = self.state.get() {
            return Ok(state.clone());
        }
        let own = self.root.join(".flowbench");
        let state = match make_state_folder(&own) {
            Ok(()) => own,
            Err(_) => {
                // A read-only workspace: its state lives with the user, in a folder of its own.
                let canonical = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
                let digest = blake3::hash(canonical.to_string_lossy().as_bytes()).to_hex();
                let elsewhere = user_state_folder()?.join("workspaces").join(&digest[..16]);
                make_state_folder(&elsewhere)
                    .map_err(|error| ApiError::file("create", &elsewhere, &error))?;
                elsewhere
            }
        };
        Ok(self.state.get_or_init(|| state).clone())
    }

    /// Folder for what Python runs from: merged flows and environments. Its name comes from a key in the user's own
    /// state folder, so that a folder from elsewhere cannot bring a `.flowbench` with code that would be taken for ours.
    /// Without a key there is no such folder yet; `create` makes the key.
    pub fn code_folder(&self, create: bool) -> Result<Option<PathBuf>, ApiError> {
        let Some(key) = own_key(create)? else { return Ok(None) };
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        let name = blake3::keyed_hash(&key, root.to_string_lossy().as_bytes()).to_hex();
        Ok(Some(self.state()?.join(format!("code-{}", &name[..16]))))
    }

    /// All connections, those that are looked in first coming first.
    pub fn connections(&self) -> &[KnownConnection] {
        &self.connections
    }

    /// Names of all connections.
    pub fn connection_names(&self) -> Vec<String> {
        self.connections.iter().map(|known| known.entry.name.clone()).collect()
    }

    /// A connection by name.
    pub fn connection(&self, name: &str) -> Option<&KnownConnection> {
        self.connections.iter().find(|known| known.entry.name == name)
    }
}

impl KnownConnection {
    /// The connection with its references resolved from the environment. A variable that is not set is no error:
    /// a server on this machine often needs no key, and a provider that does says so.
    pub fn resolve(&self) -> Result<Connection, ApiError> {
        let stored = self.entry.secrets.iter().find_map(|(key, value)| match value {
            SecretValue::Stored(name) => Some((key, name)),
            _ => None,
        });
        if let Some((key, name)) = stored {
            let message = format!(
                "connection `{}` needs the stored secret `{name}`, and this version keeps none",
                self.entry.name
            );
            return Err(ApiError::could_not("connection/secret", message)
                .hint(format!("write `{key}: \"${{env:NAME}}\"` and set the environment variable")));
        }
        let look_up = |reference: ValueReference<'_>| match reference {
            ValueReference::Environment(name) => std::env::var(name).ok(),
            ValueReference::Stored(_) => None,
        };
        Ok(self.entry.resolve(self.origin != ConnectionOrigin::Workspace, &look_up).0)
    }
}

/// Key of the pseudonyms that stand for personal data in a workspace's indexes. It is made of the user's own key and the
/// folder, so that nobody else can try values out; a team that wants the same pseudonyms everywhere sets
/// `FLOWBENCH_PROJECT_KEY` to the same secret text.
pub fn project_key(root: &Path) -> Result<[u8; 32], ApiError> {
    if let Ok(shared) = std::env::var("FLOWBENCH_PROJECT_KEY")
        && !shared.is_empty()
    {
        return Ok(blake3::derive_key("flowbench project key", shared.as_bytes()));
    }
    let key = own_key(true)?.unwrap_or_default();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    Ok(*blake3::keyed_hash(&key, format!("pseudonyms\0{}", root.display()).as_bytes()).as_bytes())
}

/// The user's key: 32 bytes that nobody else knows, made once.
fn own_key(create: bool) -> Result<Option<[u8; 32]>, ApiError> {
    let path = user_state_folder()?.join("key");
    match std::fs::read(&path) {
        Ok(bytes) if bytes.len() == 32 => {
            let mut key = [0; 32];
            key.copy_from_slice(&bytes);
            return Ok(Some(key));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(ApiError::file("read", &path, &error)),
    }
    if !create {
        return Ok(None);
    }
    let mut key = [0; 32];
    for part in key.chunks_mut(8) {
        // The standard library seeds each of these from the system's random source.
        part.copy_from_slice(&RandomState::new().build_hasher().finish().to_le_bytes());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| ApiError::file("create", folder, &error))?;
    }
    write_atomically(&path, &key)?;
    Ok(Some(key))
}

fn find_root(start: &Path) -> Option<PathBuf> {
    // As the user wrote it where that suffices, so that paths in messages stay short.
    let mut below = start.to_owned();
    for _ in 0..64 {
        if below.join(SETTINGS_FILE).is_file() {
            return Some(below);
        }
        match below.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => below = parent.to_owned(),
            Some(_) if Path::new(SETTINGS_FILE).is_file() => return Some(PathBuf::from(".")),
            _ => break,
        }
    }
    let canonical = start.canonicalize().ok()?;
    canonical.ancestors().find(|folder| folder.join(SETTINGS_FILE).is_file()).map(Path::to_owned)
}

/// Makes a state folder that version control ignores wherever it is.
fn make_state_folder(folder: &Path) -> std::io::Result<()> {
    // A folder from elsewhere may bring a link in its place, which would lead our writing out of it.
    if std::fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.file_type().is_symlink()) {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    std::fs::create_dir_all(folder)?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(ignore, "*\n")?;
    }
    Ok(())
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME")
        .or_else(|| std::env::var_os("USERPROFILE"))
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
}

fn folder_from(variable: &str, below_home: &[&str]) -> Option<PathBuf> {
    let base = match std::env::var_os(variable).filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => below_home.iter().fold(home()?, |folder, part| folder.join(part)),
    };
    Some(base.join("flowbench"))
}

/// The user's configuration folder, by the XDG rules.
pub fn user_config_folder() -> Option<PathBuf> {
    folder_from("XDG_CONFIG_HOME", &[".config"])
}

/// The user's state folder, by the XDG rules.
pub fn user_state_folder() -> Result<PathBuf, ApiError> {
    folder_from("XDG_STATE_HOME", &[".local", "state"]).ok_or_else(|| {
        ApiError::could_not("environment", "there is no home folder to keep state in")
            .hint("set `HOME` or `XDG_STATE_HOME`")
    })
}
