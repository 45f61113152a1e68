//! Executes a plan: scheduling, cache, retries, limits, budget, cancellation, recordings, one event stream. Knows no provider and no UI.
