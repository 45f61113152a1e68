//! Settings of runs, and how they are written.

use std::path::PathBuf;
use std::time::Duration;

use flowbench_core::flow::parse_seconds;
use flowbench_format::workspace::WorkspaceSettings;
use flowbench_grounding::indexes::BuildListener;
use flowbench_run::budget::BudgetLimits;

use crate::error::ApiError;

/// What a run and a batch have in common.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Chosen variants: node and id.
    pub variants: Vec<(String, String)>,
    /// Python and the folder's own hosts are allowed for this call.
    pub is_trusted: bool,
    /// Keep calls here.
    pub record: Option<PathBuf>,
    /// Answer calls from here.
    pub replay: Option<PathBuf>,
    /// Reuse results of earlier runs.
    pub uses_cache: bool,
    /// What may be spent.
    pub budget: BudgetLimits,
    /// Requests in flight to one endpoint.
    pub endpoint_width: usize,
    /// Make the virtual environment of `requirements.txt` first.
    pub installs_requirements: bool,
    /// `NODE.KEY` and value.
    pub overrides: Vec<(String, String)>,
    /// Environment variables for the flow.
    pub environment: Vec<(String, String)>,
    /// Ask for streamed answers and tell the pieces.
    pub is_streaming: bool,
    /// Indexes that were never built are built when a flow asks them.
    pub may_build: bool,
    /// Hears of such builds.
    pub on_build: Option<OnBuild>,
}

/// Takes events of builds that a flow's questions start.
#[derive(Clone)]
pub struct OnBuild(pub BuildListener);

impl std::fmt::Debug for OnBuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnBuild")
    }
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            variants: Vec::new(),
            is_trusted: false,
            record: None,
            replay: None,
            uses_cache: true,
            budget: BudgetLimits::default(),
            endpoint_width: 16,
            installs_requirements: false,
            overrides: Vec::new(),
            environment: Vec::new(),
            is_streaming: false,
            may_build: true,
            on_build: None,
        }
    }
}

impl RunSettings {
    /// The budget as asked; what was not asked for is as the workspace's policies say.
    pub fn budget_within(&self, workspace: &WorkspaceSettings) -> BudgetLimits {
        BudgetLimits {
            micros: self
                .budget
                .micros
                .or_else(|| workspace.budget_money.map(|amount| (amount * 1e6).round() as u64)),
            tokens: self.budget.tokens.or(workspace.budget_tokens),
            time: self.budget.time.or_else(|| workspace.budget_time.map(Duration::from_secs_f64)),
        }
    }
}

/// Reads `NAME=VALUE`; prompt flow's `${NODE.ID}` is read as well.
pub fn parse_pair(flag: &str, written: &str) -> Result<(String, String), ApiError> {
    if let Some((node, id)) = written
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .and_then(|rest| rest.split_once('.'))
    {
        return Ok((node.to_owned(), id.to_owned()));
    }
    match written.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err(ApiError::wrong_use("usage", format!("`{flag} {written}` is not of the form NAME=VALUE"))),
    }
}

/// Reads a length of time such as `90s` or `5m`.
pub fn parse_time(flag: &str, written: &str) -> Result<Duration, ApiError> {
    parse_seconds(written)
        .filter(|seconds| seconds.is_finite() && *seconds > 0.0 && *seconds < 1e9)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| {
            ApiError::wrong_use("usage", format!("`{flag} {written}` is no length of time"))
                .hint("write seconds, or a number with ms, s, m or h")
        })
}

/// Limits of a budget, checked.
pub fn budget(money: Option<f64>, tokens: Option<u64>, time: Option<&str>) -> Result<BudgetLimits, ApiError> {
    let micros = match money {
        None => None,
        Some(amount) if amount.is_finite() && (0.0..1e9).contains(&amount) => {
            Some((amount * 1e6).round() as u64)
        }
        Some(amount) => {
            return Err(ApiError::wrong_use("usage", format!("`--budget {amount}` is no amount of money")));
        }
    };
    let time = time.map(|written| parse_time("--budget-time", written)).transpose()?;
    Ok(BudgetLimits { micros, tokens, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_times_are_read_or_refused() {
        assert_eq!(parse_pair("--input", "q=a=b").unwrap(), ("q".to_owned(), "a=b".to_owned()));
        assert_eq!(parse_pair("--variant", "${node.v1}").unwrap(), ("node".to_owned(), "v1".to_owned()));
        assert_eq!(
            parse_pair("--input", "q").unwrap_err().message,
            "`--input q` is not of the form NAME=VALUE"
        );
        assert_eq!(parse_time("--budget-time", "5m").unwrap(), Duration::from_secs(300));
        assert!(parse_time("--budget-time", "soon").is_err());
    }
}
