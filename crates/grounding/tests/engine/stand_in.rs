//! A Qdrant server for tests: the gRPC calls that the engine makes, in memory and exact. Ties come in the order that is
//! worst for the caller, and it can refuse, ask for a key, and go away.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use flowbench_core::connection::Secret;
use flowbench_grounding::engine::server::QdrantPlace;
use qdrant_client::qdrant::collections_server::{Collections, CollectionsServer};
use qdrant_client::qdrant::points_server::{Points, PointsServer};
use qdrant_client::qdrant::{self as q, condition::ConditionOneOf, value::Kind};
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

#[derive(Clone, Default)]
struct Point {
    payload: HashMap<String, q::Value>,
    dense: Option<Vec<f32>>,
    sparse: Option<BTreeMap<u32, f32>>,
}

#[derive(Default)]
struct Collection {
    dimensions: Option<u64>,
    points: BTreeMap<String, Point>,
}

#[derive(Default)]
struct State {
    collections: BTreeMap<String, Collection>,
    aliases: BTreeMap<String, String>,
    /// Upserts until the disk is full.
    upserts_left: Option<usize>,
    alias_changes: Vec<usize>,
}

#[derive(Clone, Default)]
struct Held(Arc<Mutex<State>>);

/// A running stand-in; it goes away when dropped or stopped.
pub struct StandIn {
    pub place: QdrantPlace,
    held: Held,
    tasks: Option<tokio::runtime::Runtime>,
}

impl StandIn {
    pub fn start(api_key: Option<&str>) -> Self {
        // A runtime of its own: stopping it closes connections in the middle of whatever they do.
        let tasks =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let held = Held::default();
        let _entered = tasks.enter();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
        let expected = api_key.map(str::to_owned);
        let check = move |request: Request<()>| {
            let key = request.metadata().get("api-key").and_then(|key| key.to_str().ok());
            match expected.is_none() || key == expected.as_deref() {
                true => Ok(request),
                false => Err(Status::unauthenticated(format!("Invalid API key {}", key.unwrap_or("")))),
            }
        };
        let server = Server::builder()
            .add_service(PointsServer::with_interceptor(held.clone(), check.clone()))
            .add_service(CollectionsServer::with_interceptor(held.clone(), check));
        tasks.spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
        let place = QdrantPlace {
            url: format!("http://{address}"),
            api_key: api_key.map(Secret::new),
            collection: "handbook".to_owned(),
        };
        drop(_entered);
        Self { place, held, tasks: Some(tasks) }
    }

    pub fn stop(&mut self) {
        if let Some(tasks) = self.tasks.take() {
            tasks.shutdown_background();
        }
    }

    pub fn fill_up_after(&self, upserts: usize) {
        self.held.state().upserts_left = Some(upserts);
    }

    pub fn collections(&self) -> Vec<String> {
        self.held.state().collections.keys().cloned().collect()
    }

    /// How many actions each change of aliases had.
    pub fn alias_changes(&self) -> Vec<usize> {
        self.held.state().alias_changes.clone()
    }

    /// Changes one letter in the chunk of a point, as a broken disk would.
    pub fn corrupt(&self, collection: &str) {
        let mut state = self.held.state();
        let points = &mut state.collections.get_mut(collection).unwrap().points;
        let value = points.values_mut().find_map(|point| point.payload.get_mut("chunk")).unwrap();
        let Some(Kind::StringValue(text)) = &mut value.kind else { panic!("a text") };
        *text = text.replacen("word", "wore", 1);
    }

    pub fn lose_a_vector(&self, collection: &str) {
        let mut state = self.held.state();
        let points = &mut state.collections.get_mut(collection).unwrap().points;
        points.values_mut().find(|point| point.dense.is_some()).unwrap().dense = None;
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn named(&mut self, name: &str) -> Result<&mut Collection, Status> {
        let name = self.aliases.get(name).cloned().unwrap_or_else(|| name.to_owned());
        let missing = || Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"));
        self.collections.get_mut(&name).ok_or_else(missing)
    }
}

fn id_of(id: Option<q::PointId>) -> Result<String, Status> {
    match id.and_then(|id| id.point_id_options) {
        Some(q::point_id::PointIdOptions::Uuid(uuid)) => Ok(uuid),
        other => Err(Status::invalid_argument(format!("no UUID: {other:?}"))),
    }
}

fn named(vectors: Option<q::Vectors>) -> HashMap<String, q::Vector> {
    match vectors.and_then(|vectors| vectors.vectors_options) {
        Some(q::vectors::VectorsOptions::Vectors(named)) => named.vectors,
        _ => HashMap::new(),
    }
}

/// Takes vectors over as Qdrant does: dense ones get length one, wrong lengths are refused.
fn take_vectors(
    point: &mut Point,
    vectors: Option<q::Vectors>,
    dimensions: Option<u64>,
) -> Result<(), Status> {
    for (name, vector) in named(vectors) {
        match (name.as_str(), vector.vector) {
            ("dense", Some(q::vector::Vector::Dense(dense))) => {
                if dimensions != Some(dense.data.len() as u64) {
                    return Err(Status::invalid_argument("Vector dimension error"));
                }
                let length = dense.data.iter().map(|number| number * number).sum::<f32>().sqrt();
                point.dense = Some(dense.data.iter().map(|number| number / length).collect());
            }
            ("keywords", Some(q::vector::Vector::Sparse(sparse))) => {
                let sorted: BTreeMap<u32, f32> = sparse.indices.iter().copied().zip(sparse.values).collect();
                if sorted.len() != sparse.indices.len() {
                    return Err(Status::invalid_argument("indices must be unique"));
                }
                point.sparse = Some(sorted);
            }
            (name, other) => return Err(Status::invalid_argument(format!("vector {name}: {other:?}"))),
        }
    }
    Ok(())
}

fn values<'a>(payload: &'a HashMap<String, q::Value>, path: &str) -> Vec<&'a Kind> {
    let mut steps = path.split('.');
    let mut value = steps.next().and_then(|step| payload.get(step));
    for step in steps {
        value = match value.and_then(|value| value.kind.as_ref()) {
            Some(Kind::StructValue(inner)) => inner.fields.get(step),
            _ => None,
        };
    }
    match value.and_then(|value| value.kind.as_ref()) {
        Some(Kind::ListValue(list)) => list.values.iter().filter_map(|value| value.kind.as_ref()).collect(),
        Some(kind) => vec![kind],
        None => Vec::new(),
    }
}

fn holds(condition: &q::Condition, point: &Point) -> bool {
    match condition.condition_one_of.as_ref().unwrap() {
        ConditionOneOf::HasVector(wanted) => match wanted.has_vector.as_str() {
            "dense" => point.dense.is_some(),
            _ => point.sparse.is_some(),
        },
        ConditionOneOf::Field(field) => {
            let values = values(&point.payload, &field.key);
            if let Some(range) = &field.range {
                return values.iter().any(|kind| {
                    let number = match kind {
                        Kind::DoubleValue(number) => *number,
                        Kind::IntegerValue(number) => *number as f64,
                        _ => return false,
                    };
                    range.gte.is_none_or(|bound| number >= bound)
                        && range.lte.is_none_or(|bound| number <= bound)
                });
            }
            let wanted = match field.r#match.as_ref().and_then(|wanted| wanted.match_value.as_ref()) {
                Some(q::r#match::MatchValue::Keywords(wanted)) => &wanted.strings,
                other => panic!("not known to the stand-in: {other:?}"),
            };
            values.iter().any(|kind| matches!(kind, Kind::StringValue(text) if wanted.contains(text)))
        }
        other => panic!("not known to the stand-in: {other:?}"),
    }
}

fn passes(filter: Option<&q::Filter>, point: &Point) -> bool {
    filter.is_none_or(|filter| {
        filter.must.iter().all(|condition| holds(condition, point))
            && !filter.must_not.iter().any(|condition| holds(condition, point))
    })
}

fn vectors_out(point: &Point, wanted: Option<&q::WithVectorsSelector>) -> Option<q::VectorsOutput> {
    use q::vector_output::Vector;
    use q::with_vectors_selector::SelectorOptions;
    let names = match wanted?.selector_options.as_ref()? {
        SelectorOptions::Enable(false) => return None,
        SelectorOptions::Enable(true) => vec!["dense".to_owned(), "keywords".to_owned()],
        SelectorOptions::Include(names) => names.names.clone(),
    };
    let mut found = HashMap::new();
    for name in names {
        let vector = match name.as_str() {
            "dense" => point.dense.clone().map(|data| Vector::Dense(q::DenseVector { data })),
            _ => point.sparse.clone().map(|sparse| {
                let (indices, values) = sparse.into_iter().unzip();
                Vector::Sparse(q::SparseVector { indices, values })
            }),
        };
        if let Some(vector) = vector {
            found.insert(name, q::VectorOutput { vector: Some(vector), ..q::VectorOutput::default() });
        }
    }
    let options = q::vectors_output::VectorsOptions::Vectors(q::NamedVectorsOutput { vectors: found });
    Some(q::VectorsOutput { vectors_options: Some(options) })
}

fn retrieved(id: &str, point: &Point, vectors: Option<&q::WithVectorsSelector>) -> q::RetrievedPoint {
    q::RetrievedPoint {
        id: Some(id.into()),
        payload: point.payload.clone(),
        vectors: vectors_out(point, vectors),
        ..q::RetrievedPoint::default()
    }
}

fn done() -> Answer<q::PointsOperationResponse> {
    Ok(Response::new(q::PointsOperationResponse::default()))
}

/// Methods that the engine never calls.
macro_rules! never {
    ($($name:ident($request:ty) -> $answer:ty;)*) => {
        /// Calls, and what the stand-in does for those it knows.
        #[tonic::async_trait]
        impl Points for Held {
            $(async fn $name(&self, _: Request<$request>) -> Answer<$answer> {
                Err(Status::unimplemented(stringify!($name)))
            })*

            async fn upsert(&self, request: Request<q::UpsertPoints>) -> Answer<q::PointsOperationResponse> {
                let request = request.into_inner();
                let mut state = self.state();
                if let Some(left) = &mut state.upserts_left {
                    *left = left.checked_sub(1).ok_or_else(|| Status::internal("No space left on device"))?;
                }
                let collection = state.named(&request.collection_name)?;
                for point in request.points {
                    let mut kept = Point { payload: point.payload, ..Point::default() };
                    take_vectors(&mut kept, point.vectors, collection.dimensions)?;
                    collection.points.insert(id_of(point.id)?, kept);
                }
                done()
            }

            async fn update_vectors(&self, request: Request<q::UpdatePointVectors>) -> Answer<q::PointsOperationResponse> {
                let request = request.into_inner();
                let mut state = self.state();
                let collection = state.named(&request.collection_name)?;
                for vectors in request.points {
                    let id = id_of(vectors.id)?;
                    let point = collection.points.get_mut(&id).ok_or_else(|| Status::not_found(id))?;
                    take_vectors(point, vectors.vectors, collection.dimensions)?;
                }
                done()
            }

            async fn delete(&self, request: Request<q::DeletePoints>) -> Answer<q::PointsOperationResponse> {
                let request = request.into_inner();
                let Some(q::points_selector::PointsSelectorOneOf::Filter(filter)) =
                    request.points.and_then(|points| points.points_selector_one_of)
                else {
                    return Err(Status::unimplemented("deleting by id"));
                };
                let mut state = self.state();
                let points = &mut state.named(&request.collection_name)?.points;
                points.retain(|_, point| !passes(Some(&filter), point));
                done()
            }

            async fn create_field_index(&self, request: Request<q::CreateFieldIndexCollection>) -> Answer<q::PointsOperationResponse> {
                self.state().named(&request.into_inner().collection_name)?;
                done()
            }

            async fn get(&self, request: Request<q::GetPoints>) -> Answer<q::GetResponse> {
                let request = request.into_inner();
                let mut state = self.state();
                let points = &state.named(&request.collection_name)?.points;
                let mut result = Vec::new();
                for id in request.ids {
                    let id = id_of(Some(id))?;
                    result.extend(points.get(&id).map(|point| retrieved(&id, point, request.with_vectors.as_ref())));
                }
                result.reverse();
                Ok(Response::new(q::GetResponse { result, ..q::GetResponse::default() }))
            }

            async fn scroll(&self, request: Request<q::ScrollPoints>) -> Answer<q::ScrollResponse> {
                let request = request.into_inner();
                let mut state = self.state();
                let points = &state.named(&request.collection_name)?.points;
                let start = request.offset.map(|offset| id_of(Some(offset))).transpose()?.unwrap_or_default();
                let limit = request.limit.unwrap_or(10) as usize;
                let mut found: Vec<_> = points
                    .range(start..)
                    .filter(|(_, point)| passes(request.filter.as_ref(), point))
                    .take(limit + 1)
                    .map(|(id, point)| retrieved(id, point, request.with_vectors.as_ref()))
                    .collect();
                let next_page_offset = (found.len() > limit).then(|| found.pop().unwrap().id.unwrap());
                Ok(Response::new(q::ScrollResponse { next_page_offset, result: found, ..q::ScrollResponse::default() }))
            }

            async fn count(&self, request: Request<q::CountPoints>) -> Answer<q::CountResponse> {
                let request = request.into_inner();
                let mut state = self.state();
                let points = &state.named(&request.collection_name)?.points;
                let count = points.values().filter(|point| passes(request.filter.as_ref(), point)).count() as u64;
                let result = Some(q::CountResult { count });
                Ok(Response::new(q::CountResponse { result, ..q::CountResponse::default() }))
            }

            async fn query(&self, request: Request<q::QueryPoints>) -> Answer<q::QueryResponse> {
                let request = request.into_inner();
                let Some(q::query::Variant::Nearest(input)) = request.query.and_then(|query| query.variant) else {
                    return Err(Status::unimplemented("other queries"));
                };
                let mut state = self.state();
                let points = &state.named(&request.collection_name)?.points;
                let mut found = Vec::new();
                for (id, point) in points.iter().filter(|(_, point)| passes(request.filter.as_ref(), point)) {
                    let score = match (input.variant.as_ref().unwrap(), request.using.as_deref()) {
                        (q::vector_input::Variant::Dense(asked), Some("dense")) => {
                            let length = asked.data.iter().map(|number| number * number).sum::<f32>().sqrt();
                            point.dense.as_ref().map(|dense| {
                                dense.iter().zip(&asked.data).map(|(left, right)| left * right / length).sum::<f32>()
                            })
                        }
                        (q::vector_input::Variant::Sparse(asked), Some("keywords")) => point.sparse.as_ref().and_then(|sparse| {
                            let parts: Vec<f32> = asked.indices.iter().zip(&asked.values)
                                .filter_map(|(index, value)| Some(sparse.get(index)? * value))
                                .collect();
                            (!parts.is_empty()).then(|| parts.iter().sum())
                        }),
                        _ => return Err(Status::unimplemented("other vectors")),
                    };
                    found.extend(score.map(|score| (score, id, point)));
                }
                found.sort_by(|left, right| right.0.total_cmp(&left.0).then(right.1.cmp(left.1)));
                found.truncate(request.limit.unwrap_or(10) as usize);
                let result = found.into_iter().map(|(score, id, point)| q::ScoredPoint {
                    id: Some(id.as_str().into()),
                    score,
                    vectors: vectors_out(point, request.with_vectors.as_ref()),
                    ..q::ScoredPoint::default()
                });
                Ok(Response::new(q::QueryResponse { result: result.collect(), ..q::QueryResponse::default() }))
            }
        }
    };
}

never! {
    delete_vectors(q::DeletePointVectors) -> q::PointsOperationResponse;
    set_payload(q::SetPayloadPoints) -> q::PointsOperationResponse;
    overwrite_payload(q::SetPayloadPoints) -> q::PointsOperationResponse;
    delete_payload(q::DeletePayloadPoints) -> q::PointsOperationResponse;
    clear_payload(q::ClearPayloadPoints) -> q::PointsOperationResponse;
    delete_field_index(q::DeleteFieldIndexCollection) -> q::PointsOperationResponse;
    create_vector_name(q::CreateVectorNameRequest) -> q::PointsOperationResponse;
    delete_vector_name(q::DeleteVectorNameRequest) -> q::PointsOperationResponse;
    search(q::SearchPoints) -> q::SearchResponse;
    search_batch(q::SearchBatchPoints) -> q::SearchBatchResponse;
    search_groups(q::SearchPointGroups) -> q::SearchGroupsResponse;
    recommend(q::RecommendPoints) -> q::RecommendResponse;
    recommend_batch(q::RecommendBatchPoints) -> q::RecommendBatchResponse;
    recommend_groups(q::RecommendPointGroups) -> q::RecommendGroupsResponse;
    discover(q::DiscoverPoints) -> q::DiscoverResponse;
    discover_batch(q::DiscoverBatchPoints) -> q::DiscoverBatchResponse;
    update_batch(q::UpdateBatchPoints) -> q::UpdateBatchResponse;
    query_batch(q::QueryBatchPoints) -> q::QueryBatchResponse;
    query_groups(q::QueryPointGroups) -> q::QueryGroupsResponse;
    facet(q::FacetCounts) -> q::FacetResponse;
    search_matrix_pairs(q::SearchMatrixPoints) -> q::SearchMatrixPairsResponse;
    search_matrix_offsets(q::SearchMatrixPoints) -> q::SearchMatrixOffsetsResponse;
}

fn changed() -> Answer<q::CollectionOperationResponse> {
    Ok(Response::new(q::CollectionOperationResponse { result: true, time: 0.0 }))
}

#[tonic::async_trait]
impl Collections for Held {
    async fn create(&self, request: Request<q::CreateCollection>) -> Answer<q::CollectionOperationResponse> {
        let request = request.into_inner();
        let dimensions = request.vectors_config.and_then(|config| match config.config? {
            q::vectors_config::Config::ParamsMap(params) => params.map.get("dense").map(|dense| dense.size),
            q::vectors_config::Config::Params(_) => None,
        });
        let mut state = self.state();
        if state.collections.contains_key(&request.collection_name) {
            return Err(Status::already_exists("Collection already exists"));
        }
        state.collections.insert(request.collection_name, Collection { dimensions, ..Collection::default() });
        changed()
    }

    async fn delete(&self, request: Request<q::DeleteCollection>) -> Answer<q::CollectionOperationResponse> {
        self.state().collections.remove(&request.into_inner().collection_name);
        changed()
    }

    async fn list(&self, _: Request<q::ListCollectionsRequest>) -> Answer<q::ListCollectionsResponse> {
        let names = self.state().collections.keys().cloned().collect::<Vec<_>>();
        let collections = names.into_iter().map(|name| q::CollectionDescription { name }).collect();
        Ok(Response::new(q::ListCollectionsResponse { collections, time: 0.0 }))
    }

    async fn get(
        &self,
        request: Request<q::GetCollectionInfoRequest>,
    ) -> Answer<q::GetCollectionInfoResponse> {
        self.state().named(&request.into_inner().collection_name)?;
        let info =
            q::CollectionInfo { status: q::CollectionStatus::Green as i32, ..q::CollectionInfo::default() };
        Ok(Response::new(q::GetCollectionInfoResponse { result: Some(info), time: 0.0 }))
    }

    async fn update_aliases(
        &self,
        request: Request<q::ChangeAliases>,
    ) -> Answer<q::CollectionOperationResponse> {
        use q::alias_operations::Action;
        let mut state = self.state();
        let actions = request.into_inner().actions;
        state.alias_changes.push(actions.len());
        let mut aliases = state.aliases.clone();
        for action in actions {
            match action.action {
                Some(Action::CreateAlias(create)) => {
                    if !state.collections.contains_key(&create.collection_name) {
                        return Err(Status::not_found(format!(
                            "Collection `{}` doesn't exist!",
                            create.collection_name
                        )));
                    }
                    aliases.insert(create.alias_name, create.collection_name);
                }
                Some(Action::DeleteAlias(delete)) => {
                    aliases.remove(&delete.alias_name);
                }
                _ => return Err(Status::unimplemented("renaming")),
            }
        }
        state.aliases = aliases;
        changed()
    }

    async fn list_aliases(&self, _: Request<q::ListAliasesRequest>) -> Answer<q::ListAliasesResponse> {
        let aliases = self.state().aliases.clone().into_iter();
        let aliases = aliases
            .map(|(alias_name, collection_name)| q::AliasDescription { alias_name, collection_name })
            .collect();
        Ok(Response::new(q::ListAliasesResponse { aliases, time: 0.0 }))
    }

    async fn collection_exists(
        &self,
        request: Request<q::CollectionExistsRequest>,
    ) -> Answer<q::CollectionExistsResponse> {
        let exists = self.state().named(&request.into_inner().collection_name).is_ok();
        let result = Some(q::CollectionExists { exists });
        Ok(Response::new(q::CollectionExistsResponse { result, time: 0.0 }))
    }

    async fn update(&self, _: Request<q::UpdateCollection>) -> Answer<q::CollectionOperationResponse> {
        Err(Status::unimplemented("update"))
    }

    async fn list_collection_aliases(
        &self,
        _: Request<q::ListCollectionAliasesRequest>,
    ) -> Answer<q::ListAliasesResponse> {
        Err(Status::unimplemented("list_collection_aliases"))
    }

    async fn collection_cluster_info(
        &self,
        _: Request<q::CollectionClusterInfoRequest>,
    ) -> Answer<q::CollectionClusterInfoResponse> {
        Err(Status::unimplemented("collection_cluster_info"))
    }

    async fn update_collection_cluster_setup(
        &self,
        _: Request<q::UpdateCollectionClusterSetupRequest>,
    ) -> Answer<q::UpdateCollectionClusterSetupResponse> {
        Err(Status::unimplemented("update_collection_cluster_setup"))
    }

    async fn create_shard_key(
        &self,
        _: Request<q::CreateShardKeyRequest>,
    ) -> Answer<q::CreateShardKeyResponse> {
        Err(Status::unimplemented("create_shard_key"))
    }

    async fn delete_shard_key(
        &self,
        _: Request<q::DeleteShardKeyRequest>,
    ) -> Answer<q::DeleteShardKeyResponse> {
        Err(Status::unimplemented("delete_shard_key"))
    }

    async fn list_shard_keys(&self, _: Request<q::ListShardKeysRequest>) -> Answer<q::ListShardKeysResponse> {
        Err(Status::unimplemented("list_shard_keys"))
    }
}
