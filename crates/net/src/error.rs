//! What can go wrong on the way out.

use std::time::Duration;

use flowbench_core::ports::{ModelError, ModelErrorKind};
use thiserror::Error;

/// A request that was refused or failed. Never holds a header, a body or a query.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NetError {
    /// The address cannot be used.
    #[error("address `{address}` cannot be used: {reason}")]
    Address {
        /// As given, without query.
        address: String,
        /// Why.
        reason: String,
    },
    /// The host is not on the list.
    #[error("host `{host}` is not allowed")]
    HostNotAllowed {
        /// Host and port.
        host: String,
    },
    /// The host is, or resolves to, an address of this machine or a private network.
    #[error("host `{host}` is a private address and was not approved")]
    PrivateAddress {
        /// Host.
        host: String,
    },
    /// A redirect left encryption.
    #[error("host `{host}` redirects to an unencrypted address")]
    InsecureRedirect {
        /// Host that redirects.
        host: String,
    },
    /// Redirects without end.
    #[error("host `{host}` redirects more than {limit} times")]
    TooManyRedirects {
        /// First host.
        host: String,
        /// Most that are followed.
        limit: usize,
    },
    /// No connection.
    #[error("no connection to `{host}`: {reason}")]
    Connect {
        /// Host and port.
        host: String,
        /// In the system's words.
        reason: String,
    },
    /// The certificate store cannot be used.
    #[error("encryption cannot be set up: {reason}")]
    Tls {
        /// Why.
        reason: String,
    },
    /// Nothing, or not enough, came in time.
    #[error("`{host}` {what} within {} s", after.as_secs_f64())]
    Timeout {
        /// Host and port.
        host: String,
        /// What did not happen.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke, or the answer ended before its stated length.
    #[error("connection to `{host}` broke: {reason}")]
    Broken {
        /// Host and port.
        host: String,
        /// In the library's words.
        reason: String,
    },
    /// The answer is larger than asked for.
    #[error("answer of `{host}` is larger than {limit} bytes")]
    TooLarge {
        /// Host and port.
        host: String,
        /// The limit.
        limit: u64,
    },
    /// The request cannot be written down.
    #[error("request cannot be sent: {reason}")]
    Request {
        /// Why.
        reason: String,
    },
}

impl NetError {
    /// What to do, where something can be done.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::HostNotAllowed { host } => {
                format!("trust the folder that names it, or put `{host}` in a connection of your own")
            }
            Self::PrivateAddress { host } => {
                format!("put `{host}` in a connection of your own to approve it")
            }
            Self::Tls { .. } => {
                "install the system's root certificates, or point SSL_CERT_FILE to a file".to_owned()
            }
            Self::Connect { host, .. } => {
                format!("is the server of `{host}` running, and is the address right?")
            }
            _ => return None,
        })
    }

    /// True if policy stands in the way, not the network.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::HostNotAllowed { .. } | Self::PrivateAddress { .. } | Self::InsecureRedirect { .. }
        )
    }
}

impl From<NetError> for ModelError {
    fn from(error: NetError) -> Self {
        let kind = match &error {
            NetError::HostNotAllowed { .. }
            | NetError::PrivateAddress { .. }
            | NetError::InsecureRedirect { .. } => ModelErrorKind::Forbidden,
            NetError::Address { .. } | NetError::Request { .. } => ModelErrorKind::InvalidRequest,
            NetError::TooManyRedirects { .. } | NetError::TooLarge { .. } => ModelErrorKind::BadReply,
            NetError::Connect { .. } | NetError::Broken { .. } => ModelErrorKind::Unavailable,
            NetError::Timeout { .. } => ModelErrorKind::Timeout,
            NetError::Tls { .. } => ModelErrorKind::Internal,
        };
        let mut told = Self::new(kind, error.to_string());
        told.hint = error.hint();
        told
    }
}
