//! Connections: which of the pooled clients a hop goes through, made when first needed.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::error::NetError;
use crate::policy::{Trust, is_private};

/// Longest wait for a connection; a host that takes longer is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Proxies between this machine and the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http` addresses.
    pub http: Option<String>,
    /// For `https` addresses.
    pub https: Option<String>,
    /// Hosts that are called directly, as `NO_PROXY` writes them.
    pub except: String,
}

impl Proxies {
    /// What `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (or their lower case) say.
    pub fn from_env() -> Self {
        let variable = |name: &str| {
            let lower = name.to_ascii_lowercase();
            std::env::var(lower)
                .or_else(|_| std::env::var(name))
                .ok()
                .filter(|value| !value.trim().is_empty())
        };
        let all = variable("ALL_PROXY");
        Self {
            http: variable("HTTP_PROXY").or_else(|| all.clone()),
            https: variable("HTTPS_PROXY").or(all),
            except: variable("NO_PROXY").unwrap_or_default(),
        }
    }
}

/// How a hop reaches its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// Directly; the host may be anywhere.
    Open,
    /// Directly; connects to public addresses only.
    Guarded,
    /// Through the proxy, which resolves the name and is trusted to.
    Proxied,
}

type Lazy = OnceLock<Result<reqwest::Client, NetError>>;

/// The pooled clients: one for each route, with and without encryption (certificates are read only when needed).
pub(crate) struct Clients {
    proxies: Proxies,
    exceptions: Matcher,
    plain: [Lazy; 3],
    encrypted: [Lazy; 3],
}

impl Clients {
    pub fn new(proxies: Proxies) -> Self {
        // Only the exceptions are asked of it; the address stands for any proxy.
        let exceptions = Matcher::builder().all("http://proxy.invalid").no(proxies.except.clone()).build();
        Self { proxies, exceptions, plain: Default::default(), encrypted: Default::default() }
    }

    /// The client for one hop.
    pub fn client(&self, url: &Url, trust: Trust) -> Result<reqwest::Client, NetError> {
        let route = self.route(url, trust);
        let is_encrypted = url.scheme() == "https";
        let lazies = if is_encrypted { &self.encrypted } else { &self.plain };
        lazies[route as usize].get_or_init(|| self.build(route, is_encrypted)).clone()
    }

    fn route(&self, url: &Url, trust: Trust) -> Route {
        let proxy = if url.scheme() == "https" { &self.proxies.https } else { &self.proxies.http };
        if proxy.is_some() && !is_this_machine(url) && self.is_intercepted(url) {
            return Route::Proxied;
        }
        match trust {
            Trust::Approved => Route::Open,
            Trust::Public => Route::Guarded,
        }
    }

    fn is_intercepted(&self, url: &Url) -> bool {
        url.as_str().parse().is_ok_and(|uri| self.exceptions.intercept(&uri).is_some())
    }

    fn build(&self, route: Route, is_encrypted: bool) -> Result<reqwest::Client, NetError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(is_encrypted)?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("flowbench/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .no_proxy();
        let failed = |error: reqwest::Error| NetError::Request { reason: told(&error.without_url()) };
        match route {
            Route::Open => {}
            Route::Guarded => builder = builder.dns_resolver(Arc::new(GuardedResolver)),
            Route::Proxied => {
                if let Some(proxy) = &self.proxies.http {
                    builder = builder.proxy(reqwest::Proxy::http(proxy.as_str()).map_err(failed)?);
                }
                if let Some(proxy) = &self.proxies.https {
                    builder = builder.proxy(reqwest::Proxy::https(proxy.as_str()).map_err(failed)?);
                }
            }
        }
        builder.build().map_err(failed)
    }
}

/// `localhost` and loopback numbers: no proxy can reach this machine for us.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// System roots, or those of `SSL_CERT_FILE`. Plain addresses need none.
fn tls(is_encrypted: bool) -> Result<rustls::ClientConfig, NetError> {
    let failed = |error: rustls::Error| NetError::Tls { reason: error.to_string() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    Ok(match is_encrypted {
        true => builder.with_platform_verifier().map_err(failed)?.with_no_client_auth(),
        false => builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
    })
}

/// Resolves names to public addresses only. It answers at connect time, so a name that changes its mind between
/// check and use gains nothing.
struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> =
                found.iter().copied().filter(|address| !is_private(address.ip())).collect();
            if public.is_empty() && !found.is_empty() {
                return Err(NetError::PrivateAddress { host }.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Tells a library error in our words, without the address.
pub(crate) fn failure_of(error: &reqwest::Error, host: &str) -> NetError {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<NetError>() {
            return refusal.clone();
        }
        source = cause.source();
    }
    let host = host.to_owned();
    if error.is_timeout() && error.is_connect() {
        return NetError::Timeout { host, what: "took no connection", after: CONNECT_TIMEOUT };
    }
    let reason = last_cause(error);
    if error.is_connect() {
        NetError::Connect { host, reason }
    } else if error.is_builder() {
        NetError::Request { reason }
    } else {
        NetError::Broken { host, reason }
    }
}

fn told(error: &dyn Error) -> String {
    match error.source() {
        Some(_) => format!("{error}: {}", last_cause(error)),
        None => error.to_string(),
    }
}

/// The innermost cause says what happened; the layers above only name themselves (and the address).
fn last_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
