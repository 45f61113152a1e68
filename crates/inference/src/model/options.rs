//! How a model is loaded, and what can be said of it once it is.

use std::fmt;
use std::sync::Arc;

use candle_core::Device;
use flowbench_core::ports::Clock;

use crate::InferenceError;

/// Where a model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// The processor; always there.
    #[default]
    Cpu,
    /// The first NVIDIA card; needs the `cuda` feature.
    Cuda,
    /// Apple's graphics; needs the `metal` feature.
    Metal,
}

impl DeviceKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }

    pub(crate) fn open(self) -> Result<Device, InferenceError> {
        let built_in = match self {
            Self::Cpu => true,
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Metal => cfg!(feature = "metal"),
        };
        if !built_in {
            let problem = format!("this program was built without the `{}` feature", self.name());
            return Err(InferenceError::Device { device: self.name(), problem });
        }
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => Device::new_cuda(0),
            Self::Metal => Device::new_metal(0),
        }
        .map_err(|error| InferenceError::Device { device: self.name(), problem: error.to_string() })
    }
}

/// How a model is loaded.
#[derive(Clone, Default)]
pub struct ModelOptions {
    /// Where it computes.
    pub device: DeviceKind,
    /// Tokens of prompt and reply together, at most what the model was trained for; without it at most 8,192.
    pub context_length: Option<usize>,
    /// Lets chat templates ask for the date. Without it those that can, do without.
    pub clock: Option<Arc<dyn Clock>>,
}

impl fmt::Debug for ModelOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelOptions")
            .field("device", &self.device)
            .field("context_length", &self.context_length)
            .field("clock", &self.clock.is_some())
            .finish()
    }
}

/// What a model's file says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Name in the file, else the file's own.
    pub name: String,
    /// Family, as files write it.
    pub architecture: &'static str,
    /// Numbers in all tensors.
    pub parameter_count: u64,
    /// Tokens of prompt and reply together.
    pub context_length: usize,
    /// Tokens the model was trained for.
    pub trained_context_length: usize,
    /// Tokens in the vocabulary.
    pub vocabulary_len: usize,
    /// True if the model takes messages.
    pub has_chat_template: bool,
    /// Where it computes.
    pub device: DeviceKind,
}
