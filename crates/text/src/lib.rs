//! Pure text work: [`guard`] looks for injections, personal data and secrets, [`extract`] takes values out of text,
//! [`language`] tells which one a text is in, [`analysis`] gives the words that search counts. Knows not where a text
//! comes from or goes to: no files, network, clock or async runtime.
//!
//! ```
//! use flowbench_text::extract::{ExtractConfig, extract};
//! use serde_json::{Map, json};
//!
//! let inputs: Map<_, _> = [("pattern".to_owned(), json!(r"order (?P<number>\d+)"))].into_iter().collect();
//! let config = ExtractConfig::from_inputs(&inputs)?;
//! assert_eq!(extract(&config, &json!("about order 77"))?, json!({"number": "77"}));
//! # Ok::<(), flowbench_text::extract::ExtractError>(())
//! ```

pub mod analysis;
pub mod extract;
pub mod guard;
pub mod language;
