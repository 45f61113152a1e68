//! Recordings on disk behind the engine's recorder and replayer.

use std::sync::{Arc, Mutex, PoisonError};

use flowbench_run::recording::{CallKind, CallRecord, Recorder, Replayer};
use flowbench_store::{RecordedCall, RecordingReader, RecordingWriter};
use serde_json::json;

use crate::error::ApiError;

/// Keeps calls in a file; the first failure is kept and told at the end.
pub struct FileRecorder {
    writer: RecordingWriter,
    failure: Mutex<Option<String>>,
}

/// The word of a kind in a recording.
fn word(kind: CallKind) -> String {
    json!(kind).as_str().unwrap_or_default().to_owned()
}

impl FileRecorder {
    /// Writes with this writer.
    pub fn new(writer: RecordingWriter) -> Arc<Self> {
        Arc::new(Self { writer, failure: Mutex::new(None) })
    }

    /// Fails if a call could not be kept: a recording with gaps must not pass for a whole one.
    pub fn check(&self) -> Result<(), ApiError> {
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(message) => Err(ApiError::could_not("recording", message)),
        }
    }
}

impl Recorder for FileRecorder {
    fn record(&self, call: CallRecord) {
        let (response, error) = match call.response {
            Ok(response) => (Some(response), None),
            Err(error) => (None, Some(error)),
        };
        let kept = self.writer.record(RecordedCall {
            kind: word(call.kind),
            key: call.key,
            ordinal: 0,
            scope: call.scope,
            request: call.request,
            response,
            error,
        });
        if let Err(error) = kept {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.to_string());
        }
    }
}

/// Answers from a file.
pub struct FileReplayer(pub RecordingReader);

impl Replayer for FileReplayer {
    fn find(&self, kind: CallKind, key: &str) -> Option<CallRecord> {
        // Keys name the place in the run, so that a second call with the same key is a repeated run.
        let found = self.0.next(&word(kind), key).ok()??;
        let response = match (found.response, found.error) {
            (_, Some(error)) => Err(error),
            (response, None) => Ok(response.unwrap_or_default()),
        };
        Some(CallRecord { kind, key: found.key, scope: found.scope, request: found.request, response })
    }
}

/// A recording's error as the engine tells it.
pub fn recording_error(error: flowbench_store::RecordingError) -> ApiError {
    ApiError::wrong_use("recording", error.to_string())
}
