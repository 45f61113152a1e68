//! What git tracks.

use super::*;

/// An index file as git writes it: version, then paths with their mode.
fn index(version: u32, entries: &[(&str, u32)]) -> Vec<u8> {
    let mut bytes = b"DIRC".to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend((entries.len() as u32).to_be_bytes());
    let mut previous = "";
    for (path, mode) in entries {
        let start = bytes.len();
        bytes.extend([0; 24]);
        bytes.extend(mode.to_be_bytes());
        bytes.extend([0; 12]);
        bytes.extend([0xab; 20]);
        bytes.extend((path.len() as u16).to_be_bytes());
        if version == 4 {
            let shared = previous.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
            bytes.push((previous.len() - shared) as u8);
            bytes.extend(&path.as_bytes()[shared..]);
            bytes.push(0);
        } else {
            bytes.extend(path.as_bytes());
            bytes.push(0);
            while !(bytes.len() - start).is_multiple_of(8) {
                bytes.push(0);
            }
        }
        previous = path;
    }
    bytes.extend(b"TREE");
    bytes.extend(4u32.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([0; 20]);
    bytes
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const FILES: [(&str, u32); 6] = [
    (".hidden.md", 0o100644),
    ("docs/a.md", 0o100644),
    ("docs/b.md", 0o100755),
    ("docs/deleted.md", 0o100644),
    ("module", 0o160000),
    ("top.md", 0o100644),
];

fn repository(version: u32) -> tempfile::TempDir {
    let folder = folder_of(&[
        ("docs/a.md", "a"),
        ("docs/b.md", "b"),
        ("docs/new.md", "not tracked"),
        ("top.md", "top"),
        (".hidden.md", "h"),
        (".git/HEAD", "ref: refs/heads/main\n"),
        (".git/refs/heads/main", &format!("{COMMIT}\n")),
        (".gitignore", "b.md\n"),
    ]);
    write(folder.path(), ".git/index", index(version, &FILES));
    folder
}

#[test]
fn only_tracked_files_are_taken() {
    for version in 2..=4 {
        let folder = repository(version);
        let listing = list(folder.path(), json!({"path": ".", "git": "tracked"}));
        assert_eq!(names(&listing), ["docs/a.md", "docs/b.md", "top.md"], "version {version}");
        assert_eq!(listing.entries[0].metadata["commit"], COMMIT);
        assert_eq!(told(&listing.notes), [".: 1 submodules are not followed"]);
        let below = json!({"path": "docs", "git": "tracked", "exclude": ["a.md"]});
        assert_eq!(names(&list(folder.path(), below)), ["b.md"]);
    }
}

#[test]
fn working_trees_of_one_repository_have_their_own_index() {
    let folder = repository(2);
    let main = folder.path();
    write(main, ".git/worktrees/other/HEAD", "ref: refs/heads/feature/x\n");
    write(main, ".git/worktrees/other/commondir", "../..\n");
    write(main, ".git/worktrees/other/index", index(2, &[("only.md", 0o100644)]));
    let packed = COMMIT.replace('0', "f");
    write(
        main,
        ".git/packed-refs",
        format!(
            "# pack-refs with: peeled\n{COMMIT} refs/heads/x\n{packed} refs/heads/feature/x\n^{COMMIT}\n"
        ),
    );
    let other = tempfile::tempdir().unwrap();
    write(other.path(), ".git", format!("gitdir: {}\n", main.join(".git/worktrees/other").display()));
    write(other.path(), "only.md", "o");
    write(other.path(), "new.md", "n");
    let listing = list(other.path(), json!({"path": ".", "git": "tracked"}));
    assert_eq!(names(&listing), ["only.md"]);
    assert_eq!(listing.entries[0].metadata["commit"], json!(packed));
}

#[test]
fn before_the_first_commit_there_is_none() {
    let folder = repository(2);
    fs::remove_file(folder.path().join(".git/refs/heads/main")).unwrap();
    let listing = list(folder.path(), json!({"path": ".", "git": "tracked"}));
    assert!(!listing.entries[0].metadata.contains_key("commit"));
    fs::remove_file(folder.path().join(".git/index")).unwrap();
    assert_eq!(list(folder.path(), json!({"path": ".", "git": "tracked"})).entries, []);
    write(folder.path(), ".git/HEAD", "ref: refs/../../secret\n");
    write(folder.path(), "secret", COMMIT);
    assert_eq!(list(folder.path(), json!({"path": ".", "git": "tracked"})).entries, []);
}

#[test]
fn a_damaged_index_is_named() {
    let whole = index(2, &FILES);
    let split = [&whole[..whole.len() - 32], b"link\0\0\0\0", &[0; 20]].concat();
    let error = |bytes: &[u8]| {
        let folder = repository(2);
        write(folder.path(), ".git/index", bytes);
        let source = open(folder.path(), json!({"path": ".", "git": "tracked"})).unwrap();
        wait(source.list()).map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(error(b"none").unwrap_err().ends_with("it is no index of git"));
    assert!(error(&split).unwrap_err().contains("run `git update-index --no-split-index`"));
    for cut in 4..whole.len() - 40 {
        assert!(error(&whole[..cut]).is_err(), "{cut} bytes");
    }
    let plain = folder_of(&[("a.md", "")]);
    let source = open(plain.path(), json!({"path": ".", "git": "tracked"})).unwrap();
    assert!(matches!(wait(source.list()), Err(SourceError::NoRepository { .. })));
}

/// Against the program itself, where it is installed.
#[test]
fn git_agrees_where_it_is_there() {
    let folder = folder_of(&[("a.md", "a"), ("sub/b.md", "b"), ("sub/ü.md", "u")]);
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.current_dir(folder.path()).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.output().ok().filter(|output| output.status.success())
    };
    if git(&["init", "-q"]).is_none() {
        return;
    }
    for version in ["2", "4"] {
        git(&["config", "index.version", version]).unwrap();
        git(&["add", "."]).unwrap();
        git(&["update-index", "--index-version", version]).unwrap();
        let listing = list(folder.path(), json!({"path": ".", "git": "tracked"}));
        assert_eq!(names(&listing), ["a.md", "sub/b.md", "sub/ü.md"]);
    }
    git(&["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "a"]).unwrap();
    let head = String::from_utf8(git(&["rev-parse", "HEAD"]).unwrap().stdout).unwrap();
    let listing = list(folder.path(), json!({"path": ".", "git": "tracked"}));
    assert_eq!(listing.entries[0].metadata["commit"], json!(head.trim()));
}
