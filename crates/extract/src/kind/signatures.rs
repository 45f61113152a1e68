//! Files that nothing here reads, by their first bytes, so that an error can say what was met.

/// What it is, where the first bytes say.
pub(super) fn find(bytes: &[u8]) -> Option<&'static str> {
    const SIGNATURES: &[(usize, &[u8], &str)] = &[
        (0, b"\x89PNG\r\n\x1a\n", "PNG image"),
        (0, b"\xff\xd8\xff", "JPEG image"),
        (0, b"GIF87a", "GIF image"),
        (0, b"GIF89a", "GIF image"),
        (0, b"II*\0", "TIFF image"),
        (0, b"MM\0*", "TIFF image"),
        (8, b"WEBP", "WebP image"),
        (0, b"8BPS", "Photoshop image"),
        (0, b"\0\0\x01\0", "icon"),
        (0, b"AT&TFORM", "DjVu document"),
        (0, b"%!PS", "PostScript document"),
        (0, b"\x1f\x8b", "gzip archive"),
        (0, b"BZh", "bzip2 archive"),
        (0, b"\xfd7zXZ\0", "xz archive"),
        (0, b"\x28\xb5\x2f\xfd", "zstd archive"),
        (0, b"\x04\x22\x4d\x18", "lz4 archive"),
        (0, b"7z\xbc\xaf\x27\x1c", "7z archive"),
        (0, b"Rar!\x1a\x07", "RAR archive"),
        (257, b"ustar", "tar archive"),
        (0, b"!<arch>\n", "library or Debian package"),
        (0, b"\x7fELF", "program (ELF)"),
        (0, b"\xcf\xfa\xed\xfe", "program (Mach-O)"),
        (0, b"\xca\xfe\xba\xbe", "Java class or program (Mach-O)"),
        (0, b"\0asm", "WebAssembly module"),
        (0, b"SQLite format 3\0", "SQLite database"),
        (4, b"Standard Jet DB", "Access database"),
        (4, b"Standard ACE DB", "Access database"),
        (0, b"PAR1", "Parquet table"),
        (0, b"ID3", "MP3 sound"),
        (0, b"OggS", "Ogg sound"),
        (0, b"fLaC", "FLAC sound"),
        (8, b"WAVE", "WAV sound"),
        (8, b"AVI ", "AVI video"),
        (4, b"ftyp", "MP4 or HEIF media"),
        (0, b"\x1aE\xdf\xa3", "Matroska video"),
        (0, b"wOFF", "font"),
        (0, b"wOF2", "font"),
        (0, b"OTTO\0", "font"),
        (0, b"\0\x01\0\0\0", "font"),
        (0, b"!BDN", "Outlook mail store (PST)"),
        (0, b"ITSF\x03\0\0\0", "compiled HTML help"),
        (0, b"\xd7\xcd\xc6\x9a", "Windows metafile"),
        (0, b"GGUF", "language model (GGUF)"),
        (0, b"\x80\x04\x95", "Python pickle"),
    ];
    let matches =
        |(at, magic, _): &&(usize, &[u8], &str)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    if let Some((.., found)) = SIGNATURES.iter().find(matches) {
        return Some(found);
    }
    // Two letters start texts as well, so more of the header has to agree.
    let has_pe_header = || {
        let at = bytes.get(60..64).and_then(|four| <[u8; 4]>::try_from(four).ok()).map(u32::from_le_bytes)?;
        bytes.get(usize::try_from(at).ok()?..)?.starts_with(b"PE\0\0").then_some(())
    };
    if bytes.starts_with(b"MZ") && has_pe_header().is_some() {
        return Some("program (Windows)");
    }
    (bytes.starts_with(b"BM") && bytes.get(6..10) == Some(&[0; 4])).then_some("bitmap image")
}

/// Bytes that no signature names.
pub(super) fn describe(bytes: &[u8]) -> String {
    let start: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("binary data that starts with {}", start.join(" "))
}
