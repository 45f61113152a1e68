//! The JSON Schemas of the files that a workspace holds, as published in `schemas/`.

use serde_json::Value;

/// A published schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Name, such as `flow.dag`.
    pub name: &'static str,
    /// The file that it describes.
    pub describes: &'static str,
    /// The schema as JSON text.
    pub text: &'static str,
}

impl Schema {
    /// The schema as a value.
    pub fn value(&self) -> Value {
        serde_json::from_str(self.text).expect("published schemas are JSON, which a test checks")
    }
}

/// All of them.
pub const SCHEMAS: [Schema; 7] = [
    Schema {
        name: "flow.dag",
        describes: "flow.dag.yaml",
        text: include_str!("../../../schemas/flow.dag.schema.json"),
    },
    Schema {
        name: "flow.flex",
        describes: "flow.flex.yaml",
        text: include_str!("../../../schemas/flow.flex.schema.json"),
    },
    Schema {
        name: "prompty",
        describes: "*.prompty",
        text: include_str!("../../../schemas/prompty.schema.json"),
    },
    Schema {
        name: "connections",
        describes: "connections.yaml",
        text: include_str!("../../../schemas/connections.schema.json"),
    },
    Schema { name: "run", describes: "run.yaml", text: include_str!("../../../schemas/run.schema.json") },
    Schema {
        name: "flow.layout",
        describes: "flow.layout.json",
        text: include_str!("../../../schemas/flow.layout.schema.json"),
    },
    Schema {
        name: "flowbench",
        describes: "flowbench.yaml",
        text: include_str!("../../../schemas/flowbench.schema.json"),
    },
];

/// The schema of that name.
pub fn schema(name: &str) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|schema| schema.name == name)
}
