//! Puts the parts together: network, store, engine, pool, services.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use aitbc_common::money::MICRO_PER_AIT;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::transport::ServerTlsConfig;

use crate::audits;
use crate::audits::auditor::Auditor;
use crate::auth::Authenticator;
use crate::config::{Config, StoreKind};
use crate::engine::core::EngineConfig;
use crate::engine::driver::{self, Engine, HasRoom};
use crate::grpc::Services;
use crate::ledger::{self, core::LedgerConfig};
use crate::limits::Limits;
use crate::market::Follower;
use crate::network::Network;
use crate::relay::Relay;
use crate::retention;
use crate::server;
use crate::sessions::driver::SessionContext;
use crate::sessions::hub::{Cleanup, Hub, HubSink};
use crate::sessions::stored::LOADED_KIB;
use crate::sessions::streams::Streams;
use crate::sessions::verify::VerifyPool;
use crate::store::{MemoryStore, RocksStore, Store, StoreError, free_space};

/// A coordinator that is ready to serve.
pub struct Coordinator {
    /// What its services share.
    pub services: Arc<Services>,
    /// The threads of the engine and of the ledger; each ends once all that uses it is dropped.
    pub writers: [JoinHandle<Result<(), StoreError>>; 2],
    /// What it takes to serve.
    pub serving: Serving,
}

/// What it takes to serve.
pub struct Serving {
    cleanups: tokio::sync::mpsc::Receiver<Cleanup>,
    config: Config,
}

impl Coordinator {
    /// Opens network and store and starts the engine. Blocks while it recovers.
    pub fn open(config: &Config, shutdown: CancellationToken) -> Result<Self, CommandError> {
        let folder = config.folder()?;
        let network = if config.dev {
            Network::open_dev(&folder)?
        } else {
            Network::open_standard(&folder)?
        };
        let (store, has_room) = open_store(config, &folder)?;
        let streams = Arc::new(Streams::default());
        let (hub, cleanups) = Hub::new(Arc::clone(&streams));
        let mut engine_config = EngineConfig::new(network.chain_id, network.genesis.fee_bps);
        engine_config.jobs_per_identity = config.jobs_per_identity as usize;
        engine_config.funding_required = network.genesis.profile != "dev";
        engine_config.audits = audits_work(config, &network);
        let sink = Box::new(HubSink(Arc::clone(&hub)));
        let Engine { handle, thread } =
            driver::start(Arc::clone(&store), engine_config, sink, shared(&has_room))
                .map_err(|error| store_error(&error, &folder))?;
        let ledger = ledger::driver::start(store, ledger_config(&network)?, shared(&has_room))
            .map_err(|error| store_error(&error, &folder))?;
        let pool = VerifyPool::start(&handle, &network.service, &streams).map_err(|error| {
            CommandError::new(
                ExitCode::Failed,
                "NO_THREADS",
                format!("no thread for signatures: {error}"),
            )
            .with_hint("raise the limit of processes for this user (ulimit -u)")
        })?;
        let context = SessionContext {
            engine: handle,
            hub,
            streams,
            pool: Arc::new(pool),
            service: network.service.clone(),
            loads: Arc::new(Semaphore::new(LOADED_KIB)),
            published: ledger.handle.signals().published.subscribe(),
            chain_id: network.chain_id,
            shutdown,
        };
        let limits = Arc::new(Limits::new(config.limits()));
        let authenticator = Authenticator::new(network.chain_id, Arc::clone(&limits));
        let services = Services::new(context, network, authenticator, limits, ledger.handle);
        Ok(Self {
            services,
            writers: [thread, ledger.thread],
            serving: Serving {
                cleanups,
                config: config.clone(),
            },
        })
    }
}

impl Serving {
    /// Serves until shutdown, then drains.
    pub async fn run(
        self,
        services: Arc<Services>,
        listener: TcpListener,
        tls: Option<ServerTlsConfig>,
    ) -> Result<(), CommandError> {
        let context = &services.context;
        let relay = Relay {
            engine: context.engine.clone(),
            ledger: services.ledger.clone(),
            orders: context.hub.orders(),
            shutdown: context.shutdown.clone(),
        };
        relay.start();
        let follower = Follower {
            store: services.ledger.store(),
            engine: context.engine.clone(),
            board: Arc::clone(&context.hub.board),
            book: Arc::clone(&services.book),
            published: services.ledger.signals().published.subscribe(),
            shutdown: context.shutdown.clone(),
        };
        tokio::spawn(follower.run());
        let network = &services.network;
        if audits_work(&self.config, network) {
            let auditor = Auditor {
                wallets: network.auditors.clone(),
                chain_id: network.chain_id,
                fee_bps: network.genesis.fee_bps,
                per_day: self.config.audit_ait_per_day.saturating_mul(MICRO_PER_AIT),
                has_faucet: network.genesis.faucet().is_some(),
                broken: audits::auditor::BrokenRules::default(),
                looked_to_ms: 0,
            };
            let coordinator = audits::driver::Coordinator {
                store: services.ledger.store(),
                engine: context.engine.clone(),
                ledger: services.ledger.clone(),
                book: Arc::clone(&services.book),
                figures: Arc::clone(&services.audits),
            };
            audits::driver::start(auditor, coordinator, context.shutdown.clone());
        }
        tokio::spawn(retention::clean_up(context.engine.clone(), self.cleanups));
        let sweep = retention::run(
            context.engine.clone(),
            self.config.retention(),
            context.shutdown.clone(),
        );
        tokio::spawn(sweep);
        server::run(listener, services, self.config.server(), tls).await
    }
}

/// Whether somebody pays for audits of work.
fn audits_work(config: &Config, network: &Network) -> bool {
    !network.auditors.is_empty() && config.audit_ait_per_day > 0
}

fn ledger_config(network: &Network) -> Result<LedgerConfig, CommandError> {
    let rules = network.genesis.rules(&network.genesis_bytes).ok_or_else(|| {
        CommandError::new(
            ExitCode::Failed,
            "DATA_FOLDER_DAMAGED",
            "the genesis file gives out 2^63 micro-AIT or more, or asks for a fee of more than everything",
        )
        .with_hint("write another genesis file, into a new data folder")
    })?;
    let (file, log_key) = (network.genesis_bytes.clone(), network.log.clone());
    Ok(LedgerConfig::new(
        rules,
        file,
        log_key,
        network.genesis.faucet(),
    ))
}

fn shared(has_room: &SharedHasRoom) -> HasRoom {
    let has_room = Arc::clone(has_room);
    Box::new(move || has_room())
}

/// Whether there is room on the disk; both writers ask.
type SharedHasRoom = Arc<dyn Fn() -> bool + Send + Sync>;

fn open_store(
    config: &Config,
    folder: &Path,
) -> Result<(Arc<dyn Store>, SharedHasRoom), CommandError> {
    if config.store == StoreKind::Memory {
        return Ok((Arc::new(MemoryStore::new()), Arc::new(|| true)));
    }
    let store = Arc::new(RocksStore::open(folder).map_err(|error| store_error(&error, folder))?);
    let (rocks, path, floor) = (
        Arc::clone(&store),
        folder.to_owned(),
        config.free_space_mib << 20,
    );
    let has_room = move || {
        if let Err(error) = rocks.restore_ballast() {
            tracing::debug!(%error, "the ballast is not whole");
        }
        free_space(&path).map_or(true, |free| free >= floor)
    };
    Ok((store, Arc::new(has_room)))
}

/// A store's failure as the operator sees it.
#[must_use]
pub fn store_error(error: &StoreError, folder: &Path) -> CommandError {
    let folder = folder.display();
    let (reason, hint) = match error {
        StoreError::InUse(_) => (
            "DATA_FOLDER_IN_USE",
            "stop the other coordinator, or choose another folder with --data-dir".to_owned(),
        ),
        StoreError::Unavailable(_) => (
            "STORE_UNAVAILABLE",
            format!("check that {folder} can be written, or choose another folder with --data-dir"),
        ),
        other => ("STORE_FAILED", other.hint().to_owned()),
    };
    CommandError::new(ExitCode::Failed, reason, error.to_string()).with_hint(hint)
}
