//! A coordinator that lies: a proxy that carries every call to the real one and changes what comes back.

mod ledger;
mod lies;
mod market;

use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aitbc_common::identity::Identity;
use aitbc_proto::v1::job_service_client::JobServiceClient;
use aitbc_proto::v1::job_service_server::{JobService, JobServiceServer};
use aitbc_proto::v1::ledger_service_server::LedgerServiceServer;
use aitbc_proto::v1::marketplace_service_server::MarketplaceServiceServer;
use aitbc_proto::v1::network_service_client::NetworkServiceClient;
use aitbc_proto::v1::network_service_server::{NetworkService, NetworkServiceServer};
use aitbc_proto::v1::*;
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

pub use lies::Lie;

const MESSAGE_BYTES: usize = 4 << 20;

/// The proxy; it ends with the test's process.
#[derive(Debug)]
pub struct LyingProxy {
    address: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    lie: Lie,
    /// The proof of a job that was asked for before.
    earlier: Option<ExecutionProof>,
    /// A completed job that was asked for before.
    earlier_job: Option<Job>,
    ledger: ledger::Earlier,
}

impl LyingProxy {
    /// Starts one in front of the coordinator at this address; it is honest until it is told to lie.
    #[must_use]
    pub fn start(coordinator: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        listener.set_nonblocking(true).expect("a socket can be");
        let address = listener.local_addr().expect("it is bound").to_string();
        let shared = Arc::new(Mutex::new(Shared {
            lie: Lie::None,
            earlier: None,
            earlier_job: None,
            ledger: ledger::Earlier::default(),
        }));
        let proxy = Proxy {
            endpoint: Endpoint::from_shared(format!("http://{coordinator}")).expect("an address"),
            shared: shared.clone(),
        };
        std::thread::spawn(move || serve(proxy, listener));
        Self { address, shared }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Gives the liar the key that signs the log: it is the coordinator, after all.
    pub fn has_log_key(&self, key: Identity) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.ledger.log_key = Some(key);
    }

    /// Transactions that were refused and could be recorded at any time.
    pub fn takes_refused(&self) -> Vec<SubmitTransactionRequest> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.ledger.take_refused()
    }

    /// Tells this lie from now on.
    pub fn tells(&self, lie: Lie) {
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lie = lie;
    }
}

fn serve(proxy: Proxy, listener: TcpListener) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let channel = proxy.endpoint.connect_lazy();
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listening socket");
        let jobs = Jobs {
            channel: channel.clone(),
            shared: proxy.shared.clone(),
        };
        let ledger = ledger::Ledger {
            channel: channel.clone(),
            shared: proxy.shared.clone(),
        };
        let market = market::Market {
            channel: channel.clone(),
            shared: proxy.shared,
        };
        let serving = Server::builder()
            .add_service(JobServiceServer::new(jobs).max_decoding_message_size(MESSAGE_BYTES))
            .add_service(LedgerServiceServer::new(ledger))
            .add_service(MarketplaceServiceServer::new(market))
            .add_service(NetworkServiceServer::new(Network { channel }))
            .serve_with_incoming(TcpListenerStream::new(listener));
        serving.await.expect("a bound socket can be served");
    });
}

struct Proxy {
    endpoint: Endpoint,
    shared: Arc<Mutex<Shared>>,
}

struct Network {
    channel: Channel,
}

#[tonic::async_trait]
impl NetworkService for Network {
    async fn get_network_info(
        &self,
        request: Request<GetNetworkInfoRequest>,
    ) -> Result<Response<GetNetworkInfoResponse>, Status> {
        NetworkServiceClient::new(self.channel.clone())
            .get_network_info(request)
            .await
    }

    async fn faucet(
        &self,
        request: Request<FaucetRequest>,
    ) -> Result<Response<FaucetResponse>, Status> {
        NetworkServiceClient::new(self.channel.clone())
            .faucet(request)
            .await
    }
}

struct Jobs {
    channel: Channel,
    shared: Arc<Mutex<Shared>>,
}

impl Jobs {
    fn client(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lies about a proof, and remembers it for later lies.
    fn twist_proof(&self, proof: &mut ExecutionProof) {
        let mut shared = self.shared();
        let truth = proof.clone();
        lies::twist_proof(shared.lie, shared.earlier.as_ref(), proof);
        shared.earlier.get_or_insert(truth);
    }

    /// Lies about which job it is, and remembers it for later lies.
    fn twist_job(&self, job: &mut Job) {
        let mut shared = self.shared();
        let truth = job.clone();
        lies::twist_job(shared.lie, shared.earlier_job.as_ref(), job);
        if truth.status() == JobStatus::Completed {
            shared.earlier_job.get_or_insert(truth);
        }
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

macro_rules! pass_on {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        $(
            fn $method<'life0, 'async_trait>(
                &'life0 self,
                request: Request<$request>,
            ) -> Pin<Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async move { self.client().$method(request).await })
            }
        )*
    };
}
use pass_on;

#[tonic::async_trait]
impl JobService for Jobs {
    pass_on! {
        submit_jobs(SubmitJobsRequest) -> SubmitJobsResponse;
        list_jobs(ListJobsRequest) -> ListJobsResponse;
        cancel_job(CancelJobRequest) -> CancelJobResponse;
        retry_job(RetryJobRequest) -> RetryJobResponse;
        delete_job(DeleteJobRequest) -> DeleteJobResponse;
        list_job_events(ListJobEventsRequest) -> ListJobEventsResponse;
        explain_job(ExplainJobRequest) -> ExplainJobResponse;
        list_models(ListModelsRequest) -> ListModelsResponse;
    }

    async fn acknowledge_result(
        &self,
        request: Request<AcknowledgeResultRequest>,
    ) -> Result<Response<AcknowledgeResultResponse>, Status> {
        if self.shared().lie == Lie::NotAcknowledged {
            return Err(Status::internal("no"));
        }
        self.client().acknowledge_result(request).await
    }

    async fn get_job(
        &self,
        request: Request<GetJobRequest>,
    ) -> Result<Response<GetJobResponse>, Status> {
        let mut answer = self.client().get_job(request).await?;
        if let Some(job) = &mut answer.get_mut().job {
            self.twist_job(job);
        }
        Ok(answer)
    }

    async fn submit_job(
        &self,
        mut request: Request<SubmitJobRequest>,
    ) -> Result<Response<SubmitJobResponse>, Status> {
        let lie = self.shared().lie;
        let spec = request.get_mut().spec.get_or_insert_default();
        if lie == Lie::SpecUnpinned {
            spec.model_digest.clear();
        }
        self.client().submit_job(request).await
    }

    type WatchJobStream = Streamed<WatchJobResponse>;

    /// Waits until the job is final: a lie needs the whole story.
    async fn watch_job(
        &self,
        request: Request<WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let batches: Vec<WatchJobResponse> = self
            .client()
            .watch_job(request)
            .await?
            .into_inner()
            .try_collect()
            .await?;
        let mut events: Vec<WatchJobEvent> =
            batches.into_iter().flat_map(|batch| batch.events).collect();
        lies::twist_events(self.shared().lie, &mut events);
        for event in &mut events {
            match &mut event.event {
                Some(watch_job_event::Event::Job(job)) => self.twist_job(job),
                Some(watch_job_event::Event::Finished(finished)) => {
                    finished.job.iter_mut().for_each(|job| self.twist_job(job));
                    finished
                        .proof
                        .iter_mut()
                        .for_each(|proof| self.twist_proof(proof));
                }
                _ => {}
            }
        }
        let answers = events.into_iter().map(|event| {
            Ok(WatchJobResponse {
                events: vec![event],
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }

    type WatchJobsStream = Streamed<WatchJobsResponse>;

    async fn watch_jobs(
        &self,
        request: Request<WatchJobsRequest>,
    ) -> Result<Response<Self::WatchJobsStream>, Status> {
        Ok(Response::new(
            self.client()
                .watch_jobs(request)
                .await?
                .into_inner()
                .boxed(),
        ))
    }

    type GetResultStream = Streamed<GetResultResponse>;

    async fn get_result(
        &self,
        request: Request<GetResultRequest>,
    ) -> Result<Response<Self::GetResultStream>, Status> {
        let mut parts: Vec<GetResultResponse> = self
            .client()
            .get_result(request)
            .await?
            .into_inner()
            .try_collect()
            .await?;
        lies::twist_parts(self.shared().lie, &mut parts);
        for part in &mut parts {
            if let Some(get_result_response::Part::Header(header)) = &mut part.part {
                header.job.iter_mut().for_each(|job| self.twist_job(job));
                header
                    .proof
                    .iter_mut()
                    .for_each(|proof| self.twist_proof(proof));
            }
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(
            parts.into_iter().map(Ok),
        ))))
    }
}
