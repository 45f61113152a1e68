//! Local models with candle: chat and completion from GGUF files, on CPU, CUDA or Metal.
//!
//! A request passes through these rooms: [`gguf`] reads the file's header and tensors, [`tokenizer`] and
//! [`chat_template`] turn text or messages into token ids with what the file says about itself, [`decoder`]
//! gives the scores of the next token, [`sampling`] and [`constraint`] choose one, and [`model`] keeps one
//! owner thread per model that takes commands and sends text.
//!
//! This crate knows no flows, reads no file but the model it is given, and never the network. Only this crate
//! has heard of candle.
//!
//! ```no_run
//! use flowbench_inference::{GenerateRequest, LocalModel, ModelOptions, Prompt};
//!
//! let model = LocalModel::load("model.gguf".as_ref(), ModelOptions::default())?;
//! let reply = model.generate(GenerateRequest::new(Prompt::Text("The capital of Sweden is".into())))?.wait()?;
//! assert!(!reply.text.is_empty());
//! # Ok::<(), flowbench_inference::InferenceError>(())
//! ```

pub mod chat_template;
pub mod constraint;
pub mod decoder;
pub mod distill;
pub mod encoder;
mod error;
mod generation;
pub mod gguf;
mod local_chat;
mod local_embedder;
mod local_reranker;
pub mod model;
mod owner;
pub mod rerank;
pub mod sampling;
pub mod static_model;
mod stop;
pub mod tokenizer;

pub use encoder::{EncoderOptions, EncoderTokenizer, LocalEncoder};
pub use error::InferenceError;
pub use generation::{Finish, GenerateRequest, Generation, GenerationEvent, Prompt, Reply, ReplyFormat};
pub use local_chat::LocalChatModel;
pub use local_embedder::LocalEmbedder;
pub use local_reranker::LocalReranker;
pub use model::{DeviceKind, LocalModel, ModelInfo, ModelOptions};
pub use rerank::{CrossEncoder, RerankerOptions};
pub use sampling::Sampling;
pub use static_model::{FileSet, StaticEmbedder, StaticModel, StaticModelError};
