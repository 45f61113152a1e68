//! Which characters a glyph stands for.

use std::collections::HashMap;

use hayro_interpret::font::Glyph;
use skrifa::{FontRef, MetadataProvider};
use unicode_normalization::UnicodeNormalization;

use super::page::characters_of;

/// From this weight on a font is bold.
const BOLD_WEIGHT: u32 = 600;

/// Characters of glyphs that only their embedded font knows: by font, by glyph.
#[derive(Default)]
pub(super) struct FontCharacters {
    fonts: HashMap<u128, HashMap<u32, char>>,
}

impl FontCharacters {
    /// The characters of a glyph: what the document says, else what its embedded font says; `None` when nobody does.
    pub fn text_of(&mut self, glyph: &Glyph<'_>) -> Option<String> {
        let told = glyph.as_unicode().map(characters_of).map(|text| plain(&text));
        match told.filter(|text| !text.is_empty() && !text.contains('\u{fffd}')) {
            Some(text) => Some(text),
            None => self.in_font(glyph).map(|char| plain(char.encode_utf8(&mut [0; 4]))),
        }
    }

    fn in_font(&mut self, glyph: &Glyph<'_>) -> Option<char> {
        let Glyph::Outline(outline) = glyph else { return None };
        let font = outline.font_data()?;
        let known = self.fonts.entry(font.cache_key).or_insert_with(|| {
            let Ok(font) = FontRef::from_index(font.data.as_ref().as_ref(), 0) else {
                return HashMap::new();
            };
            let mut known = HashMap::new();
            for (code, glyph) in font.charmap().mappings() {
                if let Some(char) = char::from_u32(code).filter(|char| !is_private(*char)) {
                    known.entry(glyph.to_u32()).or_insert(char);
                }
            }
            known
        });
        known.get(&outline.glyph_id().to_u32()).copied()
    }
}

/// Whether a glyph comes from a bold font, as far as its font says.
pub(super) fn is_bold(glyph: &Glyph<'_>) -> bool {
    let Glyph::Outline(outline) = glyph else { return false };
    outline.font_data().is_some_and(|font| {
        let name = font.postscript_name.unwrap_or_default().to_ascii_lowercase();
        font.weight.is_some_and(|weight| weight >= BOLD_WEIGHT)
            || ["bold", "black", "heavy"].iter().any(|word| name.contains(word))
    })
}

/// Text as letters: ligatures and presentation forms taken apart, fixed spaces as spaces, no control characters.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            // Ligatures of Latin and Armenian, forms of Hebrew and Arabic.
            '\u{fb00}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' => out.extend(char.nfkc()),
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}' | '\t' | '\n' | '\r' => {
                out.push(' ')
            }
            // Bullets of the Symbol and Wingdings fonts.
            '\u{f0b7}' | '\u{f06c}' | '\u{f09f}' => out.push('•'),
            '\u{f0a7}' | '\u{f06e}' => out.push('▪'),
            '\u{f0d8}' => out.push('➢'),
            '\u{f0fc}' => out.push('✓'),
            '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => {}
            char if char.is_control() => out.extend(mended(char)),
            char => out.push(char),
        }
    }
    out
}

/// The punctuation mark that a control character stands for: the low half of its number, or its place in Windows-1252.
fn mended(char: char) -> Option<char> {
    Some(match char {
        '\u{13}' | '\u{96}' => '–',
        '\u{14}' | '\u{97}' => '—',
        '\u{18}' | '\u{91}' => '‘',
        '\u{19}' | '\u{92}' => '’',
        '\u{1c}' | '\u{93}' => '“',
        '\u{1d}' | '\u{94}' => '”',
        '\u{80}' => '€',
        '\u{85}' => '…',
        '\u{95}' => '•',
        _ => return None,
    })
}

fn is_private(char: char) -> bool {
    matches!(char, '\u{e000}'..='\u{f8ff}') || char.is_control()
}

/// The combining mark that a spacing accent stands for when it is drawn over a letter.
pub(super) fn combining(accent: &str) -> Option<char> {
    Some(match accent {
        "\u{b4}" | "\u{2ca}" => '\u{301}',
        "`" | "\u{2cb}" => '\u{300}',
        "\u{a8}" => '\u{308}',
        "^" | "\u{2c6}" => '\u{302}',
        "~" | "\u{2dc}" => '\u{303}',
        "\u{af}" | "\u{2c9}" => '\u{304}',
        "\u{2d8}" => '\u{306}',
        "\u{2d9}" => '\u{307}',
        "\u{2da}" => '\u{30a}',
        "\u{2dd}" => '\u{30b}',
        "\u{2c7}" => '\u{30c}',
        "\u{b8}" => '\u{327}',
        _ => return None,
    })
}

/// Whether a script is written without spaces between words.
pub(super) fn is_spaceless(char: char) -> bool {
    matches!(char,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{303f}' | '\u{3040}'..='\u{30ff}' | '\u{3100}'..='\u{312f}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ligatures_and_presentation_forms_become_letters() {
        assert_eq!(plain("ﬁ\u{a0}ﬄ\u{fefb}"), "fi ffl\u{644}\u{627}");
        assert_eq!(plain("m\u{b2}\u{0}"), "m²");
        assert_eq!(plain("Here\u{19}s"), "Here’s");
    }
}
