//! Where documents come from: folders, files, git working trees, rows, web sites.
//!
//! A [`SourceSpec`] is opened as a [`Source`], which lists its documents as [`Entry`]s and fetches one as
//! [`Fetched`]. What cannot be had is a [`Problem`] of that document; the others go on. What is not here: what the
//! bytes mean, and whether somebody approved to read them ([`Source::outside`] says what there is to ask).

mod age;
mod file;
mod folder;
mod git;
mod metadata;
mod names;
mod open;
mod patterns;
mod rows;
mod spool;
#[cfg(test)]
mod tests;
mod web;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use age::{AgeError, parse_age};
pub use open::{Earlier, Listing, Source, SourceContext, SourceError, Variables};

/// One entry of `sources` in `indexes/NAME.yaml`. Exactly one of `path`, `rows`, `sitemap` and `site` says what it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceSpec {
    /// Name in reports and in the metadata field `source`; default: the last part of the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A folder or a file, absolute or relative to the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Globs taken, relative to the folder; empty means everything that can be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Globs left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Honour `.gitignore` and `.ignore` files; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_files: Option<bool>,
    /// `tracked`: only files that git tracks in this working tree; the commit goes into the metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// A file of rows: `.jsonl`, `.csv`, `.tsv`, `.parquet` (a `.gz` behind it is fine). Each row is a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// Text of a row, such as `"{{title}}\n\n{{text}}"`; default: the column `text`, after `title` where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Column that names a row; default: `_id`, `id`, else the row's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Columns of a row, or keys of every document of this source, that become metadata: names, or fixed values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// Address of a sitemap (or an index of sitemaps).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sitemap: Option<String>,
    /// Addresses of pages; with `depth` links on the same host are followed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub site: Vec<String>,
    /// How far links are followed from `site`; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Most pages; default 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pages: Option<usize>,
    /// Most requests a second; default 1, and never quicker than the site's `Crawl-delay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// `${env:NAME}` that opens encrypted documents. Never a password itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Language of its documents (ISO 639-1), where detection is not wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// How old what was fetched may be, such as `7d`; older is told by `index inspect` and fetched by `index refresh`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// Largest document in bytes, where the default does not suit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// What a source lists: a document that can be fetched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Name of the document: unique in the index, stable, with `/`. A file is named by its path within the source, a row
    /// by its id, a page by its address; two sources that would clash get their name in front.
    pub name: String,
    /// Name of the source.
    pub source: String,
    /// Where it is: path, address, or `FILE#ROW`.
    pub uri: String,
    /// Changes when the document may have: size and time of a file, `ETag` or `Last-Modified` of a page, digest of a row.
    pub stamp: String,
    /// Metadata that the source gives.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// A document as it came. Layer one keeps the bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fetched {
    /// What the source said of it.
    pub entry: Entry,
    /// Bytes.
    pub bytes: Vec<u8>,
    /// Media type, where a server told.
    pub media_type: Option<String>,
    /// Password to open it with, resolved; never kept.
    pub password: Option<String>,
    /// Language its source states.
    pub language: Option<String>,
    /// When the document was last changed, in milliseconds since 1970, where known.
    pub modified_ms: Option<u64>,
}

/// A document, or a part of a source, that could not be had; the others can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which document, file or address.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
