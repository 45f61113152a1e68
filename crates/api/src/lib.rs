//! The use cases, and the only place that wires adapters to ports. Knows no Tauri, clap or HTTP framework.
