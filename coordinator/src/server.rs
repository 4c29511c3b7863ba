//! Serves until it is told to stop, then drains.

use std::sync::Arc;
use std::time::Duration;

use aitbc_common::limits::MESSAGE_BYTES;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_proto::v1::agent_service_server::AgentServiceServer;
use aitbc_proto::v1::job_service_server::JobServiceServer;
use aitbc_proto::v1::ledger_service_server::LedgerServiceServer;
use aitbc_proto::v1::marketplace_service_server::MarketplaceServiceServer;
use aitbc_proto::v1::miner_service_server::MinerServiceServer;
use aitbc_proto::v1::network_service_server::NetworkServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::connections;
use crate::grpc::{Agents, Jobs, Ledger, Market, Miners, NetworkInfo, Services};
use crate::retention::Retention;
use crate::timeouts::UnaryTimeoutLayer;
use crate::unanswered::UnansweredLayer;

/// Bytes in flight on one stream and on one connection, and of one frame.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const FRAME: u32 = 64 << 10;
/// Bytes of a call's headers.
const HEADERS: u32 = 16 << 10;

/// A service whose messages have a bound in both directions; tonic generates a type of its own for each.
macro_rules! bounded {
    ($service:expr) => {
        $service
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES)
    };
}

/// Bounds of the server.
#[derive(Debug, Clone, Copy)]
pub struct ServerSettings {
    /// Streams of one connection.
    pub streams_per_connection: u32,
    /// Connections at once.
    pub connections: usize,
    /// Connections of one address at once.
    pub connections_per_address: usize,
    /// Time until a call is answered.
    pub unary_timeout: Duration,
    /// Time to drain before the hard stop.
    pub drain: Duration,
    /// Serve reflection.
    pub reflection: bool,
    /// Live jobs of one identity, at most.
    pub jobs_per_identity: u32,
    /// How long things are kept.
    pub retention: Retention,
}

/// Serves on `listener`, encrypted where there is a certificate, until the services' shutdown is cancelled, then drains.
pub async fn run(
    listener: TcpListener,
    services: Arc<Services>,
    settings: ServerSettings,
    tls: Option<ServerTlsConfig>,
) -> Result<(), CommandError> {
    let shutdown = services.context.shutdown.clone();
    let hub = Arc::clone(&services.context.hub);
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::Serving).await;
    let network = NetworkInfo {
        services: Arc::clone(&services),
        retention: settings.retention,
        jobs_per_identity: settings.jobs_per_identity,
    };
    let jobs = bounded!(JobServiceServer::new(Jobs(Arc::clone(&services))));
    let ledger = bounded!(LedgerServiceServer::new(Ledger(Arc::clone(&services))));
    let agents = bounded!(AgentServiceServer::new(Agents(Arc::clone(&services))));
    let market = bounded!(MarketplaceServiceServer::new(Market(Arc::clone(&services))));
    let miners = bounded!(MinerServiceServer::new(Miners(services)));
    let builder = builder(tls)?;
    let router = builder
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(settings.streams_per_connection)
        .http2_max_header_list_size(HEADERS)
        .layer(UnansweredLayer)
        .layer(UnaryTimeoutLayer(settings.unary_timeout))
        .add_service(jobs)
        .add_service(miners)
        .add_service(ledger)
        .add_service(market)
        .add_service(agents)
        .add_service(NetworkServiceServer::new(network))
        .add_service(health_service)
        .add_optional_service(reflection(settings.reflection)?);
    let draining = CancellationToken::new();
    let signal = draining.clone().cancelled_owned();
    let incoming = connections::accept(
        listener,
        settings.connections,
        settings.connections_per_address,
    );
    let mut server = tokio::spawn(router.serve_with_incoming_shutdown(incoming, signal));
    tokio::select! {
        ended = &mut server => return Err(stopped(&format!("{ended:?}"))),
        () = shutdown.cancelled() => {}
    }
    tracing::info!("draining");
    set_health(&health, ServingStatus::NotServing).await;
    hub.close();
    draining.cancel();
    let drained = tokio::time::timeout(settings.drain, &mut server).await;
    if drained.is_err() {
        let seconds = settings.drain.as_secs();
        tracing::warn!("some calls did not end within {seconds} s and are cut off");
        server.abort();
    }
    Ok(())
}

fn builder(tls: Option<ServerTlsConfig>) -> Result<Server, CommandError> {
    let builder = Server::builder();
    let Some(tls) = tls else {
        return Ok(builder);
    };
    let encrypted = builder.tls_config(tls);
    encrypted.map_err(|error| stopped(&format!("TLS: {error}")))
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in [
        "",
        "aitbc.v1.JobService",
        "aitbc.v1.LedgerService",
        "aitbc.v1.AgentService",
        "aitbc.v1.MarketplaceService",
        "aitbc.v1.MinerService",
        "aitbc.v1.NetworkService",
    ] {
        health.set_service_status(service, status).await;
    }
}

fn reflection(
    wanted: bool,
) -> Result<
    Option<
        impl tonic::codegen::Service<
            http::Request<tonic::body::Body>,
            Response = http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
            Future: Send,
        > + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    >,
    CommandError,
> {
    if !wanted {
        return Ok(None);
    }
    let service = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(aitbc_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    service
        .map(Some)
        .map_err(|error| stopped(&format!("reflection: {error}")))
}

fn stopped(why: &str) -> CommandError {
    CommandError::new(
        ExitCode::Failed,
        "SERVER_STOPPED",
        format!("the server stopped: {why}"),
    )
    .with_hint("start it again; see its log if it repeats")
}
