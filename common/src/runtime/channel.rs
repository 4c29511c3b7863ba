//! A connection to a coordinator: address, TLS, tokens, limits.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aitbc_proto::v1::GetNetworkInfoRequest;
pub use aitbc_proto::v1::GetNetworkInfoResponse;
use aitbc_proto::v1::agent_service_client::AgentServiceClient;
use aitbc_proto::v1::job_service_client::JobServiceClient;
use aitbc_proto::v1::ledger_service_client::LedgerServiceClient;
use aitbc_proto::v1::marketplace_service_client::MarketplaceServiceClient;
use aitbc_proto::v1::miner_service_client::MinerServiceClient;
use aitbc_proto::v1::network_service_client::NetworkServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use tonic::{Request, Status};

use super::errors::{CommandError, ExitCode, lost_connection, plain_io_error};
use super::{random_bytes, unix_ms};
use crate::genesis::{self, Genesis};
use crate::hash::{Hash, hash_text};
use crate::identity::{Identity, PublicKey};
use crate::limits;
use crate::token::{self, Scope};

/// The coordinator's address where none is given.
pub const DEFAULT_COORDINATOR: &str = "127.0.0.1:50051";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const TCP_KEEPALIVE: Duration = Duration::from_secs(20);
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const TOKEN_LIFETIME_S: u64 = 120;
const TOKEN_RENEWED_BEFORE_END_S: u64 = 30;

/// Where a coordinator listens: `http://host:port` (loopback only) or `https://host:port`.
#[derive(Clone, PartialEq, Eq)]
pub struct CoordinatorUrl {
    secure: bool,
    host: String,
    port: u16,
    authority_pem: Option<Vec<u8>>,
}

impl CoordinatorUrl {
    /// Reads `host:port` (plaintext on loopback, TLS elsewhere; see [`Self::with_authority`]) or `http(s)://host:port`.
    pub fn parse(text: &str) -> Result<Self, CommandError> {
        let given: String = text.chars().take(200).collect();
        let refuse = |why: &str| {
            CommandError::usage(format!("{given:?} is no coordinator address: {why}"))
                .with_hint("give HOST:PORT, http://HOST:PORT (loopback only) or https://HOST:PORT, for example 127.0.0.1:50051")
        };
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let uri: Uri = format!("http://{authority}")
            .parse()
            .map_err(|_| refuse("it does not parse"))?;
        if uri.path() != "/" || uri.query().is_some() || authority.contains('@') {
            return Err(refuse("only host and port belong there"));
        }
        let host = uri
            .host()
            .filter(|h| !h.is_empty())
            .ok_or_else(|| refuse("the host is missing"))?
            .to_owned();
        let port = uri
            .port_u16()
            .filter(|p| *p != 0)
            .ok_or_else(|| refuse("the port is missing or not a port"))?;
        let loopback = is_loopback(&host);
        let secure = match scheme.as_deref() {
            None => !loopback,
            Some("https") => true,
            Some("http") if loopback => false,
            Some("http") => return Err(refuse("plaintext is for loopback only; use https")),
            Some(_) => return Err(refuse("the scheme is neither http nor https")),
        };
        Ok(Self {
            secure,
            host,
            port,
            authority_pem: None,
        })
    }

    /// Speaks TLS and trusts the certificates that this authority signed (PEM) alone.
    #[must_use]
    pub fn with_authority(mut self, pem: Vec<u8>) -> Self {
        self.secure = true;
        self.authority_pem = Some(pem);
        self
    }

    /// Whether the host is this machine itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// `host:port`, for people.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn endpoint(&self) -> Result<Endpoint, CommandError> {
        let internal = |error: tonic::transport::Error| {
            CommandError::new(
                ExitCode::Failed,
                "TLS_SETTINGS",
                format!("cannot prepare the connection to {self}: {error}"),
            )
            .with_hint(tls::AUTHORITY_HINT)
        };
        let endpoint = Endpoint::from_shared(self.to_string())
            .map_err(internal)?
            .user_agent(concat!("aitbc/", env!("CARGO_PKG_VERSION")))
            .map_err(internal)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        if !self.secure {
            return Ok(endpoint);
        }
        let settings = match &self.authority_pem {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        endpoint.tls_config(settings).map_err(internal)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl FromStr for CoordinatorUrl {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        Self::parse(text)
    }
}

impl Default for CoordinatorUrl {
    fn default() -> Self {
        Self::parse(DEFAULT_COORDINATOR).expect("the default address parses")
    }
}

impl fmt::Display for CoordinatorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for CoordinatorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Adds a token of this identity to every call; a token serves until 30 s before its end.
#[derive(Clone, Debug)]
pub struct Authorization {
    identity: Arc<Identity>,
    chain_id: Hash,
    scope: Scope,
    current: Arc<Mutex<Option<CachedToken>>>,
}

#[derive(Debug)]
struct CachedToken {
    header: MetadataValue<Ascii>,
    renew_at_s: u64,
}

impl Authorization {
    /// For calls to the coordinator of a chain.
    #[must_use]
    pub fn new(identity: Arc<Identity>, chain_id: Hash, scope: Scope) -> Self {
        Self {
            identity,
            chain_id,
            scope,
            current: Arc::default(),
        }
    }

    fn header(&self, now_s: u64) -> MetadataValue<Ascii> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = &*current
            && (cached.renew_at_s.saturating_sub(TOKEN_LIFETIME_S)..cached.renew_at_s)
                .contains(&now_s)
        {
            return cached.header.clone();
        }
        let token = token::issue(
            &self.identity,
            &self.chain_id,
            self.scope,
            now_s,
            TOKEN_LIFETIME_S,
            random_bytes(),
        );
        let mut header =
            MetadataValue::try_from(format!("Bearer {token}")).expect("a token is ASCII");
        header.set_sensitive(true);
        let renew_at_s = now_s + TOKEN_LIFETIME_S - TOKEN_RENEWED_BEFORE_END_S;
        *current = Some(CachedToken {
            header: header.clone(),
            renew_at_s,
        });
        header
    }
}

impl Interceptor for Authorization {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let header = self.header(unix_ms() / 1_000);
        request.metadata_mut().insert("authorization", header);
        Ok(request)
    }
}

/// The transport of authorized clients.
pub type AuthorizedChannel = InterceptedService<Channel, Authorization>;

/// An open connection to a coordinator. Clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where the coordinator is.
    pub url: CoordinatorUrl,
    /// Who this side is.
    pub identity: Arc<Identity>,
    /// What the coordinator said about its network.
    pub info: GetNetworkInfoResponse,
    chain_id: Hash,
    service_key: PublicKey,
    log_key: PublicKey,
    channel: Channel,
    authorization: Authorization,
}

impl Connection {
    /// Connects within 5 s and asks what network this is; the answer must agree with its own genesis file.
    pub async fn open(
        url: &CoordinatorUrl,
        identity: Arc<Identity>,
        scope: Scope,
    ) -> Result<Self, CommandError> {
        let channel = url
            .endpoint()?
            .connect()
            .await
            .map_err(|error| unreachable(url, &error))?;
        let mut network = NetworkServiceClient::new(channel.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES);
        let request = network.get_network_info(GetNetworkInfoRequest {});
        let info = tokio::time::timeout(FIRST_ANSWER_TIMEOUT, request)
            .await
            .map_err(|_| not_a_coordinator(url, "no answer within 5 s"))?
            .map_err(|status| not_a_coordinator_status(url, status))?
            .into_inner();
        let (chain_id, service_key, log_key) = check_network(url, &info)?;
        let authorization = Authorization::new(identity.clone(), chain_id, scope);
        Ok(Self {
            url: url.clone(),
            identity,
            info,
            chain_id,
            service_key,
            log_key,
            channel,
            authorization,
        })
    }

    /// The chain that the coordinator serves.
    #[must_use]
    pub fn chain_id(&self) -> &Hash {
        &self.chain_id
    }

    /// The key that signs its assignments.
    #[must_use]
    pub fn service_key(&self) -> &PublicKey {
        &self.service_key
    }

    /// The key that signs its log: the one in the genesis file, so that the chain id settles it.
    #[must_use]
    pub fn log_key(&self) -> &PublicKey {
        &self.log_key
    }

    /// The ledger's service. Its answers are as good as their proofs: see `runtime::ledger`.
    #[must_use]
    pub fn ledger(&self) -> LedgerServiceClient<AuthorizedChannel> {
        LedgerServiceClient::with_interceptor(self.channel.clone(), self.authorization.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES)
    }

    /// The jobs' service.
    #[must_use]
    pub fn jobs(&self) -> JobServiceClient<AuthorizedChannel> {
        JobServiceClient::with_interceptor(self.channel.clone(), self.authorization.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES)
    }

    /// The miners' service.
    #[must_use]
    pub fn miners(&self) -> MinerServiceClient<AuthorizedChannel> {
        MinerServiceClient::with_interceptor(self.channel.clone(), self.authorization.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES)
    }

    /// The agents' service.
    #[must_use]
    pub fn agents(&self) -> AgentServiceClient<AuthorizedChannel> {
        AgentServiceClient::with_interceptor(self.channel.clone(), self.authorization.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES)
    }

    /// The market's service.
    #[must_use]
    pub fn marketplace(&self) -> MarketplaceServiceClient<AuthorizedChannel> {
        MarketplaceServiceClient::with_interceptor(self.channel.clone(), self.authorization.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES)
    }

    /// The network's service.
    #[must_use]
    pub fn network(&self) -> NetworkServiceClient<AuthorizedChannel> {
        NetworkServiceClient::with_interceptor(self.channel.clone(), self.authorization.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES)
    }
}

/// Chain id, service key and log key of an answer that agrees with the genesis file in it.
fn check_network(
    url: &CoordinatorUrl,
    info: &GetNetworkInfoResponse,
) -> Result<(Hash, PublicKey, PublicKey), CommandError> {
    let contradiction = |what: &str| {
        CommandError::new(
            ExitCode::ProofFailed,
            "NETWORK_CONTRADICTION",
            format!("the coordinator at {url} contradicts itself: {what}"),
        )
        .with_hint("do not use it; tell its operator")
    };
    let chain_id = Hash::try_from(&info.chain_id[..])
        .map_err(|_| contradiction("its chain id has not 32 bytes"))?;
    let service_key = Hash::try_from(&info.service_key[..])
        .map_err(|_| contradiction("its service key has not 32 bytes"))?;
    if genesis::chain_id(&info.genesis) != chain_id {
        return Err(contradiction(&format!(
            "its genesis file does not hash to {}",
            hash_text(&chain_id)
        )));
    }
    let genesis =
        Genesis::parse(&info.genesis).map_err(|error| contradiction(&error.to_string()))?;
    if genesis.service_key != service_key {
        return Err(contradiction(
            "its service key is not the one in its genesis file",
        ));
    }
    Ok((chain_id, PublicKey(service_key), PublicKey(genesis.log_key)))
}

/// What to do about someone who answers, but not as a coordinator.
fn other_server_hint(url: &CoordinatorUrl) -> String {
    if url.is_secure() {
        return start_hint(url);
    }
    format!(
        "if it speaks TLS there, name it so: --coordinator https://{}; else {}",
        url.host_and_port(),
        start_hint(url)
    )
}

fn start_hint(url: &CoordinatorUrl) -> String {
    if url.is_loopback() {
        "start one with: aitbc-coordinator --dev; or name another: --coordinator HOST:PORT"
            .to_owned()
    } else {
        "check the address and the network; see which one is set with: aitbc config show".to_owned()
    }
}

fn unreachable(url: &CoordinatorUrl, error: &tonic::transport::Error) -> CommandError {
    if let Some(error) = tls::explain(url, error) {
        return error;
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let why = match cause.downcast_ref::<std::io::Error>() {
        Some(error) => plain_io_error(error),
        None => cause.to_string(),
    };
    let message = format!(
        "cannot reach the coordinator at {}: {why}",
        url.host_and_port()
    );
    CommandError::new(ExitCode::Unreachable, "UNREACHABLE", message)
        .with_hint(start_hint(url))
        .as_retryable()
}

fn not_a_coordinator(url: &CoordinatorUrl, why: &str) -> CommandError {
    let message = format!(
        "{} does not answer as a coordinator: {why}",
        url.host_and_port()
    );
    CommandError::new(ExitCode::Unreachable, "UNREACHABLE", message)
        .with_hint(other_server_hint(url))
        .as_retryable()
}

fn not_a_coordinator_status(url: &CoordinatorUrl, status: Status) -> CommandError {
    use tonic_types::StatusExt;
    if status.get_details_error_info().is_some() {
        return CommandError::from(status);
    }
    let why = lost_connection(&status).unwrap_or_else(|| status.message().to_owned());
    not_a_coordinator(url, &why)
}

mod tls;

#[cfg(test)]
mod tests;
