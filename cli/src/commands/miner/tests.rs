//! The verbs against a coordinator that has one job and remembers what it was told.

mod polls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aitbc_common::address::Address;
use aitbc_common::genesis::{Genesis, chain_id};
use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{Assignment, JobSpec, NO_MAX_RATE, Receipt};
use aitbc_common::runtime::status::ApiError;
use aitbc_common::runtime::{random_bytes, unix_ms};
use aitbc_common::token::{self, Scope};
use aitbc_proto::v1::complete_job_request::Part;
use aitbc_proto::v1::miner_service_server::{MinerService, MinerServiceServer};
use aitbc_proto::v1::network_service_server::{NetworkService, NetworkServiceServer};
use aitbc_proto::v1::*;
use clap::Parser;
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::arguments::{Cli, Command};
use crate::context::Context;

const INPUT: &[u8] = br#"{"prompt":"Hello AITBC"}"#;

#[derive(Debug, Default)]
struct Told {
    output: Vec<u8>,
    result: Vec<u8>,
    complete: Option<Complete>,
    failed: Option<FailJobRequest>,
    extended: Option<ExtendLeaseRequest>,
    updated: Option<UpdateMinerRequest>,
    no_job: bool,
    polls: Vec<PollJobRequest>,
    lost_answers: usize,
    stale_polls: usize,
    lease_is_over: bool,
}

#[derive(Clone)]
struct Coordinator {
    genesis: Vec<u8>,
    job_id: JobId,
    miner: PublicKey,
    told: Arc<Mutex<Told>>,
}

impl Coordinator {
    fn new(miner: PublicKey) -> Self {
        let genesis = Genesis {
            allocations: std::collections::BTreeMap::new(),
            faucet: None,
            previous: None,
            auditors: Vec::new(),
            fee_bps: 250,
            log_key: [1; 32],
            profile: "dev".into(),
            random: random_bytes(),
            service_key: service().public().0,
            version: 1,
        };
        let job_id = JobId::new(1_000, 1, [5; 10]);
        Self {
            genesis: genesis.to_bytes(),
            job_id,
            miner,
            told: Arc::default(),
        }
    }

    fn chain(&self) -> Hash {
        chain_id(&self.genesis)
    }

    /// The caller must have a token for this chain.
    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let header = request
            .metadata()
            .get("authorization")
            .unwrap()
            .to_str()
            .unwrap();
        let token = header.strip_prefix("Bearer ").unwrap();
        let claims = token::verify(token, &self.chain(), unix_ms() / 1_000).unwrap();
        assert_eq!((claims.identity, claims.scope), (self.miner, Scope::Miner));
        if self.told.lock().unwrap().lease_is_over {
            return Err(ApiError::new(ErrorReason::StaleAttempt, "the lease is over").into());
        }
        Ok(())
    }

    fn assign(&self) -> Assign {
        let spec = JobSpec {
            job_type: JobSpec::decode(&[&[1, 1], [0; 250].as_slice()].concat())
                .unwrap()
                .job_type,
            flags: 0,
            chain_id: self.chain(),
            owner: PublicKey([4; 32]),
            salt: [5; 32],
            model_name_hash: sha256(b"llama3:latest"),
            model_digest: [0; 32],
            input_len: INPUT.len() as u64,
            input_hash: sha256(INPUT),
            requirements_hash: sha256(b""),
            max_rate: NO_MAX_RATE,
            deadline_ms: 3_600_000,
        };
        let assignment = Assignment {
            flags: 0,
            attempt: 2,
            chain_id: self.chain(),
            job_id: self.job_id,
            job_ref: spec.job_ref(),
            miner_key: self.miner,
            payee: Address([8; 20]),
            rate: 500_000,
            fee_bps: 250,
            locked: 0,
            budget_ms: u64::MAX,
            prompt_speed: 0,
            output_speed: 0,
            issued_ms: unix_ms(),
            locks_hash: [0; 32],
        };
        Assign {
            job_id: self.job_id.to_string(),
            attempt: 2,
            assignment_signature: assignment.sign(&service()).to_vec().into(),
            assignment: assignment.encode().into(),
            spec: spec.encode().into(),
            model: "llama3:latest".into(),
            input: INPUT.into(),
            time_left: None,
        }
    }
}

fn service() -> Identity {
    Identity::from_seed(&[3; 32])
}

fn miner() -> Miner {
    Miner {
        miner_id: "miner_x".into(),
        name: "rig-1".into(),
        slots: 1,
        ..Default::default()
    }
}

#[tonic::async_trait]
impl NetworkService for Coordinator {
    async fn get_network_info(
        &self,
        _: Request<GetNetworkInfoRequest>,
    ) -> Result<Response<GetNetworkInfoResponse>, Status> {
        Ok(Response::new(GetNetworkInfoResponse {
            chain_id: self.chain().to_vec().into(),
            service_key: service().public().0.to_vec().into(),
            genesis: self.genesis.clone().into(),
            ..Default::default()
        }))
    }

    async fn faucet(
        &self,
        _: Request<aitbc_proto::v1::FaucetRequest>,
    ) -> Result<Response<aitbc_proto::v1::FaucetResponse>, Status> {
        Err(Status::unimplemented("this coordinator has no faucet"))
    }
}

#[tonic::async_trait]
impl MinerService for Coordinator {
    type OpenSessionStream = ReceiverStream<Result<OpenSessionResponse, Status>>;

    async fn register_miner(
        &self,
        _: Request<RegisterMinerRequest>,
    ) -> Result<Response<RegisterMinerResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn update_miner(
        &self,
        request: Request<UpdateMinerRequest>,
    ) -> Result<Response<UpdateMinerResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        self.told.lock().unwrap().updated = Some(request.clone());
        Ok(Response::new(UpdateMinerResponse {
            miner: request.miner,
        }))
    }

    async fn get_miner(
        &self,
        request: Request<GetMinerRequest>,
    ) -> Result<Response<GetMinerResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(GetMinerResponse {
            miner: Some(miner()),
        }))
    }

    async fn list_miners(
        &self,
        _: Request<ListMinersRequest>,
    ) -> Result<Response<ListMinersResponse>, Status> {
        Ok(Response::new(ListMinersResponse {
            miners: vec![miner()],
            next_page_token: String::new(),
        }))
    }

    async fn deregister_miner(
        &self,
        request: Request<DeregisterMinerRequest>,
    ) -> Result<Response<DeregisterMinerResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(DeregisterMinerResponse {
            miner_id: request.into_inner().miner_id,
        }))
    }

    async fn open_session(
        &self,
        _: Request<Streaming<OpenSessionRequest>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn poll_job(
        &self,
        request: Request<PollJobRequest>,
    ) -> Result<Response<PollJobResponse>, Status> {
        self.check(&request)?;
        let mut told = self.told.lock().unwrap();
        told.polls.push(request.into_inner());
        if told.lost_answers > 0 {
            told.lost_answers -= 1;
            return Err(Status::unavailable("the answer got lost"));
        }
        if told.stale_polls > 0 {
            told.stale_polls -= 1;
            return Err(ApiError::new(ErrorReason::StaleAttempt, "not held").into());
        }
        if told.no_job {
            return Ok(Response::new(PollJobResponse { job: None }));
        }
        let job = PolledJob {
            assign: Some(self.assign()),
            r#type: JobType::Inference.into(),
            lease_until: None,
        };
        Ok(Response::new(PollJobResponse { job: Some(job) }))
    }

    async fn extend_lease(
        &self,
        request: Request<ExtendLeaseRequest>,
    ) -> Result<Response<ExtendLeaseResponse>, Status> {
        self.check(&request)?;
        self.told.lock().unwrap().extended = Some(request.into_inner());
        Ok(Response::new(ExtendLeaseResponse { lease_until: None }))
    }

    async fn complete_job(
        &self,
        request: Request<Streaming<CompleteJobRequest>>,
    ) -> Result<Response<CompleteJobResponse>, Status> {
        self.check(&request)?;
        let mut parts = request.into_inner();
        while let Some(part) = parts.message().await? {
            let mut told = self.told.lock().unwrap();
            match part.part.unwrap() {
                Part::Complete(complete) => told.complete = Some(complete),
                Part::Output(bytes) => told.output.extend(bytes),
                Part::Result(bytes) => told.result.extend(bytes),
            }
        }
        Ok(Response::new(CompleteJobResponse {
            status: JobStatus::Completed.into(),
        }))
    }

    async fn get_earnings(
        &self,
        _: Request<GetEarningsRequest>,
    ) -> Result<Response<GetEarningsResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn fail_job(
        &self,
        request: Request<FailJobRequest>,
    ) -> Result<Response<FailJobResponse>, Status> {
        self.check(&request)?;
        self.told.lock().unwrap().failed = Some(request.into_inner());
        Ok(Response::new(FailJobResponse {
            status: JobStatus::Queued.into(),
        }))
    }
}

/// A coordinator, and a miner `rig-1` in a folder of its own.
struct Setup {
    coordinator: Coordinator,
    context: Context,
    folder: PathBuf,
}

impl Setup {
    async fn new() -> Self {
        let folder =
            std::env::temp_dir().join(format!("aitbc-miner-{}", hex::encode(random_bytes::<8>())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let context = Context::for_test(&folder, address);
        let coordinator = Coordinator::new(context.home.miner_identity("rig-1").unwrap().public());
        let server = Server::builder()
            .add_service(NetworkServiceServer::new(coordinator.clone()))
            .add_service(MinerServiceServer::new(coordinator.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self {
            coordinator,
            context,
            folder,
        }
    }

    async fn run(&self, words: &[&str]) -> Result<(), super::CommandError> {
        let cli = Cli::try_parse_from(["aitbc", "miner"].iter().chain(words)).unwrap();
        let Command::Miner(command) = cli.command else {
            unreachable!("it begins with miner")
        };
        super::run(&self.context, command).await
    }

    fn told<T>(&self, read: impl FnOnce(&mut Told) -> T) -> T {
        read(&mut self.coordinator.told.lock().unwrap())
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_polled_job_is_delivered_with_a_receipt_that_checks() {
    let setup = Setup::new().await;
    setup.run(&["poll"]).await.unwrap();
    setup
        .run(&["extend", "last", "--lease", "1h"])
        .await
        .unwrap();
    assert_eq!(setup.told(|t| t.extended.take()).unwrap().attempt, 2);
    let file = setup.folder.join("answer.txt");
    std::fs::write(&file, "Hello!\n").unwrap();
    setup
        .run(&["complete", "last", "--output", file.to_str().unwrap()])
        .await
        .unwrap();
    let (complete, output, result) = setup.told(|t| {
        (
            t.complete.take().unwrap(),
            t.output.clone(),
            t.result.clone(),
        )
    });
    assert_eq!(output, b"Hello!\n");
    assert_eq!(
        (complete.engine.as_str(), complete.served_model.as_str()),
        ("manual", "llama3:latest")
    );
    let receipt = Receipt::decode(&complete.receipt).unwrap();
    assert!(receipt.verify(&setup.coordinator.miner, &complete.signature));
    let assign = setup.coordinator.assign();
    let spec = JobSpec::decode(&assign.spec).unwrap();
    assert_eq!((receipt.job_ref, receipt.attempt), (spec.job_ref(), 2));
    assert_eq!(
        (receipt.output_hash, receipt.result_hash),
        (sha256(&output), sha256(&result))
    );
    let error = setup
        .run(&["complete", "last", "--output", file.to_str().unwrap()])
        .await
        .unwrap_err();
    assert_eq!(error.exit.number(), 5);
}

#[tokio::test]
async fn a_polled_job_can_be_handed_back_once() {
    let setup = Setup::new().await;
    setup.run(&["poll"]).await.unwrap();
    let id = setup.coordinator.job_id.to_string();
    setup
        .run(&["fail", &id, "--return", "--message", "no time"])
        .await
        .unwrap();
    let failure = setup.told(|t| t.failed.take()).unwrap().failure.unwrap();
    assert_eq!(
        (failure.reason(), failure.message.as_str()),
        (FailureReason::Returned, "no time")
    );
    assert_eq!(
        setup.run(&["fail", &id]).await.unwrap_err().exit.number(),
        5
    );
}

#[tokio::test]
async fn a_job_whose_lease_is_over_is_forgotten() {
    let setup = Setup::new().await;
    setup.run(&["poll"]).await.unwrap();
    setup.told(|t| t.lease_is_over = true);
    let error = setup.run(&["extend", "last"]).await.unwrap_err();
    assert_eq!(
        (error.exit.number(), error.reason.as_str()),
        (1, "STALE_ATTEMPT")
    );
    assert_eq!(
        setup
            .run(&["extend", "last"])
            .await
            .unwrap_err()
            .exit
            .number(),
        5
    );
}

#[tokio::test]
async fn no_job_is_no_error() {
    let setup = Setup::new().await;
    setup.told(|t| t.no_job = true);
    setup.run(&["poll"]).await.unwrap();
    setup.run(&["poll", "--wait", "50ms"]).await.unwrap();
}

#[tokio::test]
async fn a_miner_that_was_never_set_up_here_is_not_made_by_a_typing_error() {
    let setup = Setup::new().await;
    for verb in ["poll", "status", "pause", "resume", "deregister"] {
        let error = setup.run(&[verb, "--miner", "rig-l"]).await.unwrap_err();
        assert_eq!(error.reason, "MINER_NOT_REGISTERED", "{verb}");
        assert!(error.hint.unwrap().contains("miner register --miner rig-l"));
    }
    assert!(!setup.context.home.miner_dir("rig-l").exists());
}

#[tokio::test]
async fn only_what_was_given_is_changed() {
    let setup = Setup::new().await;
    setup
        .run(&["update", "--price-per-hour", "0.4", "--slots", "2"])
        .await
        .unwrap();
    let request = setup.told(|t| t.updated.take()).unwrap();
    assert_eq!(
        request.update_mask.unwrap().paths,
        ["price_per_hour_micro_ait", "slots"]
    );
    assert_eq!(request.miner.unwrap().price_per_hour_micro_ait, 400_000);
    setup.run(&["pause"]).await.unwrap();
    let request = setup.told(|t| t.updated.take()).unwrap();
    assert!(request.miner.unwrap().paused && request.update_mask.unwrap().paths == ["paused"]);
    assert_eq!(setup.run(&["update"]).await.unwrap_err().exit.number(), 2);
    for words in [&["list"][..], &["status"], &["resume"], &["deregister"]] {
        setup.run(words).await.unwrap();
    }
}
