//! Stand-in models whose *name* picks their behaviour, for tests, trials and benches, and `extractive`, an
//! honest baseline without a language model. They answer in process: no server, no weights, no network.
//!
//! A name is `<behaviour>[-<settings>]`; settings are `<N>ms` (latency), `<N>pct` (share of attempts that
//! misbehave), `once`, `twice`, `<N>times` (only the first attempts of a request misbehave) and `after-<N>ms`
//! (the wait a 429 asks for). The share is drawn from a seed, the request and the attempt, so that a run can be
//! repeated. Tokens are words between blanks.

mod attempts;
mod behaviour;
mod chat;
mod embed;
pub mod extractive;
mod schema;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

use flowbench_core::chat::ModelIdentity;
use flowbench_core::ports::{ChatModel, Embedder, ModelError, ModelErrorKind, Reranker};

use self::attempts::Attempts;
pub use self::behaviour::STAND_INS;
use self::behaviour::StandIn;

/// All stand-ins. Keeps count of attempts, so ask one `Builtin` for every model of an engine.
#[derive(Clone, Debug)]
pub struct Builtin {
    attempts: Arc<Attempts>,
}

impl Default for Builtin {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Builtin {
    /// Stand-ins that draw their shares from this seed.
    pub fn new(seed: u64) -> Self {
        Self { attempts: Arc::new(Attempts::new(seed)) }
    }

    /// A chat model by name; fails with the list of names if there is none called that.
    pub fn chat_model(&self, name: &str) -> Result<Arc<dyn ChatModel>, ModelError> {
        match StandIn::parse(name) {
            Some(stand_in) => Ok(Arc::new(chat::StandInChat {
                name: name.to_owned(),
                stand_in,
                attempts: Arc::clone(&self.attempts),
            })),
            None => Err(unknown(name, STAND_INS.iter().map(|(name, _)| *name))),
        }
    }

    /// The embedder `embed`, a stand-in: words and letter triples hashed into a vector. It knows no meaning.
    pub fn embedder(&self, name: &str) -> Result<Arc<dyn Embedder>, ModelError> {
        embed::HashEmbedder::named(name)
            .map(|found| Arc::new(found) as Arc<dyn Embedder>)
            .ok_or_else(|| unknown(name, ["embed"]))
    }

    /// The reranker `overlap`, a stand-in: passages that share rare words with the query come first.
    pub fn reranker(&self, name: &str) -> Result<Arc<dyn Reranker>, ModelError> {
        match name {
            "overlap" => Ok(Arc::new(embed::OverlapReranker)),
            _ => Err(unknown(name, ["overlap"])),
        }
    }
}

fn identity(name: &str) -> ModelIdentity {
    ModelIdentity {
        provider: "builtin".to_owned(),
        connection: "builtin".to_owned(),
        model: name.to_owned(),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        // Each stand-in is a world of its own: one that fails must not slow another down.
        endpoint: format!("builtin/{name}"),
    }
}

fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> ModelError {
    let known: Vec<&str> = known.into_iter().collect();
    ModelError::new(ModelErrorKind::NotFound, format!("connection `builtin` has no model `{name}`"))
        .with_hint(format!("it has {}; settings follow a dash, such as `slow-50ms`", known.join(", ")))
}
