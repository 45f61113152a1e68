//! The way to a Qdrant server: its generated clients, the key on every request, and errors in two kinds. An answer
//! that is an error is a refusal; everything else is a server that does not answer, which a caller may try again.

use std::fmt;
use std::time::Duration;

use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::points_client::PointsClient;
use qdrant_client::qdrant::{
    AliasOperations, ChangeAliases, CollectionExistsRequest, CreateAlias, DeleteAlias, DeleteCollection,
    GetPoints, ListAliasesRequest, ListCollectionsRequest, PointId, RetrievedPoint, ScrollPoints,
    WithPayloadSelector, WithVectorsSelector, alias_operations::Action,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::QdrantPlace;
use crate::engine::EngineError;

/// A server in the same house connects within milliseconds, one across the world within a second.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for one answer; batches are sized so that a loaded server keeps it.
const ANSWER: Duration = Duration::from_secs(60);
/// Largest answer taken; pages and batches stay far below.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// A connection to one collection of a server.
#[derive(Clone)]
pub(super) struct Client {
    address: String,
    key: Option<flowbench_core::connection::Secret>,
    channel: Channel,
    header: ApiKey,
}

type Connected = InterceptedService<Channel, ApiKey>;

#[derive(Clone)]
pub(super) struct ApiKey(Option<MetadataValue<Ascii>>);

impl Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("api-key", key.clone());
        }
        Ok(request)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares a connection; the first request makes it.
    pub(super) fn new(place: &QdrantPlace) -> Result<Self, EngineError> {
        let address = without_user(&place.url);
        let refused = |reason: String| EngineError::Refused { address: address.clone(), reason };
        let header = match &place.api_key {
            None => None,
            Some(key) => {
                let mut value = MetadataValue::try_from(key.reveal())
                    .map_err(|_| refused("the API key has letters that no header can carry".to_owned()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let mut endpoint = Endpoint::from_shared(place.url.clone())
            .map_err(|error| refused(error.to_string()))?
            .connect_timeout(CONNECT)
            .timeout(ANSWER);
        if place.url.starts_with("https://") {
            endpoint = endpoint
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(|error| refused(error.to_string()))?;
        } else if !place.url.starts_with("http://") {
            return Err(refused("the address begins with neither `http://` nor `https://`".to_owned()));
        }
        let channel = endpoint.connect_lazy();
        Ok(Self { address, key: place.api_key.clone(), channel, header: ApiKey(header) })
    }

    pub(super) fn points(&self) -> PointsClient<Connected> {
        PointsClient::with_interceptor(self.channel.clone(), self.header.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
            .max_encoding_message_size(MAX_ANSWER_BYTES)
    }

    pub(super) fn collections(&self) -> CollectionsClient<Connected> {
        CollectionsClient::with_interceptor(self.channel.clone(), self.header.clone())
    }

    /// An error with the address, and the key nowhere in it.
    pub(super) fn failed(&self, status: &Status) -> EngineError {
        let mut reason = status.message().to_owned();
        if reason.is_empty() {
            reason = status.code().description().to_owned();
        }
        if let Some(key) = self.key.as_ref().filter(|key| !key.reveal().is_empty()) {
            reason = reason.replace(key.reveal(), "••••");
        }
        let address = self.address.clone();
        // Transport errors come as `Unknown` and have a source; answers of a server have none.
        let is_transport = std::error::Error::source(status).is_some();
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                EngineError::Unreachable { address, reason }
            }
            _ if is_transport => EngineError::Unreachable { address, reason },
            _ => EngineError::Refused { address, reason },
        }
    }

    pub(super) fn refused(&self, reason: impl Into<String>) -> EngineError {
        EngineError::Refused { address: self.address.clone(), reason: reason.into() }
    }

    pub(super) async fn exists(&self, collection: &str) -> Result<bool, EngineError> {
        let request = CollectionExistsRequest { collection_name: collection.to_owned() };
        let answer = self.collections().collection_exists(request).await;
        let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
        Ok(answer.result.is_some_and(|result| result.exists))
    }

    pub(super) async fn drop_collection(&self, collection: &str) -> Result<(), EngineError> {
        let request =
            DeleteCollection { collection_name: collection.to_owned(), ..DeleteCollection::default() };
        self.collections().delete(request).await.map(|_| ()).map_err(|status| self.failed(&status))
    }

    pub(super) async fn collection_names(&self) -> Result<Vec<String>, EngineError> {
        let answer = self.collections().list(ListCollectionsRequest {}).await;
        let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
        Ok(answer.collections.into_iter().map(|collection| collection.name).collect())
    }

    /// The collection behind an alias.
    pub(super) async fn behind(&self, alias: &str) -> Result<Option<String>, EngineError> {
        let answer = self.collections().list_aliases(ListAliasesRequest {}).await;
        let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
        let found = answer.aliases.into_iter().find(|found| found.alias_name == alias);
        Ok(found.map(|found| found.collection_name))
    }

    /// Makes an alias stand for a collection, in one step for everybody who asks.
    pub(super) async fn point_alias(&self, alias: &str, collection: &str) -> Result<(), EngineError> {
        let mut actions = Vec::new();
        if self.behind(alias).await?.is_some() {
            actions.push(Action::DeleteAlias(DeleteAlias { alias_name: alias.to_owned() }));
        }
        actions.push(Action::CreateAlias(CreateAlias {
            collection_name: collection.to_owned(),
            alias_name: alias.to_owned(),
        }));
        let actions = actions.into_iter().map(|action| AliasOperations { action: Some(action) }).collect();
        let answer = self.collections().update_aliases(ChangeAliases { actions, timeout: None }).await;
        answer.map(|_| ()).map_err(|status| self.failed(&status))
    }

    pub(super) async fn get(
        &self,
        collection: &str,
        ids: Vec<PointId>,
        payload: WithPayloadSelector,
        vectors: WithVectorsSelector,
    ) -> Result<Vec<RetrievedPoint>, EngineError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let request = GetPoints {
            collection_name: collection.to_owned(),
            ids,
            with_payload: Some(payload),
            with_vectors: Some(vectors),
            ..GetPoints::default()
        };
        let answer = self.points().get(request).await.map_err(|status| self.failed(&status))?;
        Ok(answer.into_inner().result)
    }

    /// All points that a request finds, page after page.
    pub(super) async fn scroll(
        &self,
        request: ScrollPoints,
        mut each: impl FnMut(RetrievedPoint) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut request = request;
        loop {
            let answer = self.points().scroll(request.clone()).await;
            let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
            for point in answer.result {
                each(point)?;
            }
            match answer.next_page_offset {
                Some(next) => request.offset = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// An address without the user and password that it may carry.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_without_passwords() {
        assert_eq!(without_user("http://me:word@host:6334/x@y"), "http://host:6334/x@y");
        assert_eq!(without_user("http://host:6334"), "http://host:6334");
    }
}
