//! What `mine` and `mine-ollama` share: registration, session, log.

use std::sync::Arc;

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{ErrorReason, Miner, UpdateMinerRequest};
use clap::Args;
use prost_types::FieldMask;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::context::Context;
use super::registration::{Declaration, find, register};
use super::server;
use super::signals::Signals;
use crate::agent::driver::{self, Host};
use crate::agent::peers;
use crate::agent::tools::Tool;
use crate::begun::Begun;
use crate::execution::Executor;
use crate::mining_log::{Banner, MiningLog};
use crate::model_server::{Offer, ServerState, measure_when_idle, watch as watch_server};
use crate::runner::OllamaClient;
use crate::session::driver::{Driver, ReportSink};
use crate::session::{CoreConfig, End, SessionCore, SpoolRecord};
use crate::spool::{Spool, SpoolWriter};

/// Options that both take.
#[derive(Debug, Clone, Args)]
pub struct MiningOptions {
    /// Take one job after the other (default: one job, then exit)
    #[arg(long)]
    pub continuous: bool,
    /// Jobs at once (default: 1)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub slots: u32,
    /// The miner's name; each has an identity of its own (default: rig-1)
    #[arg(long, value_name = "NAME")]
    pub miner: Option<String>,
    /// Take over from a live session of this miner
    #[arg(long)]
    pub takeover: bool,
    /// Take only jobs that are paid for; --paid-only=false takes all again (default: as registered, at first all)
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub paid_only: Option<bool>,
}

/// Mines until a signal comes, or until one job is done.
pub async fn mine(
    context: &Context,
    client: OllamaClient,
    mut offer: Offer,
    pull: bool,
    options: &MiningOptions,
) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let work = async {
        let note = |line| context.note(format_args!("{line}"));
        let peers = peers::start(&context.folder(), note).await?;
        offer.tools = driver::offered(&peers);
        let state = server::ready(context, &client, &offer, pull, &stop).await?;
        hold_session(context, (client, peers), offer, state, options, &stop).await
    };
    signals.guard(&stop, work).await
}

/// What runs jobs, and what it reports.
type Runs = (
    Executor<OllamaClient>,
    tokio::sync::mpsc::Receiver<crate::session::Event>,
);

async fn hold_session(
    context: &Context,
    (client, peers): (OllamaClient, Vec<Arc<dyn Tool>>),
    offer: Offer,
    state: ServerState,
    options: &MiningOptions,
    stop: &CancellationToken,
) -> Result<(), CommandError> {
    let (connection, identity) = context.connect().await?;
    let miner = registered(
        context,
        &connection,
        &identity,
        &offer,
        &state,
        options.paid_only,
    )
    .await?;
    let config = CoreConfig {
        identity: identity.clone(),
        miner_id: miner.miner_id.parse().map_err(|_| incomplete())?,
        chain_id: *connection.chain_id(),
        service_key: *connection.service_key(),
        log_key: *connection.log_key(),
        takeover: options.takeover,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        job_limit: (!options.continuous).then_some(1),
    };
    // A connection of its own is opened for the session, again and again.
    drop(connection);

    let (spool, spooled) = open_spool(context, &config.chain_id)?;
    let mut log = MiningLog::new(
        context.json,
        banner(context, &miner),
        state.clone(),
        &context.folder(),
    );
    if miner.paused {
        log.paused()?;
    }
    let core = SessionCore::new(config, state.inventory.clone(), spooled);
    let trouble = Arc::new(Notify::new());
    let runs = executor(context, (&client, peers), &identity, &trouble)?;
    let (state, states) = watch::channel(state);
    let mut background = JoinSet::new();
    // Measuring every local model would load them all.
    if !offer.models.is_empty() {
        background.spawn(measure_when_idle(
            client.clone(),
            offer.clone(),
            states.clone(),
            runs.0.busy(),
            trouble.clone(),
        ));
    }
    background.spawn(watch_server(client, offer, state, trouble));
    let log = Arc::new(std::sync::Mutex::new(log));
    let sink: ReportSink = {
        let log = log.clone();
        Box::new(move |report| lock(&log).report(report).map_err(|_| ()))
    };
    let driver = Driver::new(
        core,
        (context.url.clone(), identity),
        runs,
        states,
        spool,
        sink,
    );
    let end = driver.run(stop.clone()).await;
    background.abort_all();
    lock(&log).ended(&end)?;
    conclude(end)
}

/// What runs jobs and agents, and what it reports.
fn executor(
    context: &Context,
    (client, peers): (&OllamaClient, Vec<Arc<dyn Tool>>),
    identity: &Arc<Identity>,
    trouble: &Arc<Notify>,
) -> Result<Runs, CommandError> {
    let begun = Begun::open(context.folder().join("begun"))?;
    let host = Host {
        url: context.url.clone(),
        identity: Arc::clone(identity),
        folder: context.folder().join("agent-files"),
        peers,
    };
    let (executor, events) = Executor::new(Arc::new(client.clone()), Arc::clone(trouble), begun);
    Ok((executor.with_agents(host), events))
}

/// This miner's registration; made now if there is none, and changed where the operator wants other jobs.
async fn registered(
    context: &Context,
    connection: &Connection,
    identity: &Identity,
    offer: &Offer,
    state: &ServerState,
    paid_only: Option<bool>,
) -> Result<Miner, CommandError> {
    if let Some(miner) = find(connection).await? {
        return match paid_only.filter(|wanted| *wanted != miner.paid_only) {
            Some(wanted) => set_paid_only(connection, miner, wanted).await,
            None => Ok(miner),
        };
    }
    let declared = Declaration {
        slots: Some(offer.slots),
        wallet: context.wallet()?,
        paid_only,
        ..Declaration::default()
    };
    let inventory = Some(state.inventory.clone());
    let response = register(connection, &context.miner, identity, declared, inventory).await?;
    let miner = response.miner.ok_or_else(incomplete)?;
    let payee = <[u8; 20]>::try_from(&miner.payout_address[..]).map(Address);
    context.note(format_args!(
        "registered as {} ({}), paid to {}",
        miner.miner_id,
        miner.name,
        payee.map_or_else(|_| "–".to_owned(), |address| address.to_string())
    ));
    Ok(miner)
}

async fn set_paid_only(
    connection: &Connection,
    mut miner: Miner,
    paid_only: bool,
) -> Result<Miner, CommandError> {
    miner.paid_only = paid_only;
    let request = UpdateMinerRequest {
        miner: Some(miner),
        update_mask: Some(FieldMask {
            paths: vec!["paid_only".into()],
        }),
    };
    let changed = connection.miners().update_miner(request).await?;
    changed.into_inner().miner.ok_or_else(incomplete)
}

/// The spool's thread, and what waits in it for this chain.
fn open_spool(
    context: &Context,
    chain_id: &Hash,
) -> Result<(SpoolWriter, Vec<SpoolRecord>), CommandError> {
    let (spool, spooled) = Spool::open_for_chain(&context.folder().join("spool"), chain_id)?;
    let writer = SpoolWriter::start(spool)
        .map_err(|error| CommandError::file("start the spool's thread", &error))?;
    Ok((writer, spooled))
}

fn lock(log: &std::sync::Mutex<MiningLog>) -> std::sync::MutexGuard<'_, MiningLog> {
    log.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn banner(context: &Context, miner: &Miner) -> Banner {
    Banner {
        coordinator: context.url.host_and_port(),
        miner: miner.name.clone(),
        price: MicroAit(miner.price_per_hour_micro_ait),
        paid_only: miner.paid_only,
    }
}

fn incomplete() -> CommandError {
    CommandError::new(
        ExitCode::Failed,
        "INTERNAL",
        "the coordinator's answer is incomplete",
    )
}

/// How a command ends whose session has ended.
fn conclude(end: End) -> Result<(), CommandError> {
    let refused = |reason: ErrorReason, message: String| {
        Err(CommandError::from(Status::from(ApiError::new(
            reason, message,
        ))))
    };
    match end {
        End::Drained | End::JobsDone { failed: 0 } => Ok(()),
        End::JobsDone { .. } => {
            Err(
                CommandError::new(ExitCode::Failed, "JOB_FAILED", "the job failed")
                    .with_hint("the log above says why; with --continuous the miner goes on"),
            )
        }
        End::SessionExists { message } => refused(ErrorReason::SessionExists, message),
        End::WrongChain => {
            let message = "the coordinator serves another network than before".to_owned();
            refused(ErrorReason::WrongChain, message)
        }
        End::Refused { reason, message } => refused(reason, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_session_is_a_plain_failure_with_the_way_out() {
        let error = conclude(End::SessionExists {
            message: "since 10:00:00Z from 127.0.0.1:4000".to_owned(),
        })
        .unwrap_err();
        assert_eq!(
            (error.exit, &error.reason[..]),
            (ExitCode::Failed, "SESSION_EXISTS")
        );
        assert!(error.message.contains("10:00:00Z") && error.hint.unwrap().contains("--takeover"));
        assert!(conclude(End::Drained).is_ok());
        assert_eq!(
            conclude(End::JobsDone { failed: 1 }).unwrap_err().exit,
            ExitCode::Failed
        );
    }
}
