//! The modules that stand in for prompt flow's package. Workers get them over the protocol and keep them in
//! memory, so nothing is written and no file can be tampered with.

use serde_json::{Map, Value, json};

macro_rules! modules {
    ($($name:literal => $file:literal $kind:ident),* $(,)?) => {
        const MODULES: &[(&str, &str, bool)] = &[
            $(($name, include_str!(concat!("shim/", $file)), modules!(@ $kind))),*
        ];
    };
    (@ package) => { true };
    (@ module) => { false };
}

modules! {
    "promptflow" => "__init__.py" package,
    "promptflow._core" => "_core/__init__.py" package,
    "promptflow._core.metric_logger" => "_core/metric_logger.py" module,
    "promptflow._core.tool" => "_core/tool.py" module,
    "promptflow._internal" => "_internal/__init__.py" package,
    "promptflow._utils" => "_utils/__init__.py" package,
    "promptflow._utils.logger_utils" => "_utils/logger_utils.py" module,
    "promptflow.client" => "client/__init__.py" package,
    "promptflow.connections" => "connections/__init__.py" package,
    "promptflow.contracts" => "contracts/__init__.py" package,
    "promptflow.contracts.multimedia" => "contracts/multimedia.py" module,
    "promptflow.contracts.types" => "contracts/types.py" module,
    "promptflow.core" => "core/__init__.py" package,
    "promptflow.core._connection" => "core/_connection.py" module,
    "promptflow.core._flow" => "core/_flow.py" module,
    "promptflow.core._model_configuration" => "core/_model_configuration.py" module,
    "promptflow.entities" => "entities/__init__.py" package,
    "promptflow.exceptions" => "exceptions.py" module,
    "promptflow.tools" => "tools/__init__.py" package,
    "promptflow.tools.aoai" => "tools/aoai.py" module,
    "promptflow.tools.common" => "tools/common.py" module,
    "promptflow.tools.embedding" => "tools/embedding.py" module,
    "promptflow.tools.openai" => "tools/openai.py" module,
    "promptflow.tracing" => "tracing/__init__.py" package,
}

/// All modules with their sources, as the worker's greeting carries them.
pub(super) fn modules() -> Value {
    let all: Map<String, Value> = MODULES
        .iter()
        .map(|(name, text, is_package)| ((*name).to_owned(), json!({"text": text, "package": is_package})))
        .collect();
    Value::Object(all)
}
