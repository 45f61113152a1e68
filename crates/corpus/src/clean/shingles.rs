//! Which documents are nearly the same: shingles, their signature, and their exact overlap.
//!
//! A shingle is five words in a row, or five characters where a script writes no blanks. The signature is one permutation
//! of all shingles in 128 bins (Li, Owen, Zhang 2012, "One permutation hashing"), empty bins filled from others by a fixed
//! draw (Shrivastava 2017, "Optimal densification"). Signatures only propose; shares of equal shingles decide.

use std::collections::HashSet;

/// Bins of a signature: half a kibibyte a document.
pub(super) const BINS: usize = 128;

/// Words, or characters, of a shingle.
const WIDTH: usize = 5;

/// The smallest value of every bin.
pub(super) type Signature = Vec<u32>;

/// Digests of all shingles of a text; none for a text without words.
pub(super) fn shingles(text: &str) -> HashSet<u64> {
    let mut letters = 0usize;
    let mut without_blanks = 0usize;
    for letter in text.chars().filter(|letter| letter.is_alphabetic()) {
        letters += 1;
        without_blanks += usize::from(writes_no_blanks(letter));
    }
    let mut found = HashSet::new();
    if without_blanks * 2 > letters {
        let signs: Vec<u64> = text
            .chars()
            .filter(|letter| letter.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .map(|letter| mix(u64::from(u32::from(letter))))
            .collect();
        windows(&signs, &mut found);
    } else {
        let words: Vec<u64> = text
            .split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(word_digest)
            .collect();
        windows(&words, &mut found);
    }
    found
}

fn windows(parts: &[u64], found: &mut HashSet<u64>) {
    let join = |parts: &[u64]| parts.iter().fold(0xcbf2_9ce4_8422_2325, |joined, part| mix(joined ^ part));
    if parts.len() < WIDTH {
        found.extend((!parts.is_empty()).then(|| join(parts)));
    } else {
        found.extend(parts.windows(WIDTH).map(join));
    }
}

/// FNV-1a over the letters in lower case.
fn word_digest(word: &str) -> u64 {
    let step =
        |digest: u64, letter: char| (digest ^ u64::from(u32::from(letter))).wrapping_mul(0x0100_0000_01b3);
    word.chars().flat_map(char::to_lowercase).fold(0xcbf2_9ce4_8422_2325, step)
}

/// Mixes all bits (the finaliser of SplitMix64), the same on every machine.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn writes_no_blanks(letter: char) -> bool {
    matches!(letter, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The signature of a set of shingles; empty for an empty set.
pub(super) fn signature(shingles: &HashSet<u64>) -> Signature {
    if shingles.is_empty() {
        return Vec::new();
    }
    let mut bins: Vec<Option<u32>> = vec![None; BINS];
    for shingle in shingles {
        let value = mix(*shingle);
        let bin = (value % BINS as u64) as usize;
        let value = (value >> 32) as u32;
        bins[bin] = Some(bins[bin].map_or(value, |least| least.min(value)));
    }
    let draw = |bin: usize, attempt: u64| (mix((bin as u64) << 32 | attempt) % BINS as u64) as usize;
    (0..BINS)
        .map(|bin| {
            bins[bin]
                .unwrap_or_else(|| (1u64..).find_map(|attempt| bins[draw(bin, attempt)]).unwrap_or_default())
        })
        .collect()
}

/// Digest of every band of `rows` bins: documents that share one may be nearly the same.
pub(super) fn bands(signature: &[u32], rows: usize) -> impl Iterator<Item = (usize, u64)> + '_ {
    signature.chunks(rows.max(1)).enumerate().map(|(band, rows)| {
        (band, rows.iter().fold(band as u64, |joined, value| mix(joined ^ u64::from(*value))))
    })
}

/// Share of bins in which two signatures agree: about the share of equal shingles.
pub(super) fn estimate(one: &[u32], other: &[u32]) -> f64 {
    let same = one.iter().zip(other).filter(|(one, other)| one == other).count();
    same as f64 / BINS as f64
}

/// Share of equal shingles of all that either has (Jaccard).
pub(super) fn overlap(one: &HashSet<u64>, other: &HashSet<u64>) -> f64 {
    let shared = one.intersection(other).count();
    let all = one.len() + other.len() - shared;
    if all == 0 { 0.0 } else { shared as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_tell_about_how_much_is_shared() {
        let words: Vec<String> = (0..400).map(|number| format!("word{number}")).collect();
        let one = shingles(&words.join(" "));
        let other = shingles(&words[40..].join(" "));
        let exact = overlap(&one, &other);
        let told = estimate(&signature(&one), &signature(&other));
        assert!((exact - 0.9).abs() < 0.01, "{exact}");
        assert!((told - exact).abs() < 0.1, "{told}");
    }

    #[test]
    fn short_texts_have_signatures_too() {
        let signature_of = |text: &str| signature(&shingles(text));
        assert_eq!(signature_of("To be!"), signature_of("to be"));
        assert_ne!(signature_of("to be"), signature_of("not to be"));
        assert!(signature_of(" ?").is_empty());
        assert_eq!(shingles("水が沸くと火を消す").len(), 5);
    }
}
