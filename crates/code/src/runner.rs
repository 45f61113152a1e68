//! The engine's port: sends each call to Python workers or to the script engine.

use std::sync::Arc;

use async_trait::async_trait;
use flowbench_core::ports::{CodeCall, CodeError, CodeHost, CodeResult, CodeRunner, CodeSource};

use crate::python::{PythonPool, PythonSettings};
use crate::script::{self, ScriptLimits};

/// Runs code nodes of every kind.
pub struct CodeNodes {
    python: PythonPool,
    script: ScriptLimits,
}

impl CodeNodes {
    /// With settings for Python and limits for scripts. Starts nothing yet.
    pub fn new(python: PythonSettings, script: ScriptLimits) -> Self {
        Self { python: PythonPool::new(python), script }
    }

    /// The Python workers, to be cleared after an environment changed.
    pub fn python(&self) -> &PythonPool {
        &self.python
    }
}

#[async_trait]
impl CodeRunner for CodeNodes {
    async fn call(&self, call: CodeCall, host: Arc<dyn CodeHost>) -> Result<CodeResult, CodeError> {
        match &call.source {
            CodeSource::Script { code, name } => script::run_script(&call, code, name, &self.script).await,
            _ => self.python.call(&call, &host).await,
        }
    }
}
