//! Outlook's message files: properties in a compound file.

use std::io::{Cursor, Read};

use cfb::CompoundFile;
use mail_parser::MessageParser;

use super::{plain_name, plain_text};
use crate::builder::Builder;
use crate::decode::{self, code_page};
use crate::document::{Attachment, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::{html, rtf};

type File<'a> = CompoundFile<Cursor<&'a [u8]>>;

/// Seconds from 1601, where these files begin to count, to 1970.
const EPOCH_OFFSET_SECONDS: i64 = 11_644_473_600;
/// Messages inside messages that are followed.
const MAX_NESTED: usize = 8;

/// Reads a message file.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let file = CompoundFile::open(Cursor::new(bytes)).map_err(|error| ExtractError::Damaged {
        reason: format!("its compound file cannot be opened ({error})"),
    })?;
    let mut reader = Reader { file, left: limits.max_unpacked_bytes };
    let mut builder = Builder::new(Kind::Email, limits);
    let root = String::new();
    for (key, value) in reader.facts(&root)? {
        builder.meta(key, &value);
    }
    if let Some(subject) = reader.text(&root, 0x37)? {
        builder.heading(1, &subject);
    }
    reader.body(&root, &mut builder, limits)?;
    for attachment in reader.attachments(&root, MAX_NESTED, limits)? {
        builder.attach(attachment);
    }
    Ok(builder.finish())
}

struct Reader<'a> {
    file: File<'a>,
    left: u64,
}

impl Reader<'_> {
    fn stream(&mut self, path: &str) -> Result<Option<Vec<u8>>, ExtractError> {
        if !self.file.is_stream(path) {
            return Ok(None);
        }
        let damaged = |error: std::io::Error| ExtractError::Damaged {
            reason: format!("`{path}` cannot be read ({error})"),
        };
        let mut bytes = Vec::new();
        let stream = self.file.open_stream(path).map_err(damaged)?;
        stream.take(self.left + 1).read_to_end(&mut bytes).map_err(damaged)?;
        let length = bytes.len() as u64;
        if length > self.left {
            return Err(ExtractError::TooLarge {
                what: "what its streams hold".to_owned(),
                limit: "the limit of unpacked bytes".to_owned(),
            });
        }
        self.left -= length;
        Ok(Some(bytes))
    }

    /// A text property of an object: in Unicode, or in the code page of the message.
    fn text(&mut self, object: &str, property: u16) -> Result<Option<String>, ExtractError> {
        if let Some(bytes) = self.stream(&format!("{object}/__substg1.0_{property:04X}001F"))? {
            let (text, _) = encoding_rs::UTF_16LE.decode_without_bom_handling(&bytes);
            return Ok(Some(text.trim_end_matches('\0').to_owned()).filter(|text| !text.trim().is_empty()));
        }
        let Some(bytes) = self.stream(&format!("{object}/__substg1.0_{property:04X}001E"))? else {
            return Ok(None);
        };
        let page = self.fixed(object, 0x3ffd)?.map(|value| u32::try_from(value & 0xffff_ffff).unwrap_or(0));
        let label = page.and_then(code_page).map(|encoding| encoding.name());
        let text = decode::decode(&bytes, label).map(|decoded| decoded.text).unwrap_or_default();
        Ok(Some(text.trim_end_matches('\0').to_owned()).filter(|text| !text.trim().is_empty()))
    }

    /// A property of fixed length: eight bytes.
    fn fixed(&mut self, object: &str, property: u16) -> Result<Option<u64>, ExtractError> {
        let Some(bytes) = self.stream(&format!("{object}/__properties_version1.0"))? else { return Ok(None) };
        // Entries of 16 bytes follow a head of 32, 24 or 8; all three are multiples of eight.
        let head = if object.is_empty() {
            32
        } else if object.contains("__attach") && !object.contains("3701000D") {
            8
        } else {
            24
        };
        let mut entries = bytes.get(head..).unwrap_or_default().chunks_exact(16);
        let found = entries.rfind(|entry| entry[2..4] == property.to_le_bytes());
        Ok(found.and_then(|entry| <[u8; 8]>::try_from(&entry[8..16]).ok()).map(u64::from_le_bytes))
    }

    fn facts(&mut self, object: &str) -> Result<Vec<(&'static str, String)>, ExtractError> {
        let mut facts = Vec::new();
        let subject = self.text(object, 0x37)?.unwrap_or_default();
        let sender = self.text(object, 0x0c1a)?;
        let mut address = None;
        for property in [0x5d01, 0x5d02, 0x0c1f, 0x0065] {
            address = address.or(self.text(object, property)?.filter(|text| text.contains('@')));
        }
        let from = match (sender, address) {
            (Some(name), Some(address)) if name != address => format!("{name} <{address}>"),
            (one, other) => one.or(other).unwrap_or_default(),
        };
        let mut date = None;
        for property in [0x0039, 0x0e06, 0x3007] {
            date = date.or(self.fixed(object, property)?.filter(|ticks| *ticks > 0));
        }
        let date = date.and_then(|ticks| i64::try_from(ticks / 10_000_000).ok());
        let date = date.map(|seconds| mail_parser::DateTime::from_timestamp(seconds - EPOCH_OFFSET_SECONDS));
        let date = date.filter(|date| date.is_valid()).map(|date| date.to_rfc3339());
        let headers = self.text(object, 0x7d)?.unwrap_or_default();
        let parsed = MessageParser::default().parse_headers(headers.as_bytes());
        let sent = parsed.as_ref().and_then(|message| message.date()).filter(|date| date.is_valid());
        facts.push(("title", subject.clone()));
        facts.push(("subject", subject));
        facts.push(("author", from.clone()));
        facts.push(("from", from));
        facts.push(("to", self.text(object, 0x0e04)?.unwrap_or_default()));
        facts.push(("cc", self.text(object, 0x0e03)?.unwrap_or_default()));
        facts.push(("date", date.or(sent.map(|date| date.to_rfc3339())).unwrap_or_default()));
        facts.push(("message_id", self.text(object, 0x1035)?.unwrap_or_default()));
        for (_, value) in &mut facts {
            *value = value.replace('\0', "");
        }
        Ok(facts)
    }

    fn body(&mut self, object: &str, builder: &mut Builder, limits: &Limits) -> Result<(), ExtractError> {
        if let Some(text) = self.text(object, 0x1000)? {
            plain_text(&text, builder);
            return Ok(());
        }
        let html = match self.stream(&format!("{object}/__substg1.0_10130102"))? {
            Some(bytes) => decode::decode(&bytes, None).map(|decoded| decoded.text),
            None => self.text(object, 0x1013)?,
        };
        if let Some(html) = html {
            html::content_into(&html, builder, limits);
            return Ok(());
        }
        if let Some(bytes) = self.stream(&format!("{object}/__substg1.0_10090102"))?
            && let Some(rich) = unpack_rtf(&bytes, limits)
        {
            html::replay(rtf::read(&rich, limits)?, builder);
        }
        Ok(())
    }

    fn attachments(
        &mut self,
        object: &str,
        depth: usize,
        limits: &Limits,
    ) -> Result<Vec<Attachment>, ExtractError> {
        let storages: Vec<String> = match self.file.read_storage(if object.is_empty() { "/" } else { object })
        {
            Ok(entries) => entries
                .filter(|entry| entry.is_storage() && entry.name().starts_with("__attach_version1.0_"))
                .map(|entry| entry.name().to_owned())
                .take(limits.max_parts)
                .collect(),
            Err(_) => Vec::new(),
        };
        let mut out = Vec::new();
        for storage in storages {
            let at = format!("{object}/{storage}");
            let long = self.text(&at, 0x3707)?;
            let name = match long {
                Some(name) => Some(name),
                None => self.text(&at, 0x3704)?,
            };
            let inner = format!("{at}/__substg1.0_3701000D");
            if let Some(bytes) = self.stream(&format!("{at}/__substg1.0_37010102"))? {
                let media_type = self.text(&at, 0x370e)?;
                let name = plain_name(&name.unwrap_or_else(|| format!("attachment-{}", out.len() + 1)));
                out.push(Attachment { name, media_type, bytes });
            } else if depth > 0
                && self.file.is_storage(&inner)
                && self.file.exists(format!("{inner}/__properties_version1.0"))
            {
                out.push(self.as_mail(&inner, limits)?);
            }
        }
        Ok(out)
    }

    /// A message inside a message, written as an ordinary mail, because no file of its own exists.
    fn as_mail(&mut self, object: &str, limits: &Limits) -> Result<Attachment, ExtractError> {
        let mut text = String::new();
        let facts = self.facts(object)?;
        for (key, header) in
            [("from", "From"), ("to", "To"), ("cc", "Cc"), ("subject", "Subject"), ("date", "Date")]
        {
            let value = facts.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            let value = match mail_parser::DateTime::parse_rfc3339(value).filter(|_| key == "date") {
                Some(date) => date.to_rfc822(),
                None => crate::builder::one_line(value),
            };
            text.push_str(&format!("{header}: {value}\r\n"));
        }
        let mut body = Builder::new(Kind::Email, limits);
        self.body(object, &mut body, limits)?;
        text.push_str("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
        text.push_str(&body.finish().text);
        let subject =
            facts.iter().find(|(name, _)| *name == "subject").map_or("message", |(_, value)| value.as_str());
        let name = plain_name(&format!("{}.eml", if subject.is_empty() { "message" } else { subject }));
        Ok(Attachment { name, media_type: Some("message/rfc822".to_owned()), bytes: text.into_bytes() })
    }
}

/// Rich text as these files pack it (MS-OXRTFCP): references into a ring of 4096 bytes that starts with common words.
fn unpack_rtf(bytes: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    const START: &[u8] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";
    let magic = bytes.get(8..12)?;
    let packed = bytes.get(16..)?;
    if magic == b"MELA" {
        return Some(packed.to_vec());
    }
    let mut ring = [b' '; 4096];
    ring[..START.len()].copy_from_slice(START);
    let mut end = START.len();
    let mut out = Vec::new();
    let mut at = 0;
    while at < packed.len() && (out.len() as u64) < limits.max_unpacked_bytes {
        let flags = packed[at];
        at += 1;
        for bit in 0..8 {
            if flags >> bit & 1 == 0 {
                let Some(byte) = packed.get(at) else { return Some(out) };
                at += 1;
                out.push(*byte);
                ring[end] = *byte;
                end = (end + 1) % 4096;
                continue;
            }
            let Some([high, low]) = packed.get(at..at + 2) else { return Some(out) };
            at += 2;
            let offset = usize::from(*high) << 4 | usize::from(*low) >> 4;
            if offset == end {
                return Some(out);
            }
            for step in 0..usize::from(low & 15) + 2 {
                let byte = ring[(offset + step) % 4096];
                out.push(byte);
                ring[end] = byte;
                end = (end + 1) % 4096;
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::builder::debug_check;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn a_message_gives_subject_body_and_attachments() {
        let mut file = CompoundFile::create(Cursor::new(Vec::new())).unwrap();
        let mut put = |path: &str, bytes: &[u8]| file.create_stream(path).unwrap().write_all(bytes).unwrap();
        let mut properties = vec![0; 32];
        let ticks = (1_704_067_200 + EPOCH_OFFSET_SECONDS) as u64 * 10_000_000;
        properties.extend([0x40, 0, 0x39, 0, 6, 0, 0, 0]);
        properties.extend(ticks.to_le_bytes());
        put("/__properties_version1.0", &properties);
        put("/__substg1.0_0037001F", &utf16("Grüße"));
        put("/__substg1.0_1000001F", &utf16("Hello\r\n\r\n> before"));
        put("/__substg1.0_0C1A001E", b"Ada");
        put("/__substg1.0_0C1F001E", b"ada@example.org");
        file.create_storage("/__attach_version1.0_#00000000").unwrap();
        let mut put = |path: &str, bytes: &[u8]| file.create_stream(path).unwrap().write_all(bytes).unwrap();
        put("/__attach_version1.0_#00000000/__substg1.0_3707001F", &utf16("a.txt"));
        put("/__attach_version1.0_#00000000/__substg1.0_37010102", b"inside");
        file.flush().unwrap();
        let bytes = file.into_inner().into_inner();
        let limits = Limits::default();
        let out = read(&bytes, &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        assert_eq!(out.text, "Grüße\n\nHello\n\n> before");
        assert_eq!(out.metadata["from"], "Ada <ada@example.org>");
        assert_eq!(out.metadata["date"], "2024-01-01T00:00:00Z");
        assert_eq!(
            (out.attachments[0].name.as_str(), out.attachments[0].bytes.as_slice()),
            ("a.txt", &b"inside"[..])
        );
    }

    #[test]
    fn packed_rich_text_is_unpacked() {
        // The example of the format's description.
        let packed = [
            0x2d, 0, 0, 0, 0x2b, 0, 0, 0, 0x4c, 0x5a, 0x46, 0x75, 0xf1, 0xc5, 0xc7, 0xa7, 0x03, 0, 0x0a, 0,
            0x72, 0x63, 0x70, 0x67, 0x31, 0x32, 0x35, 0x42, 0x32, 0x0a, 0xf3, 0x20, 0x68, 0x65, 0x6c, 0x09,
            0, 0x20, 0x62, 0x77, 0x05, 0xb0, 0x6c, 0x64, 0x7d, 0x0a, 0x80, 0x0f, 0xa0,
        ];
        assert_eq!(
            unpack_rtf(&packed, &Limits::default()).unwrap(),
            b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
        );
    }
}
