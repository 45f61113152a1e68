//! Lossless readers and writers of the files a workspace holds. Knows nothing of how anything runs.

pub mod data;
