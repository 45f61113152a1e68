//! The layers that turn hidden states of a pair into one number.

use crate::InferenceError;
use crate::encoder::files::Settings;
use crate::encoder::ops::Activation;
use crate::encoder::weights::Weights;

/// A classification head with one label, in plain numbers: it sees one vector a pair.
pub(super) struct Head {
    takes_mean: bool,
    dense: Option<Layer>,
    activation: Activation,
    norm: Option<Norm>,
    out: Layer,
}

struct Layer {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
}

struct Norm {
    scale: Vec<f32>,
    shift: Option<Vec<f32>>,
    eps: f32,
}

impl Head {
    pub(super) fn load(
        family: &str,
        config: &Settings,
        weights: &mut Weights,
        hidden: usize,
    ) -> Result<Self, InferenceError> {
        match family {
            "bert" => {
                weights.find_prefix(&["bert.", ""], "pooler.dense.weight")?;
                let dense = layer(weights, "pooler.dense", hidden, hidden)?;
                weights.without_prefix();
                let out = label(config, weights, "classifier", hidden)?;
                Ok(Self {
                    takes_mean: false,
                    dense: Some(dense),
                    activation: Activation::Tanh,
                    norm: None,
                    out,
                })
            }
            "modernbert" => {
                let name = config.text(&["classifier_activation"])?.unwrap_or("gelu");
                let activation = Activation::of_name(name).ok_or_else(|| {
                    config.bad("classifier_activation", &format!("is `{name}`, which is not known"))
                })?;
                let takes_mean = match config.text(&["classifier_pooling"])?.unwrap_or("cls") {
                    "cls" => false,
                    "mean" => true,
                    other => {
                        return Err(
                            config.bad("classifier_pooling", &format!("is `{other}`, not `cls` or `mean`"))
                        );
                    }
                };
                let shift = "head.norm.bias";
                let norm = Norm {
                    scale: weights.floats("head.norm.weight", &[hidden])?,
                    shift: if weights.has(shift) { Some(weights.floats(shift, &[hidden])?) } else { None },
                    eps: config.positive(&["norm_eps"])?.unwrap_or(1e-5) as f32,
                };
                Ok(Self {
                    takes_mean,
                    dense: Some(layer(weights, "head.dense", hidden, hidden)?),
                    activation,
                    norm: Some(norm),
                    out: label(config, weights, "classifier", hidden)?,
                })
            }
            _ => Ok(Self {
                takes_mean: false,
                dense: Some(layer(weights, "classifier.dense", hidden, hidden)?),
                activation: Activation::Tanh,
                norm: None,
                out: label(config, weights, "classifier.out_proj", hidden)?,
            }),
        }
    }

    /// The score of a pair, before the activation of scores.
    pub(super) fn score(&self, hidden: &[f32], width: usize) -> f32 {
        let mut vector = if self.takes_mean {
            let mut mean = vec![0f32; width];
            for row in hidden.chunks_exact(width) {
                mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            let tokens = (hidden.len() / width) as f32;
            mean.iter_mut().for_each(|x| *x /= tokens);
            mean
        } else {
            hidden[..width].to_vec()
        };
        if let Some(dense) = &self.dense {
            vector = dense.forward(&vector);
            self.activation.apply(&mut vector);
        }
        if let Some(norm) = &self.norm {
            norm.forward(&mut vector);
        }
        self.out.forward(&vector)[0]
    }
}

impl Layer {
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let dot = |row: &[f32]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>();
        let mut out: Vec<f32> = self.weight.chunks_exact(x.len()).map(dot).collect();
        if let Some(bias) = &self.bias {
            out.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
        out
    }
}

impl Norm {
    fn forward(&self, x: &mut [f32]) {
        let len = x.len() as f32;
        let mean = x.iter().sum::<f32>() / len;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / len;
        let factor = 1.0 / (variance + self.eps).sqrt();
        for (index, x) in x.iter_mut().enumerate() {
            let shift = self.shift.as_ref().map_or(0.0, |shift| shift[index]);
            *x = (*x - mean) * factor * self.scale[index] + shift;
        }
    }
}

fn layer(weights: &Weights, name: &str, rows: usize, depth: usize) -> Result<Layer, InferenceError> {
    let bias = format!("{name}.bias");
    Ok(Layer {
        weight: weights.floats(&format!("{name}.weight"), &[rows, depth])?,
        bias: if weights.has(&bias) { Some(weights.floats(&bias, &[rows])?) } else { None },
    })
}

/// The last layer. More than one label is no ranking.
fn label(config: &Settings, weights: &Weights, name: &str, hidden: usize) -> Result<Layer, InferenceError> {
    let labels = weights.shape(&format!("{name}.weight"))?.first().copied().unwrap_or(0);
    if labels != 1 {
        return Err(config.bad("id2label", &format!("has {labels} labels, but a reranker gives one score")));
    }
    layer(weights, name, 1, hidden)
}
