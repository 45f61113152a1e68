//! What a model's folder says of how a text becomes a vector: length, prefixes, pooling, layers behind it, norm.
//! Everything is read from the files that sentence-transformers writes; where they say nothing, [`EncoderOptions`]
//! may.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::Value;

use super::EncoderOptions;
use super::files::{Settings, inside};
use super::ops::{Activation, After, Linear, Threads};
use super::pooling::{Pooling, PoolingMode};
use super::tokens::EncoderTokenizer;
use super::weights::Weights;
use crate::InferenceError;

/// Widest vector of a layer behind the pooling.
const MAX_WIDTH: usize = 1 << 16;
/// Lengths beyond this mean "no limit" (tokenizers write 10^30).
const NO_LIMIT: f64 = 1e6;
/// Most steps of a model.
const MAX_MODULES: usize = 16;

/// How texts become vectors.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub pooling: Pooling,
    pub steps: Vec<Step>,
    pub query_prefix: Option<String>,
    pub document_prefix: Option<String>,
    /// Tokens of a text, as far as the files say.
    pub max_tokens: Option<usize>,
    /// Vectors are cut to this.
    pub dimensions: Option<usize>,
    /// Files that decide the result.
    pub files: Vec<PathBuf>,
}

/// What follows the pooling.
#[derive(Debug)]
pub(crate) enum Step {
    Dense { linear: Linear, activation: Activation },
    LayerNorm { scale: Vec<f32>, shift: Vec<f32> },
    Normalize,
}

impl Recipe {
    /// Reads a folder. `hidden` is the width of the encoder's vectors; `cutter` is told what the files say of it.
    pub(crate) fn read(
        folder: &Path,
        hidden: usize,
        options: &EncoderOptions,
        device: &Device,
        cutter: &mut EncoderTokenizer,
    ) -> Result<Self, InferenceError> {
        let mut files = Vec::new();
        let mut settings = |name: &str| -> Result<Option<Settings>, InferenceError> {
            let path = folder.join(name);
            let read = Settings::read_if_there(&path)?;
            if read.is_some() {
                files.push(path);
            }
            Ok(read)
        };
        let bert = settings("sentence_bert_config.json")?;
        let tokenizer = settings("tokenizer_config.json")?;
        let prompts = settings("config_sentence_transformers.json")?;
        let modules = settings("modules.json")?;
        cutter.obey(tokenizer.as_ref(), bert.as_ref())?;

        let (pooling, steps) = match &modules {
            Some(modules) => read_modules(folder, modules, hidden, device, &mut files)?,
            None => (read_pooling(folder, "1_Pooling", &mut files)?, vec![Step::Normalize]),
        };
        let (query, document) = match &prompts {
            Some(prompts) => file_prompts(prompts),
            None => (None, None),
        };
        let dimensions = match &prompts {
            Some(prompts) => prompts.size(&["truncate_dim"], 1..=MAX_WIDTH)?,
            None => None,
        };
        Ok(Self {
            pooling,
            steps: adjust_norm(steps, options.normalize),
            query_prefix: query.or_else(|| options.query_prefix.clone()),
            document_prefix: document.or_else(|| options.document_prefix.clone()),
            max_tokens: file_max_tokens(bert.as_ref(), tokenizer.as_ref())?,
            dimensions,
            files,
        })
    }
}

/// `sentence_bert_config.json` knows what the model was made for; the tokenizer's settings are the next best.
pub(crate) fn file_max_tokens(
    bert: Option<&Settings>,
    tokenizer: Option<&Settings>,
) -> Result<Option<usize>, InferenceError> {
    if let Some(bert) = bert
        && let Some(length) = bert.size(&["max_seq_length"], 1..=1 << 24)?
    {
        return Ok(Some(length));
    }
    let Some(tokenizer) = tokenizer else { return Ok(None) };
    Ok(match tokenizer.positive(&["model_max_length", "max_len"])? {
        Some(length) if length <= NO_LIMIT => Some(length as usize),
        _ => None,
    })
}

/// Prefixes by the names that the reference looks for. Empty ones are what its newer versions write for "none
/// known", so they do not stand in the way of the options.
fn file_prompts(settings: &Settings) -> (Option<String>, Option<String>) {
    let named = |name: &str| {
        let text = settings.get("prompts")?.get(name)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    let default = || named(settings.get("default_prompt_name")?.as_str()?);
    let first = |names: &[&str]| names.iter().find_map(|name| named(name)).or_else(default);
    (first(&["query", "search_query"]), first(&["document", "passage", "corpus", "search_document"]))
}

fn adjust_norm(mut steps: Vec<Step>, normalize: Option<bool>) -> Vec<Step> {
    let ends_in_norm = matches!(steps.last(), Some(Step::Normalize));
    match normalize {
        Some(true) if !ends_in_norm => steps.push(Step::Normalize),
        Some(false) => steps.retain(|step| !matches!(step, Step::Normalize)),
        _ => {}
    }
    steps
}

/// The steps that `modules.json` lists; the first is the encoder itself.
fn read_modules(
    folder: &Path,
    modules: &Settings,
    hidden: usize,
    device: &Device,
    files: &mut Vec<PathBuf>,
) -> Result<(Pooling, Vec<Step>), InferenceError> {
    let bad = |problem: &str| super::files::bad_file(modules.path(), problem);
    let list = modules.value().as_array().ok_or_else(|| bad("must be a list of modules"))?;
    if list.len() > MAX_MODULES {
        return Err(bad(&format!("lists {} modules, at most {MAX_MODULES} are read", list.len())));
    }
    let mut pooling = None;
    let mut steps = Vec::new();
    let mut width = hidden;
    for module in list {
        let text = |key: &str| module.get(key).and_then(Value::as_str);
        let kind = text("type").ok_or_else(|| bad("has a module without `type`"))?;
        let path = text("path").unwrap_or_default();
        match kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" if path.is_empty() => {}
            "Transformer" => {
                return Err(bad(&format!("keeps the encoder in `{path}`, which is not supported")));
            }
            "Pooling" => {
                let read = read_pooling(&inside(folder, modules.path(), path)?, "", files)?;
                width = hidden * read.modes.len();
                pooling = Some(read);
            }
            "Normalize" => steps.push(Step::Normalize),
            "Dense" => {
                let (step, out) = read_dense(&inside(folder, modules.path(), path)?, width, device, files)?;
                steps.push(step);
                width = out;
            }
            "LayerNorm" => {
                steps.push(read_layer_norm(&inside(folder, modules.path(), path)?, width, files)?);
            }
            "Dropout" => {}
            other => return Err(bad(&format!("lists a module of type `{other}`, which is not supported"))),
        }
    }
    let pooling = pooling.ok_or_else(|| bad("lists no pooling"))?;
    Ok((pooling, steps))
}

/// What `config.json` of a pooling folder says; the mean where there is no such file.
fn read_pooling(folder: &Path, sub: &str, files: &mut Vec<PathBuf>) -> Result<Pooling, InferenceError> {
    let path = folder.join(sub).join("config.json");
    let Some(settings) = Settings::read_if_there(&path)? else { return Ok(Pooling::default()) };
    files.push(path);
    let unknown = |name: &Value| settings.bad("pooling_mode", &format!("is {name}, which is not known"));
    let named = |value: &Value| -> Result<PoolingMode, InferenceError> {
        value.as_str().and_then(PoolingMode::of_name).ok_or_else(|| unknown(value))
    };
    let modes = match settings.get("pooling_mode") {
        Some(Value::Array(names)) if names.len() <= 6 => {
            names.iter().map(named).collect::<Result<Vec<_>, _>>()?
        }
        Some(name) => vec![named(name)?],
        None => {
            let mut modes = Vec::new();
            for (key, mode) in PoolingMode::FLAGS {
                if settings.flag(&[key])?.unwrap_or(false) {
                    modes.push(mode);
                }
            }
            modes
        }
    };
    let modes = if modes.is_empty() { vec![PoolingMode::Mean] } else { modes };
    let includes_prompt = settings.flag(&["include_prompt"])?.unwrap_or(true);
    Ok(Pooling { modes, includes_prompt })
}

fn read_dense(
    folder: &Path,
    width: usize,
    device: &Device,
    files: &mut Vec<PathBuf>,
) -> Result<(Step, usize), InferenceError> {
    let settings = Settings::read(&folder.join("config.json"))?;
    let input = settings.need_size(&["in_features"], 1..=MAX_WIDTH)?;
    let output = settings.need_size(&["out_features"], 1..=MAX_WIDTH)?;
    if input != width {
        return Err(settings.bad("in_features", &format!("is {input}, but the vectors have {width} numbers")));
    }
    let name = settings.text(&["activation_function"])?.unwrap_or("torch.nn.modules.linear.Identity");
    let activation = activation_of_class(name)
        .ok_or_else(|| settings.bad("activation_function", &format!("is `{name}`, which is not known")))?;
    let weights = Weights::open(folder)?;
    let weight = weights.floats("linear.weight", &[output, input])?;
    let bias = match weights.has("linear.bias") {
        true => Some(weights.floats("linear.bias", &[output])?),
        false => None,
    };
    files.push(settings.path().to_owned());
    files.extend(super::weights::weight_files(folder)?);
    Ok((Step::Dense { linear: Linear::new(&weight, input, bias, device)?, activation }, output))
}

fn read_layer_norm(folder: &Path, width: usize, files: &mut Vec<PathBuf>) -> Result<Step, InferenceError> {
    let weights = Weights::open(folder)?;
    files.extend(super::weights::weight_files(folder)?);
    Ok(Step::LayerNorm {
        scale: weights.floats("norm.weight", &[width])?,
        shift: weights.floats("norm.bias", &[width])?,
    })
}

/// An activation by its class in torch, such as `torch.nn.modules.activation.Tanh`.
pub(crate) fn activation_of_class(name: &str) -> Option<Activation> {
    Activation::of_name(&name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase())
}

impl Step {
    /// Applies the step to vectors of one width.
    pub(crate) fn apply(
        &self,
        vectors: Vec<Vec<f32>>,
        device: &Device,
    ) -> Result<Vec<Vec<f32>>, InferenceError> {
        match self {
            Self::Dense { linear, activation } => {
                let (count, width) = (vectors.len(), vectors.first().map_or(0, Vec::len));
                let input = Tensor::from_vec(vectors.concat(), (count, width), device)?;
                let out = linear.forward(&input, After::Activation(*activation), Threads::One)?;
                Ok(out.to_vec2()?)
            }
            Self::LayerNorm { scale, shift } => Ok(vectors
                .into_iter()
                .map(|vector| {
                    let len = vector.len() as f32;
                    let mean = vector.iter().sum::<f32>() / len;
                    let variance = vector.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / len;
                    let factor = 1.0 / (variance + 1e-5).sqrt();
                    let parts = vector.iter().zip(scale).zip(shift);
                    parts.map(|((x, scale), shift)| (x - mean) * factor * scale + shift).collect()
                })
                .collect()),
            Self::Normalize => Ok(vectors
                .into_iter()
                .map(|mut vector| {
                    normalize(&mut vector);
                    vector
                })
                .collect()),
        }
    }
}

/// Makes a vector's length 1; one of zeros stays.
pub(crate) fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let factor = (1.0 / length.max(1e-12)) as f32;
    vector.iter_mut().for_each(|x| *x *= factor);
}
