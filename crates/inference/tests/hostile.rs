//! GGUF files that lie: every one is an error with a place, never a panic, a hang or a full memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Cursor;
use std::path::Path;

use flowbench_inference::gguf::{GgufError, GgufFile};
use flowbench_inference::{LocalModel, ModelOptions};
use proptest::prelude::*;

/// A GGUF file in the making.
struct Bytes(Vec<u8>);

impl Bytes {
    fn header(version: u32, tensors: u64, metadata: u64) -> Self {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(metadata.to_le_bytes());
        Self(bytes)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(self, text: &str) -> Self {
        let mut bytes = self.u64(text.len() as u64);
        bytes.0.extend(text.bytes());
        bytes
    }

    fn tensor(self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let mut bytes = self.text(name).u32(dims.len() as u32);
        for dim in dims {
            bytes = bytes.u64(*dim);
        }
        bytes.u32(kind).u64(offset)
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.extend(std::iter::repeat_n(0, count));
        self
    }
}

#[track_caller]
fn check(bytes: Bytes, expected: &str) {
    let error = GgufFile::read(&mut Cursor::new(bytes.0)).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

fn sample() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf/llama3-bpe.gguf");
    std::fs::read(path).unwrap()
}

#[test]
fn what_is_no_gguf_file_is_told_so() {
    check(Bytes(b"PK\x03\x04 rest".to_vec()), "this is not a GGUF file (it begins with [50, 4b, 03, 04])");
    check(Bytes(b"GG".to_vec()), "the file ends within the magic number: 4 bytes are needed, 2 are left");
    check(Bytes::header(1, 0, 0), "GGUF version 1 is not supported (2 and 3 are)");
    check(Bytes::header(99, 0, 0), "GGUF version 99 is not supported (2 and 3 are)");
    check(
        Bytes::header(3u32.swap_bytes(), 0, 0),
        "the file was written in big-endian byte order, which is not supported",
    );
}

#[test]
fn absurd_counts_and_lengths_are_held_against_the_file_s_size() {
    check(
        Bytes::header(3, 0, u64::MAX),
        "the file ends within 18446744073709551615 metadata entries: 18446744073709551615 bytes are needed, 0 are left",
    );
    check(
        Bytes::header(3, 1 << 40, 0),
        "the file ends within 1099511627776 tensor entries: 26388279066624 bytes are needed, 0 are left",
    );
    check(
        Bytes::header(3, 0, 1).u64(1 << 63).zeros(64),
        "the file ends within a metadata key: 9223372036854775808 bytes are needed, 64 are left",
    );
    check(
        Bytes::header(3, 0, 1).text("k").u32(8).u64(u64::MAX).zeros(8),
        "the file ends within metadata `k`: 18446744073709551615 bytes are needed, 8 are left",
    );
    // An array of 2^61 eight-byte numbers, and one of 2^62 texts.
    for kind in [10, 8] {
        let error = GgufFile::read(&mut Cursor::new(
            Bytes::header(3, 0, 1).text("k").u32(9).u32(kind).u64(1 << 61).zeros(100).0,
        ));
        assert!(matches!(error, Err(GgufError::CutShort { .. })), "{error:?}");
    }
}

#[test]
fn arrays_nest_only_so_deep() {
    let mut bytes = Bytes::header(3, 0, 1).text("k").u32(9);
    for _ in 0..1000 {
        bytes = bytes.u32(9).u64(1);
    }
    check(bytes.zeros(100), "metadata `k` nests arrays more than 4 deep");
}

#[test]
fn unknown_types_and_broken_text_are_named() {
    check(Bytes::header(3, 0, 1).text("k").u32(77).zeros(8), "metadata `k` has the unknown value type 77");
    let mut bytes = Bytes::header(3, 0, 1).u64(2);
    bytes.0.extend([0xFF, 0xFE]);
    check(bytes.zeros(16), "a metadata key is not valid UTF-8");
    check(
        Bytes::header(3, 0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(1).zeros(32),
        "metadata `k` occurs twice",
    );
}

#[test]
fn tensors_must_have_possible_dimensions_and_lie_inside_the_file() {
    let one = |dims: &[u64], kind, offset| Bytes::header(3, 1, 0).tensor("t", dims, kind, offset).zeros(256);
    check(
        one(&[1 << 40, 1 << 40], 0, 0),
        "tensor `t` has impossible dimensions [1099511627776, 1099511627776]",
    );
    check(one(&[u64::MAX], 0, 0), "tensor `t` has impossible dimensions [18446744073709551615]");
    check(one(&[0, 4], 0, 0), "tensor `t` has impossible dimensions [0, 4]");
    check(one(&[33], 8, 0), "tensor `t` has impossible dimensions [33]");
    check(one(&[1 << 50], 0, 0), "tensor `t` lies outside the file (bytes 64 to 4503599627370560 of 313)");
    check(
        one(&[4], 0, u64::MAX - 31),
        "tensor `t` lies outside the file (bytes 18446744073709551615 to 18446744073709551615 of 313)",
    );
    check(one(&[4], 0, 5), "tensor `t` starts at offset 5, which is not a multiple of the alignment 32");
    check(one(&[4], 20, 0), "tensor `t` has the type `IQ4_NL`, which is not supported");
    check(one(&[4], 1234, 0), "tensor `t` has the type number 1234, which is not supported");
    check(
        Bytes::header(3, 1, 0).text("t").u32(4_000_000_000).zeros(64),
        "tensor `t` has impossible dimensions [4000000000]",
    );
}

#[test]
fn tensors_that_share_bytes_cannot_fill_the_memory() {
    let mut bytes = Bytes::header(3, 100, 0);
    for index in 0..100 {
        bytes = bytes.tensor(&format!("t{index:02}"), &[256], 0, 0);
    }
    let error = GgufFile::read(&mut Cursor::new(bytes.zeros(2048).0)).unwrap_err();
    assert!(matches!(error, GgufError::Overlap { .. }), "{error}");
}

#[test]
fn a_header_that_does_not_end_is_given_up() {
    let bytes = Bytes::header(3, 0, 1).text("k").u32(9).u32(0).u64(65 << 20).zeros(65 << 20);
    check(bytes, "the header is longer than 67108864 bytes");
}

#[test]
fn impossible_alignments_are_refused() {
    check(
        Bytes::header(3, 0, 1).text("general.alignment").u32(4).u32(0).zeros(8),
        "`general.alignment` must be a power of two from 8 to 65536, not 0",
    );
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let whole = sample();
    let file = GgufFile::read(&mut Cursor::new(&whole)).unwrap();
    assert!(file.tensor("token_embd.weight").is_some());
    // The data part ends with the last tensor, so that every proper prefix misses something.
    let step = 997;
    for len in (0..whole.len() - 32).step_by(step).chain(0..64) {
        let result = GgufFile::read(&mut Cursor::new(&whole[..len]));
        assert!(result.is_err(), "{len} of {} bytes were accepted", whole.len());
    }
}

#[test]
fn a_model_that_promises_what_it_has_not_is_refused_when_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let change = |from: &[u8], to: &[u8]| {
        let mut bytes = sample();
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        std::fs::write(&path, bytes).unwrap();
        LocalModel::load(&path, ModelOptions::default()).err().unwrap()
    };
    let error =
        change(b"llama.block_count\x04\0\0\0\x02\0\0\0", b"llama.block_count\x04\0\0\0\xFF\xFF\xFF\x00");
    assert_eq!(
        error.to_string(),
        "the model file's `llama.block_count` promises more layers than the file has tensors for"
    );
    let error = change(b"llama.embedding_length\x04\0\0\0\x40", b"llama.embedding_length\x04\0\0\0\x20");
    assert!(
        error.to_string().contains("where [573, 32] were expected")
            || error.to_string().contains("were expected"),
        "{error}"
    );
    let error = change(
        b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
        b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0mamba",
    );
    assert_eq!(error.to_string(), "models of architecture `mamba` are not supported");
    assert_eq!(
        error.hint().unwrap(),
        "use a model of one of these architectures: llama, qwen2, qwen3, gemma3, phi3"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever bytes of the header change, loading ends with a model or an error.
    #[test]
    fn flipped_bytes_never_panic(flips in proptest::collection::vec((0usize..20_000, any::<u8>()), 1..6)) {
        let mut bytes = sample();
        for (at, value) in flips {
            bytes[at] = value;
        }
        let mut source = Cursor::new(bytes);
        if let Ok(mut file) = GgufFile::read(&mut source) {
            let loaded = flowbench_inference::decoder::Decoder::load(&file, &mut source, None, &candle_core::Device::Cpu);
            let tokenizer = flowbench_inference::tokenizer::Tokenizer::load(&mut file);
            if let (Ok(mut decoder), Ok(_)) = (loaded, tokenizer) {
                let mut cache = decoder.new_cache();
                let _ = decoder.forward(&[1, 2, 3], &mut cache);
            }
        }
    }
}
