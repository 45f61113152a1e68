//! Chat and embedding providers over the one outbound client, and the built-in stand-ins. Knows no flows.
//!
//! A [`ProviderSet`] makes a model out of a connection. A request is written and an answer is read by the
//! provider's wire module (pure: JSON in, JSON out), and one driver does the talking, whole or streamed. Nothing
//! here retries; errors carry what the engine needs to decide. Unknown fields and fields of a wrong type are
//! ignored, the body is kept as it came.
//!
//! ```
//! use flowbench_core::chat::{ChatParameters, ChatRequest, Message, ModelInput, Role};
//! use flowbench_providers::builtin::Builtin;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let context = "Context:\n[leave] Everyone has 25 days of leave.\n[dogs] Dogs may come on Fridays.";
//! let request = ChatRequest {
//!     input: ModelInput::Messages(vec![
//!         Message::text(Role::System, context),
//!         Message::text(Role::User, "When may dogs come?"),
//!     ]),
//!     parameters: ChatParameters::default(),
//!     tools: Vec::new(),
//!     tool_choice: None,
//!     response_format: None,
//! };
//! let model = Builtin::default().chat_model("extractive")?;
//! let reply = model.chat(&request, None).await?;
//! assert_eq!(reply.message.content_text(), "Dogs may come on Fridays. [dogs]");
//! # Ok::<(), flowbench_core::ports::ModelError>(())
//! # }).unwrap();
//! ```

pub mod builtin;
mod endpoint;
mod failure;
mod json;
mod limits;
mod place;
mod prices;
mod remote;
mod set;
mod stream;
mod vectors;
mod wire;

pub use crate::prices::{PriceError, PriceTable};
pub use crate::set::ProviderSet;
