//! Looks for injections, personal data, secrets and an author's own rules in a text.
