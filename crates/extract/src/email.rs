//! E-mail: headers become metadata, the best body becomes text, everything else becomes attachments.
//!
//! `mail-parser` reads the messages. A mailbox is one document with a page a message; Outlook's own files are in
//! [`msg`].

use mail_parser::{Address, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use crate::builder::{Builder, clean_lines};
use crate::decode;
use crate::document::{Attachment, BlockKind, Extracted, Kind, Limits};
use crate::error::ExtractError;
use crate::html;

pub(crate) mod msg;

/// A plain body must have this share of the formatted one's text in percent; shorter ones say "see the other part".
const MIN_PLAIN_PERCENT: usize = 30;

/// Reads one message.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut builder = Builder::new(Kind::Email, limits);
    let message = parse(bytes)?;
    metadata(&message, &mut builder);
    if let Some(subject) = message.subject() {
        builder.heading(1, subject);
    }
    body(&message, bytes, &mut builder, limits);
    attachments(&message, &mut builder);
    Ok(builder.finish())
}

/// Reads a mailbox.
pub(crate) fn read_mailbox(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut builder = Builder::new(Kind::Email, limits);
    for raw in split_mailbox(bytes) {
        if builder.is_full() {
            break;
        }
        let Ok(message) = parse(raw) else {
            builder.note("skipped-part", "a message of the mailbox cannot be read", None);
            continue;
        };
        let subject = message.subject().unwrap_or("(no subject)").to_owned();
        if !builder.begin_page(Some(subject.clone())) {
            break;
        }
        builder.heading(1, &subject);
        let date = message.date().filter(|date| date.is_valid()).map(|date| date.to_rfc3339());
        let facts = [("From", addresses(message.from())), ("To", addresses(message.to())), ("Date", date)];
        let lines: Vec<String> =
            facts.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?))).collect();
        builder.block(BlockKind::Paragraph, &lines.join("\n"));
        body(&message, raw, &mut builder, limits);
        attachments(&message, &mut builder);
        builder.end_page();
    }
    Ok(builder.finish())
}

fn parse(bytes: &[u8]) -> Result<Message<'_>, ExtractError> {
    let bytes = bytes.trim_ascii_start();
    MessageParser::default()
        .parse(bytes)
        .ok_or_else(|| ExtractError::Damaged { reason: "it has no header lines".to_owned() })
}

/// Messages of a mailbox: each begins with a `From ` line after a blank one.
fn split_mailbox(bytes: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    let (mut at, mut start, mut after_blank) = (0, None, true);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if after_blank && line.starts_with(b"From ") {
            if let Some(start) = start {
                messages.push(&bytes[start..at]);
            }
            start = Some(at + line.len());
        }
        after_blank = line.trim_ascii().is_empty();
        at += line.len();
    }
    messages.push(&bytes[start.unwrap_or(0)..]);
    messages
}

fn metadata(message: &Message<'_>, builder: &mut Builder) {
    let mut set = |key: &str, value: Option<String>| builder.meta(key, &value.unwrap_or_default());
    set("title", message.subject().map(str::to_owned));
    set("subject", message.subject().map(str::to_owned));
    set("author", addresses(message.from().or(message.sender())));
    set("from", addresses(message.from().or(message.sender())));
    set("to", addresses(message.to()));
    set("cc", addresses(message.cc()));
    set("reply_to", addresses(message.reply_to()));
    set("date", message.date().filter(|date| date.is_valid()).map(|date| date.to_rfc3339()));
    set("message_id", message.message_id().map(str::to_owned));
    set("in_reply_to", message.in_reply_to().as_text().map(str::to_owned));
}

fn addresses(address: Option<&Address<'_>>) -> Option<String> {
    let written = address?.iter().filter_map(|one| match (&one.name, &one.address) {
        (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
        (Some(one), None) | (None, Some(one)) => Some(one.to_string()),
        (None, None) => None,
    });
    Some(written.collect::<Vec<_>>().join(", ")).filter(|list| !list.is_empty())
}

fn body(message: &Message<'_>, raw: &[u8], builder: &mut Builder, limits: &Limits) {
    let parts = |ids: &[u32]| ids.iter().filter_map(|id| message.parts.get(*id as usize)).collect::<Vec<_>>();
    let plain = parts(&message.text_body);
    let rich = parts(&message.html_body);
    let length = |parts: &[&MessagePart<'_>]| -> usize {
        let of = |part: &&MessagePart<'_>| match &part.body {
            PartType::Text(text) => text.trim().len(),
            PartType::Html(html) => mail_parser::decoders::html::html_to_text(html).trim().len(),
            _ => 0,
        };
        parts.iter().map(of).sum()
    };
    let has_html =
        |parts: &[&MessagePart<'_>]| parts.iter().any(|part| matches!(part.body, PartType::Html(_)));
    // Only a message with both forms needs the comparison.
    let is_stub =
        || has_html(&rich) && !has_html(&plain) && length(&plain) * 100 < length(&rich) * MIN_PLAIN_PERCENT;
    let chosen = if plain.is_empty() || is_stub() { rich } else { plain };
    for part in chosen {
        match &part.body {
            PartType::Text(text) => plain_text(&repaired(part, text, raw), builder),
            PartType::Html(text) => {
                html::content_into(&repaired(part, text, raw), builder, limits);
            }
            _ => {}
        }
    }
}

/// Text of a part, guessed anew where it names no encoding or the wrong one.
fn repaired(part: &MessagePart<'_>, text: &str, raw: &[u8]) -> String {
    if !(part.is_encoding_problem || text.contains('\u{fffd}')) {
        return text.to_owned();
    }
    let is_packed = matches!(
        part.content_transfer_encoding().map(str::to_ascii_lowercase).as_deref(),
        Some("base64" | "quoted-printable")
    );
    let raw = raw.trim_ascii_start();
    let bytes = raw.get(part.offset_body as usize..part.offset_end as usize).filter(|_| !is_packed);
    bytes
        .and_then(|bytes| decode::decode(bytes, None))
        .map_or_else(|| text.to_owned(), |decoded| decoded.text)
}

/// Paragraphs of a plain body; quoted lines of a reply are quotations.
fn plain_text(text: &str, builder: &mut Builder) {
    let text = clean_lines(text);
    let mut kept: Vec<&str> = Vec::new();
    let mut kind = BlockKind::Paragraph;
    for line in text.lines().chain([""]) {
        let is_quote = line.starts_with('>');
        let next = if is_quote { BlockKind::Quote } else { BlockKind::Paragraph };
        if line.trim().is_empty() || next != kind {
            builder.block(kind, &kept.join("\n"));
            kept.clear();
        }
        kind = next;
        kept.push(line);
    }
}

fn attachments(message: &Message<'_>, builder: &mut Builder) {
    for (at, part) in message.attachments().enumerate() {
        let media_type = part.content_type().map(|kind| match kind.subtype() {
            Some(subtype) => format!("{}/{subtype}", kind.ctype()).to_ascii_lowercase(),
            None => kind.ctype().to_ascii_lowercase(),
        });
        let nested = part.message();
        let name = part.attachment_name().map(str::to_owned).or_else(|| {
            nested.map(|message| format!("{}.eml", message.subject().unwrap_or("message").trim()))
        });
        let name = name.unwrap_or_else(|| format!("attachment-{}", at + 1));
        let media_type = if nested.is_some() { Some("message/rfc822".to_owned()) } else { media_type };
        let bytes = part.contents().to_vec();
        if !bytes.is_empty() {
            builder.attach(Attachment { name: plain_name(&name), media_type, bytes });
        }
    }
}

/// The last part of a name, without what a path or a terminal could be tricked with.
pub(super) fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let name: String = last.chars().filter(|char| !char.is_control()).take(200).collect();
    let name = name.trim().trim_start_matches("..").to_owned();
    if name.is_empty() { "attachment".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::debug_check;

    fn read_mail(text: &str) -> Extracted {
        let limits = Limits::default();
        let out = read(text.replace('\n', "\r\n").as_bytes(), &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        out
    }

    #[test]
    fn headers_become_metadata_and_quotes_stay() {
        let out = read_mail(
            "From: Ada <ada@example.org>\nTo: bob@example.org\nSubject: =?utf-8?q?Caf=C3=A9?=\n\
             Date: Mon, 1 Jan 2024 10:00:00 +0100\n\nYes, at noon.\n\nBob wrote:\n> Shall we meet?\n> Soon?\n",
        );
        assert_eq!(out.text, "Café\n\nYes, at noon.\n\nBob wrote:\n\n> Shall we meet?\n> Soon?");
        assert_eq!(out.blocks.last().unwrap().kind, BlockKind::Quote);
        assert_eq!(out.metadata["from"], "Ada <ada@example.org>");
        assert_eq!(out.metadata["date"], "2024-01-01T10:00:00+01:00");
    }

    #[test]
    fn the_better_body_is_taken_and_the_rest_attached() {
        let out = read_mail(
            "From: a@example.org\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=m\n\n\
             --m\nContent-Type: multipart/alternative; boundary=x\n\n--x\nContent-Type: text/plain\n\nSee HTML\n\
             --x\nContent-Type: text/html\n\n<p>A long letter about the harbour in winter.</p><ul><li>one</ul>\n--x--\n\
             --m\nContent-Type: application/pdf; name=\"../../a.pdf\"\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nJVBERg==\n\
             --m\nContent-Type: message/rfc822\n\nFrom: b@example.org\nSubject: inner\n\nhello\n--m--\n",
        );
        assert_eq!(out.text, "s\n\nA long letter about the harbour in winter.\n\n- one");
        let names: Vec<_> =
            out.attachments.iter().map(|it| (it.name.as_str(), it.media_type.as_deref())).collect();
        assert_eq!(names, [("a.pdf", Some("application/pdf")), ("inner.eml", Some("message/rfc822"))]);
        assert_eq!(out.attachments[0].bytes, b"%PDF");
        let inner = read(&out.attachments[1].bytes, &Limits::default()).unwrap();
        assert_eq!(inner.text, "inner\n\nhello");
    }

    #[test]
    fn a_mailbox_has_a_page_a_message() {
        let limits = Limits::default();
        let text = "From a Mon Jan  1 00:00:00 2024\nFrom: a@x.org\nSubject: one\n\nbody\nFrom here on\n\nFrom b Mon Jan  1 00:00:00 2024\nFrom: b@x.org\nSubject: two\n\nmore\n";
        let out = read_mailbox(text.as_bytes(), &limits).unwrap();
        assert_eq!(debug_check(&out, &limits), None);
        let names: Vec<_> = out.pages.iter().map(|page| page.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["one", "two"]);
        assert!(out.text.contains("body\nFrom here on"));
    }
}
