//! A loaded model as others use it: one owner thread each, commands in over a bounded channel, tokens out over a
//! channel for each request.
//!
//! [`LocalModel`] is the handle. It tokenises and renders on the caller's thread and sends ids; [`worker`] holds
//! the decoder and serves several sequences in turn, a token each. [`sequence`] is one of them; [`turn`] keeps
//! several models out of each other's way on the processor.

mod options;
mod sequence;
mod turn;
mod worker;

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use crate::InferenceError;
use crate::chat_template::{ChatTemplate, TemplateContext};
use crate::constraint::Constraints;
use crate::decoder::Decoder;
use crate::generation::{GenerateRequest, Generation, Prompt, ReplyFormat};
use crate::gguf::{GgufFile, Value};
use crate::tokenizer::{Encoding, Tokenizer};

pub use options::{DeviceKind, ModelInfo, ModelOptions};
use sequence::Order;
pub(crate) use turn::Turn;
use worker::Command;

/// A model in memory. Clones share it; its thread ends with the last of them.
#[derive(Clone)]
pub struct LocalModel {
    inner: Arc<Inner>,
}

struct Inner {
    info: ModelInfo,
    tokenizer: Arc<Tokenizer>,
    template: Option<ChatTemplate>,
    options: ModelOptions,
    constraints: OnceLock<Constraints>,
    commands: SyncSender<Command>,
}

/// Requests that may wait for the model's thread. The engine's own limiter sends far fewer; one more is refused
/// rather than kept.
const WAITING_REQUESTS: usize = 1024;

impl LocalModel {
    /// Loads a GGUF file. Blocks until the model is ready, so async callers give it a thread of its own.
    pub fn load(path: &Path, options: ModelOptions) -> Result<Self, InferenceError> {
        let open_error = |source| InferenceError::Open { path: path.to_owned(), source };
        let mut source = File::open(path).map_err(open_error)?;
        let mut file = GgufFile::read(&mut source)
            .map_err(|source| InferenceError::Gguf { path: path.to_owned(), source })?;
        let tokenizer = Arc::new(Tokenizer::load(&mut file)?);
        let template = match file.get("tokenizer.chat_template").and_then(Value::as_str) {
            Some(source) => Some(ChatTemplate::compile(source)?),
            None => None,
        };

        let (commands, inbox) = sync_channel(WAITING_REQUESTS);
        let (ready, loaded) = sync_channel(1);
        let device = options.device;
        let context_length = options.context_length;
        let name = model_name(&file, path);
        let parameter_count = file.parameter_count();
        let thread_tokenizer = tokenizer.clone();
        std::thread::Builder::new()
            .name(format!("model {name}"))
            .spawn(move || {
                let decoder = device
                    .open()
                    .and_then(|device| Decoder::load(&file, &mut source, context_length, &device))
                    .and_then(|decoder| check_vocabulary(decoder, &thread_tokenizer));
                drop((file, source));
                match decoder {
                    Ok(decoder) => {
                        // A caller that has gone away takes its end of the commands with it.
                        let _ = ready.send(Ok(decoder.config().clone()));
                        worker::run(decoder, &thread_tokenizer, &inbox);
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            })
            .map_err(open_error)?;
        let config = loaded.recv().map_err(|_| InferenceError::ThreadGone)??;
        let info = ModelInfo {
            name,
            architecture: config.architecture.name(),
            parameter_count,
            context_length: config.context_length,
            trained_context_length: config.trained_context,
            vocabulary_len: tokenizer.vocabulary().len(),
            has_chat_template: template.is_some(),
            device,
        };
        tracing::debug!(model = %info.name, parameters = info.parameter_count, "model loaded");
        let constraints = OnceLock::new();
        Ok(Self { inner: Arc::new(Inner { info, tokenizer, template, options, constraints, commands }) })
    }

    /// What the file says of the model.
    pub fn info(&self) -> &ModelInfo {
        &self.inner.info
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inner.tokenizer
    }

    /// Token ids of a plain text, with the tokens that the model wants around it.
    pub fn tokenize(&self, text: &str) -> Vec<u32> {
        self.inner.tokenizer.encode(text, Encoding { add_special: true, parse_special: false })
    }

    /// Text of token ids; control tokens are left out.
    pub fn detokenize(&self, ids: &[u32]) -> String {
        self.inner.tokenizer.decode(ids, false)
    }

    /// Tokens that a prompt comes to.
    pub fn count_tokens(&self, prompt: &Prompt) -> Result<usize, InferenceError> {
        self.prompt_ids(&GenerateRequest::new(prompt.clone())).map(|ids| ids.len())
    }

    /// The text that a conversation becomes, as the model is given it (guards taken out), for inspection.
    pub fn render(&self, request: &GenerateRequest) -> Result<String, InferenceError> {
        Ok(match &request.prompt {
            Prompt::Text(text) => text.clone(),
            Prompt::Messages(_) => self.rendered(request)?.replace(crate::tokenizer::GUARD, ""),
        })
    }

    /// Begins a reply. What is wrong with the request is told here; what goes wrong later comes as an event.
    pub fn generate(&self, request: GenerateRequest) -> Result<Generation, InferenceError> {
        request.sampling.check()?;
        let prompt = self.prompt_ids(&request)?;
        let limit = self.inner.info.context_length;
        if prompt.is_empty() {
            return Err(InferenceError::EmptyPrompt);
        }
        // One place must be left for the reply's first token.
        if prompt.len() >= limit {
            return Err(InferenceError::ContextExceeded {
                model: self.inner.info.name.clone(),
                prompt_tokens: prompt.len(),
                limit,
            });
        }
        let constraint = match &request.format {
            ReplyFormat::Text => None,
            ReplyFormat::JsonObject => Some(self.constraints()?.json_object()?),
            ReplyFormat::JsonSchema(schema) => Some(self.constraints()?.json_schema(schema)?),
        };
        let (events, receiver) = mpsc::unbounded_channel();
        let order = Order {
            prompt,
            sampling: request.sampling,
            stop: request.stop,
            max_tokens: request.max_tokens.unwrap_or(usize::MAX),
            constraint,
            show_control: request.show_control,
            events,
        };
        self.send(Command::Generate(Box::new(order)))?;
        Ok(Generation { events: receiver })
    }

    /// Scores of every token after the last of `ids`, for tests and comparisons. Blocks.
    pub fn logits(&self, ids: &[u32]) -> Result<Vec<f32>, InferenceError> {
        if ids.is_empty() {
            return Err(InferenceError::EmptyPrompt);
        }
        let (reply, scores) = std::sync::mpsc::channel();
        self.send(Command::Logits { ids: ids.to_vec(), reply })?;
        scores.recv().map_err(|_| InferenceError::ThreadGone)?
    }

    fn send(&self, command: Command) -> Result<(), InferenceError> {
        self.inner.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => InferenceError::Busy { waiting: WAITING_REQUESTS },
            TrySendError::Disconnected(_) => InferenceError::ThreadGone,
        })
    }

    fn prompt_ids(&self, request: &GenerateRequest) -> Result<Vec<u32>, InferenceError> {
        match &request.prompt {
            Prompt::Text(text) => Ok(self.tokenize(text)),
            Prompt::Messages(_) => Ok(self.inner.tokenizer.encode_guarded(&self.rendered(request)?)),
        }
    }

    fn rendered(&self, request: &GenerateRequest) -> Result<String, InferenceError> {
        let Prompt::Messages(messages) = &request.prompt else {
            return Ok(String::new());
        };
        let Some(template) = &self.inner.template else {
            return Err(InferenceError::NoChatTemplate { model: self.inner.info.name.clone() });
        };
        let context = TemplateContext {
            tools: &request.tools,
            variables: Some(&request.template_variables),
            now_ms: self.inner.options.clock.as_ref().map(|clock| clock.now_ms()),
        };
        template.render(messages, context, &self.inner.tokenizer)
    }

    fn constraints(&self) -> Result<&Constraints, InferenceError> {
        if let Some(made) = self.inner.constraints.get() {
            return Ok(made);
        }
        let made = Constraints::new(&self.inner.tokenizer)?;
        Ok(self.inner.constraints.get_or_init(|| made))
    }
}

/// The name in the file, else the file's own.
fn model_name(file: &GgufFile, path: &Path) -> String {
    let own = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    file.get("general.name").and_then(Value::as_str).map_or_else(own, |name| name.chars().take(128).collect())
}

/// Every token that the tokenizer can give must have a row in the embedding.
fn check_vocabulary(decoder: Decoder, tokenizer: &Tokenizer) -> Result<Decoder, InferenceError> {
    let (rows, tokens) = (decoder.vocabulary_len(), tokenizer.vocabulary().len());
    if rows < tokens {
        return Err(InferenceError::Tokenizer {
            problem: format!("has {tokens} tokens, but the embedding only {rows} rows"),
        });
    }
    Ok(decoder)
}
