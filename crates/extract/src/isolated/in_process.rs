//! Reading in this process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crate::document::{ExtractRequest, Extracted, Limits};
use crate::error::ExtractError;
use crate::{Extractor, dispatch};

/// Deep nesting is refused by count, and counts are made for stacks of this size.
pub(super) const STACK_BYTES: u64 = 64 << 20;

/// Reads documents in this process, for tests and for documents of one's own making. Panics are caught and become
/// [`ExtractError::Crashed`]; a hang, hunger or an overflowing stack is not survived.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess {
    /// Bounds; those of time and memory are not held.
    pub limits: Limits,
}

impl Extractor for InProcess {
    fn extract(&self, request: &ExtractRequest) -> Result<Extracted, ExtractError> {
        thread::scope(|scope| {
            let read = || guarded(|| dispatch::extract(request, &self.limits));
            let reader = thread::Builder::new().stack_size(STACK_BYTES as usize).spawn_scoped(scope, read);
            match reader.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(answer)) => answer,
                Ok(Err(panic)) => Err(crashed(panic.as_ref())),
                Err(error) => Err(ExtractError::NoReader { reason: error.to_string() }),
            }
        })
    }
}

/// Runs a reader; its panic is an error of the document.
pub(super) fn guarded(
    read: impl FnOnce() -> Result<Extracted, ExtractError>,
) -> Result<Extracted, ExtractError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(crashed(panic.as_ref())))
}

fn crashed(panic: &(dyn Any + Send)) -> ExtractError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it panicked without words");
    ExtractError::Crashed { reason: text.lines().next().unwrap_or_default().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_its_document() {
        let error = guarded(|| panic!("page 7 is upside down")).unwrap_err();
        assert_eq!(error.to_string(), "its reader crashed: page 7 is upside down");
    }
}
