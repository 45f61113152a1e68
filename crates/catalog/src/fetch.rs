//! One file over the network: resumed where it broke, never larger than promised, checked before it counts.
//!
//! What has come lies in a partial file, with a note of the server's validator beside it. A resumed file whose digest
//! is wrong is brought once more from its beginning, because the server may have changed it in between; a file that
//! was brought in one go and is wrong is wrong.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowbench_net::{Limits, NetError, Outbound, Policy, Request, Response};
use serde::{Deserialize, Serialize};
use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::digest::{Measured, measure};
use crate::error::{CatalogError, disk};

/// Failures in a row, without a byte of progress, before giving up.
const MOST_FAILURES: u32 = 5;

/// Attempts in all: a server that sends a byte at a time is not one to wait for.
const MOST_ATTEMPTS: u32 = 100;

/// Longest pause between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Who says that this address may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The user's own settings name the host, or a service that they name; it may be private.
    Configured,
    /// The program names it: any public host.
    Public,
    /// Only the opened folder names it: what the caller's policy allows.
    Policy,
}

/// What is to be brought.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// For messages.
    pub file: String,
    pub url: String,
    pub sha256: Option<String>,
    pub bytes: Option<u64>,
    /// The most that is taken where no size is known.
    pub limit: u64,
    pub headers: Vec<(String, String)>,
    pub trust: Trust,
}

/// Beside a partial file: what its bytes are part of.
#[derive(Serialize, Deserialize)]
struct Validator {
    url: String,
    value: String,
}

/// Why an answer did not bring the file.
enum Stop {
    /// No use to ask again.
    Final(CatalogError),
    /// It may work in a moment.
    Again(CatalogError),
}

/// Sends a request under the right trust.
pub(crate) async fn send(net: &Outbound, request: Request, trust: Trust) -> Result<Response, NetError> {
    match trust {
        Trust::Configured => {
            Box::pin(net.with_policy(Policy::any_public()).send(request.approved(true))).await
        }
        Trust::Public => Box::pin(net.with_policy(Policy::any_public()).send(request)).await,
        Trust::Policy => Box::pin(net.send(request)).await,
    }
}

/// Brings a file to `partial`, complete and checked. On an error what has come stays there for the next time, unless
/// it is wrong.
pub(crate) async fn fetch(
    net: &Outbound,
    wanted: &Wanted,
    partial: &Path,
    wait: Duration,
    told: &(dyn Fn(u64) + Send + Sync),
) -> Result<Measured, CatalogError> {
    let mut is_second_try = false;
    loop {
        let is_pieced = bring(net, wanted, partial, wait, told).await?;
        let measured = measured(partial).await?;
        let Err(error) = check(wanted, &measured) else {
            forget(&validator_path(partial)).await?;
            return Ok(measured);
        };
        discard(partial).await?;
        if !is_pieced || is_second_try {
            return Err(error);
        }
        is_second_try = true;
    }
}

fn check(wanted: &Wanted, measured: &Measured) -> Result<(), CatalogError> {
    let file = || wanted.file.clone();
    match (&wanted.bytes, &wanted.sha256) {
        (Some(expected), _) if *expected != measured.bytes => {
            Err(CatalogError::Size { file: file(), expected: *expected, found: measured.bytes })
        }
        (_, Some(expected)) if *expected != measured.sha256 => {
            let (expected, found) = (expected.clone(), measured.sha256.clone());
            Err(CatalogError::Digest { file: file(), expected, found })
        }
        _ => Ok(()),
    }
}

/// Asks until everything is there; true if it was put together from pieces of several answers.
async fn bring(
    net: &Outbound,
    wanted: &Wanted,
    partial: &Path,
    wait: Duration,
    told: &(dyn Fn(u64) + Send + Sync),
) -> Result<bool, CatalogError> {
    let mut failures = 0;
    for _ in 0..MOST_ATTEMPTS {
        let mut have = size_of(partial).await?;
        if have > wanted.bytes.unwrap_or(wanted.limit) {
            discard(partial).await?;
            have = 0;
        }
        if have > 0 && wanted.bytes == Some(have) {
            return Ok(true);
        }
        let error = match Box::pin(one_answer(net, wanted, partial, have, told)).await {
            Ok(()) => match (wanted.bytes, size_of(partial).await?) {
                (Some(expected), found) if found < expected => {
                    CatalogError::Size { file: wanted.file.clone(), expected, found }
                }
                _ => return Ok(have > 0),
            },
            Err(Stop::Final(error)) => return Err(error),
            Err(Stop::Again(error)) => error,
        };
        failures = if size_of(partial).await? > have { 1 } else { failures + 1 };
        if failures >= MOST_FAILURES {
            return Err(error);
        }
        tokio::time::sleep((wait * 2_u32.pow(failures - 1)).min(LONGEST_WAIT)).await;
    }
    let reason = format!("it did not finish in {MOST_ATTEMPTS} attempts");
    let source = NetError::Broken { host: host_of(&wanted.url), reason };
    Err(CatalogError::Net { file: wanted.file.clone(), source })
}

/// One request, from byte `have` on, appended to the partial file.
async fn one_answer(
    net: &Outbound,
    wanted: &Wanted,
    partial: &Path,
    have: u64,
    told: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), Stop> {
    let mut answer = ask(net, wanted, partial, have).await?;
    let start = match answer.status {
        206 => resumed_at(&answer, have),
        416 if total_of(&answer) == Some(have) => return Ok(()),
        200 => Some(0),
        416 => None,
        status => {
            let (host, file) = (host_of(&answer.url), wanted.file.clone());
            let error = CatalogError::Answer { host, status, file };
            return Err(match status {
                408 | 429 | 500 | 502 | 503 | 504 => Stop::Again(error),
                _ => Stop::Final(error),
            });
        }
    };
    let Some(start) = start else {
        // What we have is no part of what the server has now.
        discard(partial).await.map_err(Stop::Final)?;
        let source =
            NetError::Broken { host: host_of(&answer.url), reason: "it changed meanwhile".to_owned() };
        return Err(Stop::Again(CatalogError::Net { file: wanted.file.clone(), source }));
    };
    check_stated_size(wanted, &answer, start).map_err(Stop::Final)?;
    note_validator(&answer, wanted, partial).await.map_err(Stop::Final)?;
    let write_failed = |error: io::Error| Stop::Final(disk(partial)(error));
    let mut options = OpenOptions::new();
    options.create(true).write(true).append(start > 0).truncate(start == 0);
    let mut file = options.open(partial).await.map_err(write_failed)?;
    let mut at = start;
    let outcome = loop {
        match answer.body.next().await {
            Ok(Some(piece)) => {
                at += piece.len() as u64;
                let limit = wanted.bytes.unwrap_or(wanted.limit);
                if at > limit {
                    drop(file);
                    discard(partial).await.map_err(Stop::Final)?;
                    return Err(Stop::Final(CatalogError::TooLarge { file: wanted.file.clone(), limit }));
                }
                file.write_all(&piece).await.map_err(write_failed)?;
                told(at);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(stop(wanted, error, at > 0)),
        }
    };
    // Kept even when it broke off: that is what the next attempt goes on from.
    file.flush().await.map_err(write_failed)?;
    outcome
}

async fn ask(net: &Outbound, wanted: &Wanted, partial: &Path, have: u64) -> Result<Response, Stop> {
    let limits = Limits {
        headers: Duration::from_secs(60),
        idle: Duration::from_secs(60),
        // A day: large models over thin lines. A line that stands still ends much sooner.
        total: Duration::from_secs(24 * 3600),
        body_bytes: wanted.bytes.unwrap_or(wanted.limit),
    };
    let mut request = Request::get(&wanted.url).uncompressed().limits(limits);
    for (name, value) in &wanted.headers {
        request = request.header(name, value);
    }
    if have > 0 {
        request = request.range_from(have);
        if let Some(value) = validator_of(partial, &wanted.url).await {
            request = request.header("if-range", value);
        }
    }
    send(net, request, wanted.trust).await.map_err(|error| stop(wanted, error, have > 0))
}

/// Whether it is worth asking again. A host that cannot be reached at all is not, one that was reached before is.
fn stop(wanted: &Wanted, error: NetError, was_reached: bool) -> Stop {
    let is_passing = match &error {
        NetError::Broken { .. } | NetError::Timeout { .. } => true,
        NetError::Connect { .. } => was_reached,
        _ => false,
    };
    let error = match error {
        NetError::TooLarge { limit, .. } => CatalogError::TooLarge { file: wanted.file.clone(), limit },
        source => CatalogError::Net { file: wanted.file.clone(), source },
    };
    if is_passing { Stop::Again(error) } else { Stop::Final(error) }
}

/// A size that the server states and the record does not: known before anything is downloaded.
fn check_stated_size(wanted: &Wanted, answer: &Response, start: u64) -> Result<(), CatalogError> {
    let length = answer.header("content-length").and_then(|length| length.parse::<u64>().ok());
    let stated = total_of(answer).or(length.map(|length| start.saturating_add(length)));
    match (wanted.bytes, stated) {
        (Some(expected), Some(found)) if expected != found => {
            Err(CatalogError::Size { file: wanted.file.clone(), expected, found })
        }
        _ => Ok(()),
    }
}

/// The byte at which a 206 goes on, if it is the one we asked for.
fn resumed_at(answer: &Response, have: u64) -> Option<u64> {
    let range = answer.header("content-range")?.trim().strip_prefix("bytes ")?;
    let start: u64 = range.split('-').next()?.trim().parse().ok()?;
    (start == have && have > 0).then_some(start)
}

/// The size of the whole, as `content-range` states it.
fn total_of(answer: &Response) -> Option<u64> {
    answer.header("content-range")?.rsplit_once('/')?.1.trim().parse().ok()
}

async fn note_validator(answer: &Response, wanted: &Wanted, partial: &Path) -> Result<(), CatalogError> {
    let path = validator_path(partial);
    // Weak validators promise the same meaning, not the same bytes.
    let etag = answer.header("etag").filter(|etag| !etag.starts_with("W/"));
    let Some(value) = etag.or_else(|| answer.header("last-modified")) else { return forget(&path).await };
    let validator = Validator { url: wanted.url.clone(), value: value.to_owned() };
    let text = serde_json::to_string(&validator)
        .map_err(|error| CatalogError::Internal { reason: error.to_string() })?;
    fs::write(&path, text).await.map_err(disk(path))
}

async fn validator_of(partial: &Path, url: &str) -> Option<String> {
    let text = fs::read_to_string(validator_path(partial)).await.ok()?;
    let validator: Validator = serde_json::from_str(&text).ok()?;
    (validator.url == url).then_some(validator.value)
}

fn validator_path(partial: &Path) -> PathBuf {
    partial.with_added_extension("from")
}

async fn measured(path: &Path) -> Result<Measured, CatalogError> {
    let path = path.to_owned();
    blocking(move || measure(&path).map_err(disk(path))).await
}

/// Work that would hold up the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CatalogError> + Send + 'static,
) -> Result<T, CatalogError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err(CatalogError::Internal { reason: error.to_string() }))
}

async fn size_of(path: &Path) -> Result<u64, CatalogError> {
    match fs::metadata(path).await {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(disk(path)(error)),
    }
}

/// Removes a partial file with what is noted beside it.
pub(crate) async fn discard(partial: &Path) -> Result<(), CatalogError> {
    forget(partial).await?;
    forget(&validator_path(partial)).await
}

async fn forget(path: &Path) -> Result<(), CatalogError> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(path)(error)),
        _ => Ok(()),
    }
}

/// Host and port of an address, for messages.
pub(crate) fn host_of(url: &str) -> String {
    let Ok(url) = url::Url::parse(url) else { return "?".to_owned() };
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
