//! The tensors of a model, by the names GGUF gives them.

use std::io::{Read, Seek};
use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use candle_nn::ops;

use super::config::{Architecture, Config};
use crate::InferenceError;
use crate::gguf::GgufFile;

/// A matrix, quantised, and perhaps a bias.
pub(super) struct Linear {
    pub weight: QMatMul,
    pub bias: Option<Tensor>,
}

/// Root mean square normalisation. Files of Gemma hold the weight with its 1 added already.
pub(super) struct Norm(Tensor);

impl Norm {
    pub(super) fn forward(&self, input: &Tensor, eps: f32) -> Result<Tensor, InferenceError> {
        Ok(ops::rms_norm(&input.contiguous()?, &self.0, eps)?)
    }
}

/// How a layer makes queries, keys and values.
enum Projection {
    Separate {
        q: Linear,
        k: Linear,
        v: Linear,
    },
    /// Phi-3: one matrix, queries first.
    Fused(Linear),
}

/// One layer.
pub(super) struct Layer {
    pub attention_norm: Norm,
    projection: Projection,
    pub q_norm: Option<Norm>,
    pub k_norm: Option<Norm>,
    pub output: Linear,
    pub post_attention_norm: Option<Norm>,
    pub feed_forward_norm: Norm,
    /// Absent where `up` holds both.
    pub gate: Option<Linear>,
    pub up: Linear,
    pub down: Linear,
    pub post_feed_forward_norm: Option<Norm>,
}

impl Layer {
    /// Queries, keys and values of `[tokens, hidden]`.
    pub(super) fn project(
        &self,
        input: &Tensor,
        config: &Config,
    ) -> Result<(Tensor, Tensor, Tensor), InferenceError> {
        match &self.projection {
            Projection::Separate { q, k, v } => Ok((q.forward(input)?, k.forward(input)?, v.forward(input)?)),
            Projection::Fused(qkv) => {
                let all = qkv.forward(input)?;
                let q_len = config.head_count * config.head_len;
                let kv_len = config.kv_head_count * config.head_len;
                Ok((
                    all.narrow(1, 0, q_len)?.contiguous()?,
                    all.narrow(1, q_len, kv_len)?.contiguous()?,
                    all.narrow(1, q_len + kv_len, kv_len)?.contiguous()?,
                ))
            }
        }
    }
}

/// All tensors of a model.
pub(super) struct Weights {
    pub embedding: Arc<QTensor>,
    pub layers: Vec<Layer>,
    pub output_norm: Norm,
    pub output: Linear,
}

impl Weights {
    pub(super) fn load<R: Read + Seek>(
        file: &GgufFile,
        source: &mut R,
        config: &Config,
        device: &Device,
    ) -> Result<Self, InferenceError> {
        const EMBEDDING: &str = "token_embd.weight";
        let rows = match file.tensor(EMBEDDING) {
            Some(entry) => entry.dims[0],
            None => return Err(InferenceError::MissingTensor { name: EMBEDDING.to_owned() }),
        };
        let mut loader = Loader { file, source, device };
        let embedding = Arc::new(loader.tensor(EMBEDDING, &[rows, config.hidden_len])?);
        let layers =
            (0..config.layer_count).map(|index| loader.layer(index, config)).collect::<Result<_, _>>()?;
        let output_norm = loader.norm("output_norm.weight", config.hidden_len)?;
        // Without a matrix of its own, the model scores tokens with the embedding.
        let output = match file.tensor("output.weight") {
            Some(_) => loader.linear("output", rows, config.hidden_len)?,
            None => Linear { weight: QMatMul::from_arc(embedding.clone())?, bias: None },
        };
        Ok(Self { embedding, layers, output_norm, output })
    }

    pub(super) fn vocabulary_len(&self) -> usize {
        self.embedding.shape().dims()[0]
    }
}

/// The table that stretches rotary frequencies, if the file has one that applies.
pub(super) fn rope_factors<R: Read + Seek>(
    file: &GgufFile,
    source: &mut R,
    config: &Config,
    device: &Device,
) -> Result<Option<Vec<f32>>, InferenceError> {
    let long_or_short =
        if config.uses_long_factors { "rope_factors_long.weight" } else { "rope_factors_short.weight" };
    for name in ["rope_freqs.weight", long_or_short] {
        if file.tensor(name).is_some() {
            let table = file.load_tensor(source, name, &[config.rope.dims / 2], device)?;
            return Ok(Some(table.dequantize(&Device::Cpu)?.to_vec1()?));
        }
    }
    Ok(None)
}

struct Loader<'a, R> {
    file: &'a GgufFile,
    source: &'a mut R,
    device: &'a Device,
}

impl<R: Read + Seek> Loader<'_, R> {
    fn tensor(&mut self, name: &str, dims: &[usize]) -> Result<QTensor, InferenceError> {
        self.file.load_tensor(self.source, name, dims, self.device)
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor, InferenceError> {
        Ok(self.tensor(name, &[len])?.dequantize(self.device)?)
    }

    fn norm(&mut self, name: &str, len: usize) -> Result<Norm, InferenceError> {
        self.vector(name, len).map(Norm)
    }

    fn optional_norm(&mut self, name: &str, len: usize) -> Result<Option<Norm>, InferenceError> {
        self.file.tensor(name).map(|_| self.norm(name, len)).transpose()
    }

    fn linear(&mut self, name: &str, rows: usize, columns: usize) -> Result<Linear, InferenceError> {
        let weight = self.tensor(&format!("{name}.weight"), &[rows, columns])?;
        let bias = format!("{name}.bias");
        let bias = self.file.tensor(&bias).map(|_| self.vector(&bias, rows)).transpose()?;
        Ok(Linear { weight: QMatMul::from_qtensor(weight)?, bias })
    }

    fn layer(&mut self, index: usize, config: &Config) -> Result<Layer, InferenceError> {
        let (hidden, head, ff) = (config.hidden_len, config.head_len, config.feed_forward_len);
        let (q_len, kv_len) = (config.head_count * head, config.kv_head_count * head);
        let name = |part: &str| format!("blk.{index}.{part}");
        let projection = if self.file.tensor(&name("attn_qkv.weight")).is_some() {
            Projection::Fused(self.linear(&name("attn_qkv"), q_len + 2 * kv_len, hidden)?)
        } else {
            Projection::Separate {
                q: self.linear(&name("attn_q"), q_len, hidden)?,
                k: self.linear(&name("attn_k"), kv_len, hidden)?,
                v: self.linear(&name("attn_v"), kv_len, hidden)?,
            }
        };
        let has_gate = self.file.tensor(&name("ffn_gate.weight")).is_some();
        if !has_gate && config.architecture != Architecture::Phi3 {
            return Err(InferenceError::MissingTensor { name: name("ffn_gate.weight") });
        }
        Ok(Layer {
            attention_norm: self.norm(&name("attn_norm.weight"), hidden)?,
            projection,
            q_norm: self.optional_norm(&name("attn_q_norm.weight"), head)?,
            k_norm: self.optional_norm(&name("attn_k_norm.weight"), head)?,
            output: self.linear(&name("attn_output"), hidden, q_len)?,
            post_attention_norm: self.optional_norm(&name("post_attention_norm.weight"), hidden)?,
            feed_forward_norm: self.norm(&name("ffn_norm.weight"), hidden)?,
            gate: if has_gate { Some(self.linear(&name("ffn_gate"), ff, hidden)?) } else { None },
            up: self.linear(&name("ffn_up"), if has_gate { ff } else { 2 * ff }, hidden)?,
            down: self.linear(&name("ffn_down"), hidden, ff)?,
            post_feed_forward_norm: self.optional_norm(&name("post_ffw_norm.weight"), hidden)?,
        })
    }
}
