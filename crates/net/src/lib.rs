//! The one outbound HTTP client: host policy, limits and a visible log. Knows neither flows nor providers.
