//! Tokens, straight to the services.

use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::runtime::unix_ms;
use aitbc_common::token::{self, Scope};
use aitbc_proto::v1::job_service_client::JobServiceClient;
use aitbc_proto::v1::miner_service_client::MinerServiceClient;
use aitbc_proto::v1::network_service_client::NetworkServiceClient;
use aitbc_proto::v1::{
    ErrorReason, GetNetworkInfoRequest, JobSpec, ListJobsRequest, ListJobsResponse,
    ListModelsRequest, PollJobRequest, SubmitJobRequest,
};
use aitbc_tests::harness::Network;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::refused;

struct Service {
    channel: Channel,
    chain: Hash,
    identity: Identity,
    now_s: u64,
}

impl Service {
    async fn of(network: &Network) -> Self {
        let endpoint =
            Endpoint::from_shared(format!("http://{}", network.address())).expect("an address");
        let channel = endpoint.connect().await.expect("the coordinator listens");
        let info = NetworkServiceClient::new(channel.clone())
            .get_network_info(GetNetworkInfoRequest {})
            .await
            .expect("public")
            .into_inner();
        Self {
            channel,
            chain: info.chain_id[..].try_into().expect("32 bytes"),
            identity: Identity::from_seed(&[0x11; 32]),
            now_s: unix_ms() / 1_000,
        }
    }

    fn request<T>(token: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = format!("Bearer {token}").parse().expect("ASCII");
        request.metadata_mut().insert("authorization", value);
        request
    }

    async fn list(&self, token: &str) -> Result<Response<ListJobsResponse>, Status> {
        let request = Self::request(token, ListJobsRequest::default());
        JobServiceClient::new(self.channel.clone())
            .list_jobs(request)
            .await
    }

    fn issue(&self, scope: Scope) -> String {
        token::issue(&self.identity, &self.chain, scope, self.now_s, 120, [7; 16])
    }

    fn claims(&self) -> Value {
        json!({
            "iss": URL_SAFE_NO_PAD.encode(self.identity.public().0),
            "aud": token::audience(&self.chain),
            "scope": "client",
            "iat": self.now_s,
            "exp": self.now_s + 120,
            "jti": "0011",
        })
    }

    /// A signed token with any header and claims.
    fn signed(&self, header: &Value, claims: &Value) -> String {
        let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = parts.join(".");
        format!(
            "{text}.{}",
            URL_SAFE_NO_PAD.encode(self.identity.sign(text.as_bytes()))
        )
    }

    fn with_claims(&self, change: impl Fn(&mut Value)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        self.signed(&json!({"alg": "EdDSA", "typ": "JWT"}), &claims)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_do_not_verify() {
    let network = Network::start();
    let service = Service::of(&network).await;
    service
        .list(&service.issue(Scope::Client))
        .await
        .expect("a good token");
    service
        .list(&service.with_claims(|_| ()))
        .await
        .expect("a good token made by hand");

    let claims = service.claims();
    let headers = [
        json!({"alg": "none", "typ": "JWT"}),
        json!({"alg": "HS256", "typ": "JWT"}),
        json!({"alg": "EdDSA", "typ": "JWT", "jwk": {"kty": "OKP", "crv": "Ed25519"}}),
        json!({"alg": "EdDSA", "typ": "JWT", "kid": "1"}),
        json!({"alg": "EdDSA", "typ": "JWT", "crit": ["x"], "x": 1}),
        json!({"alg": "EdDSA"}),
    ];
    for header in &headers {
        refused(
            service.list(&service.signed(header, &claims)).await,
            Code::Unauthenticated,
            ErrorReason::TokenInvalid,
        );
    }
    let good = service.issue(Scope::Client);
    let unsigned = good[..=good.rfind('.').expect("three parts")].to_owned();
    let over = "x".repeat(token::MAX_BYTES);
    for token in [
        unsigned,
        good.replace("ey", "ez"),
        String::new(),
        "a.b.c".to_owned(),
        service.with_claims(|claims| claims["jti"] = json!(over)),
        service.with_claims(|claims| claims["admin"] = json!(true)),
        service.with_claims(|claims| claims["scope"] = json!("root")),
        service.with_claims(|claims| claims["exp"] = json!(service.now_s + 901)),
        service.with_claims(|claims| claims["iss"] = json!(URL_SAFE_NO_PAD.encode([9; 32]))),
    ] {
        refused(
            service.list(&token).await,
            Code::Unauthenticated,
            ErrorReason::TokenInvalid,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_another_time_or_chain() {
    let network = Network::start();
    let service = Service::of(&network).await;
    let now_s = service.now_s;
    let expired = service.with_claims(|claims| {
        (claims["iat"], claims["exp"]) = (json!(now_s - 300), json!(now_s - 180))
    });
    refused(
        service.list(&expired).await,
        Code::Unauthenticated,
        ErrorReason::TokenExpired,
    );
    let future = service.with_claims(|claims| {
        (claims["iat"], claims["exp"]) = (json!(now_s + 300), json!(now_s + 400))
    });
    let answer = service.list(&future).await;
    let shown = answer
        .as_ref()
        .expect_err("from the future")
        .message()
        .to_owned();
    assert!(
        shown.contains(&(now_s + 300).to_string()),
        "both clocks are shown: {shown}"
    );
    refused(answer, Code::Unauthenticated, ErrorReason::ClockSkew);
    let other = token::issue(
        &service.identity,
        &[9; 32],
        Scope::Client,
        now_s,
        120,
        [7; 16],
    );
    refused(
        service.list(&other).await,
        Code::Unauthenticated,
        ErrorReason::WrongChain,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_another_scope_or_none() {
    let network = Network::start();
    let service = Service::of(&network).await;
    let submit = || SubmitJobRequest {
        request_id: "r".into(),
        spec: Some(JobSpec::default()),
        ..Default::default()
    };
    let mut jobs = JobServiceClient::new(service.channel.clone());
    for scope in [Scope::Read, Scope::Miner] {
        let request = Service::request(&service.issue(scope), submit());
        refused(
            jobs.submit_job(request).await,
            Code::PermissionDenied,
            ErrorReason::WrongScope,
        );
    }
    let mut miners = MinerServiceClient::new(service.channel.clone());
    for scope in [Scope::Read, Scope::Client] {
        let request = Service::request(&service.issue(scope), PollJobRequest::default());
        refused(
            miners.poll_job(request).await,
            Code::PermissionDenied,
            ErrorReason::WrongScope,
        );
    }
    refused(
        jobs.list_jobs(ListJobsRequest::default()).await,
        Code::Unauthenticated,
        ErrorReason::TokenInvalid,
    );
    service
        .list(&service.issue(Scope::Read))
        .await
        .expect("read may list");
    jobs.list_models(ListModelsRequest::default())
        .await
        .expect("models are public");
}
