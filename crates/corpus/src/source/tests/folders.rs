//! Folders and single files.

use super::*;

#[test]
fn a_folder_gives_what_can_be_read_in_order_of_names() {
    let folder = folder_of(&[
        ("docs/b.md", "b"),
        ("docs/a.TXT", "a"),
        ("docs/sub/c.html", "c"),
        ("docs/picture.png", "p"),
        ("docs/other.png", "p"),
        ("docs/strange", "s"),
        ("docs/.hidden.md", "h"),
        ("docs/.git/x.md", "x"),
        ("elsewhere.md", "e"),
    ]);
    let listing = list(folder.path(), json!({"path": "docs/"}));
    assert_eq!(names(&listing), ["a.TXT", "b.md", "sub/c.html"]);
    assert_eq!(listing.entries[2].uri, "docs/sub/c.html");
    assert_eq!(listing.entries[2].source, "docs");
    assert_eq!(listing.problems, []);
    assert_eq!(
        told(&listing.notes),
        ["docs: 3 files of kinds that are not read were left out: 2 `.png`, 1 without ending"]
    );
    assert_eq!(
        texts(folder.path(), json!({"path": "docs"})),
        [("a.TXT", "a"), ("b.md", "b"), ("sub/c.html", "c")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
}

#[test]
fn include_and_exclude_choose() {
    let folder = folder_of(&[
        ("a.md", ""),
        ("B.MD", ""),
        ("x/c.md", ""),
        ("x/drafts/d.md", ""),
        ("data.bin", ""),
        (".github/e.md", ""),
    ]);
    let chosen = |settings| names(&list(folder.path(), settings)).join(" ");
    assert_eq!(chosen(json!({"path": ".", "include": ["**/*.md"]})), "B.MD a.md x/c.md x/drafts/d.md");
    assert_eq!(chosen(json!({"path": ".", "include": ["*.md"]})), "B.MD a.md");
    assert_eq!(chosen(json!({"path": ".", "exclude": ["x/drafts", "**/b.md"]})), "a.md x/c.md");
    assert_eq!(chosen(json!({"path": ".", "include": ["*.bin"]})), "data.bin");
    assert_eq!(chosen(json!({"path": ".", "include": [".github/**"]})), ".github/e.md");
    let listing = list(folder.path(), json!({"path": ".", "include": ["*.rst", "**/*.md"]}));
    assert_eq!(told(&listing.notes), [".: nothing matches `*.rst`"]);
    assert_eq!(listing.notes[0].hint.as_deref(), Some("`**/*.rst` also looks below"));
}

#[test]
fn ignore_files_hold_without_git() {
    let files = [
        (".gitignore", "*.log\n/build/\n!kept.log\n"),
        ("sub/.ignore", "secret.md\n"),
        ("a.md", ""),
        ("a.log", ""),
        ("kept.log", ""),
        ("build/b.md", ""),
        ("sub/secret.md", ""),
        ("sub/c.md", ""),
    ];
    let folder = folder_of(&files);
    assert_eq!(names(&list(folder.path(), json!({"path": "."}))), ["a.md", "kept.log", "sub/c.md"]);
    assert_eq!(
        names(&list(folder.path(), json!({"path": ".", "ignore_files": false}))),
        ["a.log", "a.md", "build/b.md", "kept.log", "sub/c.md", "sub/secret.md"]
    );
    assert_eq!(names(&list(folder.path(), json!({"path": "build"}))), ["b.md"], "named, so wanted");
}

#[test]
fn rules_above_a_folder_hold_within_its_repository_only() {
    let folder = folder_of(&[
        (".gitignore", "*.txt\n"),
        ("repository/.git/HEAD", ""),
        ("repository/.gitignore", "*.log\n"),
        ("repository/docs/a.md", ""),
        ("repository/docs/a.log", ""),
        ("repository/docs/a.txt", ""),
        ("plain/docs/b.txt", ""),
    ]);
    assert_eq!(names(&list(folder.path(), json!({"path": "repository/docs"}))), ["a.md", "a.txt"]);
    assert_eq!(names(&list(folder.path(), json!({"path": "plain/docs"}))), ["b.txt"]);
}

#[test]
fn a_single_file_is_a_source() {
    let folder = folder_of(&[("docs/handbook.weird", "text"), ("docs/b.md", "")]);
    let settings = json!({"path": "docs/handbook.weird", "language": "de", "metadata": {"team": "legal"}});
    let fetched = wait(async {
        let source = open(folder.path(), settings).unwrap();
        assert!(source.is_local());
        let listing = source.list().await.unwrap();
        assert_eq!(names(&listing), ["handbook.weird"]);
        source.fetch(&listing.entries[0]).await.unwrap()
    });
    assert_eq!(fetched.bytes, b"text");
    assert_eq!(fetched.entry.uri, "docs/handbook.weird");
    assert_eq!(fetched.entry.source, "handbook.weird");
    assert_eq!(fetched.language.as_deref(), Some("de"));
    assert_eq!(serde_json::Value::Object(fetched.entry.metadata), json!({"team": "legal"}));
    assert!(fetched.modified_ms.is_some());
}

#[test]
fn the_stamp_changes_with_the_file() {
    let folder = folder_of(&[("a.md", "one")]);
    let before = list(folder.path(), json!({"path": "."})).entries[0].stamp.clone();
    assert_eq!(list(folder.path(), json!({"path": "."})).entries[0].stamp, before);
    write(folder.path(), "a.md", "three");
    let after = list(folder.path(), json!({"path": "."})).entries[0].stamp.clone();
    assert_ne!(after, before);
    // Same size, another time.
    let file = fs::File::options().write(true).open(folder.path().join("a.md")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1)).unwrap();
    assert_eq!(list(folder.path(), json!({"path": "."})).entries[0].stamp, "5-1000000000");
}

#[test]
fn what_is_too_large_or_gone_is_named() {
    let folder = folder_of(&[("large.md", "0123456789"), ("small.md", "01234"), ("gone.md", "x")]);
    let settings = json!({"path": ".", "max_bytes": 9});
    let source = open(folder.path(), settings).unwrap();
    let listing = wait(source.list()).unwrap();
    assert_eq!(names(&listing), ["gone.md", "small.md"]);
    assert_eq!(
        told(&listing.problems),
        ["large.md: it is larger than allowed: 10 bytes, and at most 9 bytes are read"]
    );
    fs::remove_file(folder.path().join("gone.md")).unwrap();
    write(folder.path(), "small.md", "grown beyond");
    let problems = listing.entries.iter().map(|entry| wait(source.fetch(entry)).unwrap_err());
    assert_eq!(
        told(&problems.collect::<Vec<_>>()),
        [
            "gone.md: it is not there any more",
            "small.md: it is larger than allowed: 12 bytes, and at most 9 bytes are read"
        ]
    );
}

#[test]
fn entries_that_lead_out_of_the_folder_are_not_fetched() {
    let folder = folder_of(&[("docs/a.md", ""), ("secret.md", "secret")]);
    let source = open(folder.path(), json!({"path": "docs"})).unwrap();
    for name in ["../secret.md", "/etc/passwd", "%2e%2e/secret.md", ".."] {
        let entry = Entry { name: name.to_owned(), ..Entry::default() };
        let problem = wait(source.fetch(&entry)).unwrap_err();
        assert_eq!(problem.message, "it is no ordinary file", "of `{name}`");
    }
}

#[cfg(unix)]
mod on_unix {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_told_and_not_followed() {
        let folder = folder_of(&[("docs/a.md", "a"), ("outside/secret.md", "s")]);
        let docs = folder.path().join("docs");
        symlink("a.md", docs.join("link.md")).unwrap();
        symlink("nowhere.md", docs.join("broken.md")).unwrap();
        symlink("nowhere.png", docs.join("broken.png")).unwrap();
        symlink(".", docs.join("loop")).unwrap();
        symlink("../outside", docs.join("out")).unwrap();
        symlink("self", docs.join("self")).unwrap();
        let listing = list(folder.path(), json!({"path": "docs"}));
        assert_eq!(names(&listing), ["a.md"]);
        let expected = ["broken.md", "link.md", "loop", "out"]
            .map(|name| format!("{name}: it is a symbolic link, and those are not followed"));
        assert_eq!(told(&listing.problems), expected);
    }

    #[test]
    fn a_source_may_itself_be_a_link() {
        let folder = folder_of(&[("real/a.md", "a")]);
        symlink("real", folder.path().join("docs")).unwrap();
        symlink("real/a.md", folder.path().join("b.md")).unwrap();
        assert_eq!(texts(folder.path(), json!({"path": "docs"})), [("a.md".to_owned(), "a".to_owned())]);
        assert_eq!(names(&list(folder.path(), json!({"path": "b.md"}))), ["a.md"]);
        symlink("ring", folder.path().join("ring")).unwrap();
        assert!(matches!(open(folder.path(), json!({"path": "ring"})), Err(SourceError::Unread { .. })));
    }

    #[test]
    fn a_folder_that_became_a_link_after_listing_leads_nowhere() {
        let folder = folder_of(&[("docs/sub/a.md", "a"), ("outside/a.md", "secret")]);
        let source = open(folder.path(), json!({"path": "docs"})).unwrap();
        let entry = wait(source.list()).unwrap().entries.remove(0);
        fs::rename(folder.path().join("docs/sub"), folder.path().join("moved")).unwrap();
        symlink("../outside", folder.path().join("docs/sub")).unwrap();
        assert_eq!(wait(source.fetch(&entry)).unwrap_err().message, "it is no ordinary file");
    }

    #[test]
    fn pipes_and_sockets_keep_nobody_waiting() {
        let folder = folder_of(&[("a.md", "a")]);
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe.md")).status().unwrap();
        assert!(made.success());
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket.txt")).unwrap();
        let listing = list(folder.path(), json!({"path": "."}));
        assert_eq!(names(&listing), ["a.md"]);
        assert_eq!(
            told(&listing.problems),
            ["pipe.md: it is a pipe, no file", "socket.txt: it is a socket, no file"]
        );
        let source = open(folder.path(), json!({"path": "."})).unwrap();
        let pipe = Entry { name: "pipe.md".to_owned(), ..Entry::default() };
        assert_eq!(wait(source.fetch(&pipe)).unwrap_err().message, "it is no ordinary file");
        assert!(matches!(open(folder.path(), json!({"path": "pipe.md"})), Err(SourceError::NoFile { .. })));
        assert!(matches!(open(folder.path(), json!({"path": "/dev/null"})), Err(SourceError::NoFile { .. })));
    }

    #[test]
    fn odd_names_are_listed_and_fetched() {
        let folder = tempfile::tempdir().unwrap();
        for name in [&b"caf\xe9.txt"[..], b"line\nbreak.md", b"100%.md", b"%41.md", "ü 数.md".as_bytes()] {
            fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
        }
        let source = open(folder.path(), json!({"path": "."})).unwrap();
        let listing = wait(source.list()).unwrap();
        assert_eq!(names(&listing), ["%2541.md", "100%.md", "caf%E9.txt", "line%0Abreak.md", "ü 数.md"]);
        let bytes: Vec<Vec<u8>> =
            listing.entries.iter().map(|entry| wait(source.fetch(entry)).unwrap().bytes).collect();
        assert_eq!(bytes[2], b"caf\xe9.txt");
        assert_eq!(bytes[3], b"line\nbreak.md");
    }

    #[test]
    fn very_deep_folders_are_walked() {
        let folder = tempfile::tempdir().unwrap();
        let deep = vec!["d"; 400].join("/");
        write(folder.path(), &format!("{deep}/a.md"), "deep");
        assert_eq!(texts(folder.path(), json!({"path": "."})), [(format!("{deep}/a.md"), "deep".to_owned())]);
    }
}
