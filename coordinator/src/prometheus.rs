//! Metrics in Prometheus' text format. All of them are numbers that engine and ledger keep up to date anyway: a scrape asks
//! neither thread for anything, so it costs them nothing and answers even when they hang.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use aitbc_common::money::MICRO_PER_AIT;
use aitbc_common::runtime::unix_ms;
use aitbc_proto::v1::JobStatus;
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{Stream, StreamExt};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;

use crate::audits::figures::Figures as Audits;
use crate::connections::{self, Connection};
use crate::engine::handle::EngineHandle;
use crate::engine::stats::EngineStats;
use crate::grpc::Services;
use crate::ledger::core::Figures;
use crate::ledger::driver::{LedgerHandle, Published};

/// Scrapers at once; more wait.
const CONNECTIONS: usize = 16;
/// A record that is not covered by a signed checkpoint for longer than this breaks what was promised, in milliseconds.
const UNSEALED_MS: u64 = 10_000;
/// The format's media type.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where the numbers come from.
#[derive(Clone)]
pub struct Sources {
    engine: EngineHandle,
    ledger: LedgerHandle,
    audits: Arc<Audits>,
}

impl Sources {
    /// Those of a coordinator.
    #[must_use]
    pub fn of(services: &Services) -> Self {
        Self {
            engine: services.context.engine.clone(),
            ledger: services.ledger.clone(),
            audits: Arc::clone(&services.audits),
        }
    }
}

/// Serves `/metrics` for as long as the process serves.
pub async fn serve(listener: TcpListener, sources: Sources) {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .with_state(sources);
    let accepted = connections::accept(listener, CONNECTIONS, CONNECTIONS);
    if let Err(error) = axum::serve(Bounded(Box::pin(accepted)), router).await {
        tracing::error!(%error, "metrics are not served any more");
    }
}

async fn scrape(State(sources): State<Sources>) -> impl IntoResponse {
    let signals = sources.ledger.signals();
    let published = signals.published.borrow().clone();
    // Each side is read before the other says how far it has gone: so neither can seem ahead of what it was told.
    let heard = sources.engine.stats().figures().notices;
    let ledger = *signals.figures.borrow();
    let text = render(
        (sources.engine.stats(), &sources.audits),
        &ledger,
        &published,
        heard,
        unix_ms(),
    );
    ([(CONTENT_TYPE, TEXT)], text)
}

/// All metrics, as of now (Unix ms).
fn render(
    (engine, audits): (&EngineStats, &Audits),
    ledger: &Figures,
    published: &Published,
    heard: u64,
    now: u64,
) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        record_engine(engine);
        record_audits(audits);
        record_ledger(ledger, published.size, now);
        record_outboxes(engine, ledger);
        let orders = engine.figures().orders;
        record_invariants(ledger, published, (orders, heard), now);
    });
    handle.render()
}

fn record_engine(engine: &EngineStats) {
    describe_gauge!("aitbc_build_info", "The coordinator's version.");
    gauge!("aitbc_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    for (name, count) in engine.counters() {
        let name = format!("aitbc_engine_{name}_total");
        describe_counter!(name.clone(), "What the engine did since the start.");
        counter!(name).absolute(count);
    }
    let figures = engine.figures();
    describe_gauge!("aitbc_jobs", "Live jobs by status.");
    for (status, count) in figures.jobs.live() {
        gauge!("aitbc_jobs", "status" => status_name(status)).set(count as f64);
    }
    describe_counter!(
        "aitbc_jobs_finished_total",
        "Jobs that ended so since the start."
    );
    for (status, count) in figures.jobs.finished() {
        counter!("aitbc_jobs_finished_total", "status" => status_name(status)).absolute(count);
    }
    for (name, help, value) in [
        ("aitbc_miners", "Registered miners.", figures.miners),
        ("aitbc_sessions", "Miners with a session.", figures.sessions),
        (
            "aitbc_jobs_awaiting_receipt",
            "Final paid jobs whose stopped attempt may still bring a receipt.",
            figures.stopped,
        ),
        (
            "aitbc_disk_has_room",
            "1 where new jobs are taken, 0 where the disk is nearly full.",
            usize::from(figures.has_room),
        ),
    ] {
        describe_gauge!(name, help);
        gauge!(name).set(value as f64);
    }
}

fn record_audits(audits: &Audits) {
    let name = "aitbc_audits_total";
    describe_counter!(name, "What became of audits of work since the start.");
    for (event, count) in audits.all() {
        counter!(name, "event" => event.name()).absolute(count);
    }
}

fn record_ledger(figures: &Figures, checkpoint_size: u64, now: u64) {
    let totals = &figures.totals;
    let unsealed_ms = figures
        .unsealed_since
        .map_or(0, |since| now.saturating_sub(since));
    for (name, help, value) in [
        (
            "aitbc_ledger_records",
            "Records of the log.",
            figures.records as f64,
        ),
        (
            "aitbc_ledger_height",
            "Seals of the log.",
            figures.seals as f64,
        ),
        (
            "aitbc_ledger_checkpoint_size",
            "Records that the newest signed checkpoint covers.",
            checkpoint_size as f64,
        ),
        (
            "aitbc_ledger_unsealed_seconds",
            "Age of the oldest record that no seal covers; 0 where there is none.",
            unsealed_ms as f64 / 1_000.0,
        ),
        (
            "aitbc_ledger_wallets",
            "Wallets with an account.",
            totals.wallets as f64,
        ),
        (
            "aitbc_ledger_open_locks",
            "Locks that are not resolved.",
            totals.open_locks as f64,
        ),
        (
            "aitbc_ledger_locked_ait",
            "What open locks hold.",
            ait(totals.locked),
        ),
        (
            "aitbc_ledger_unstaking_ait",
            "What is on its way out of stakes.",
            ait(totals.unstaking),
        ),
        (
            "aitbc_ledger_slashed_ait",
            "What was staked on miners that contradicted themselves, burned.",
            ait(totals.slashed),
        ),
        (
            "aitbc_ledger_supply_ait",
            "Minted less burned.",
            ait(totals.supply()),
        ),
        (
            "aitbc_ledger_accounts_sum_micro_ait",
            "Credits less debits of all accounts: 0, else money was made or lost.",
            totals.sum_of_accounts() as f64,
        ),
    ] {
        describe_gauge!(name, help);
        gauge!(name).set(value);
    }
}

/// `told`: number of the newest order that the jobs told, and of the newest notice that they heard.
fn record_invariants(figures: &Figures, published: &Published, told: (u64, u64), now: u64) {
    let (orders, heard) = told;
    let unsealed_ms = figures
        .unsealed_since
        .map_or(0, |since| now.saturating_sub(since));
    let mut all = figures.invariants();
    all.extend([
        ("sealing", unsealed_ms <= UNSEALED_MS),
        (
            "checkpoints",
            !published.shrunk && published.size <= published.next,
        ),
        (
            "outboxes",
            figures.applied_orders <= orders && heard <= figures.last_notice,
        ),
    ]);
    let name = "aitbc_ledger_invariant_violations";
    describe_gauge!(name, "1 where an invariant of the ledger does not hold.");
    for (invariant, holds) in all {
        gauge!(name, "invariant" => invariant).set(u8::from(!holds));
    }
}

/// The two sides are read one after the other, so that one may be a moment ahead.
fn record_outboxes(engine: &EngineStats, ledger: &Figures) {
    let engine = engine.figures();
    for (name, help, value) in [
        (
            "aitbc_outbox_orders",
            "Orders of the jobs that the ledger has not applied yet.",
            engine.orders.saturating_sub(ledger.applied_orders),
        ),
        (
            "aitbc_outbox_notices",
            "Notices of the ledger that the jobs have not heard yet.",
            ledger.last_notice.saturating_sub(engine.notices),
        ),
    ] {
        describe_gauge!(name, help);
        gauge!(name).set(value as f64);
    }
}

fn ait(micro: u128) -> f64 {
    micro as f64 / MICRO_PER_AIT as f64
}

fn status_name(status: JobStatus) -> String {
    let name = status.as_str_name();
    name.strip_prefix("JOB_STATUS_")
        .unwrap_or(name)
        .to_ascii_lowercase()
}

/// The coordinator's bounded listener, for the HTTP server.
struct Bounded<S>(Pin<Box<S>>);

impl<S> axum::serve::Listener for Bounded<S>
where
    S: Stream<Item = Result<Connection, io::Error>> + Send + 'static,
{
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.0.next().await {
                Some(Ok(connection)) => {
                    let unknown = (Ipv4Addr::UNSPECIFIED, 0).into();
                    let peer = connection.peer().unwrap_or(unknown);
                    return (connection, peer);
                }
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::UNSPECIFIED, 0).into())
    }
}

#[cfg(test)]
mod tests {
    use aitbc_common::ledger::entry::{Account, AccountId, Entry, StateKey};

    use super::*;
    use crate::ledger::counted::Counted;

    fn value(text: &str, metric: &str) -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(metric))?;
        line.trim().parse().ok()
    }

    #[test]
    fn what_engine_and_ledger_have_is_told_with_a_help_text_each() {
        let ledger = Figures {
            records: 9,
            unsealed_since: Some(1_000),
            last_notice: 4,
            ..Figures::default()
        };
        let published = Published {
            size: 7,
            next: 9,
            ..Published::default()
        };
        let text = render(
            (&EngineStats::default(), &Audits::default()),
            &ledger,
            &published,
            0,
            2_500,
        );
        for (metric, expected) in [
            ("aitbc_ledger_records", 9.0),
            ("aitbc_ledger_checkpoint_size", 7.0),
            ("aitbc_ledger_unsealed_seconds", 1.5),
            ("aitbc_ledger_accounts_sum_micro_ait", 0.0),
            ("aitbc_outbox_notices", 4.0),
            ("aitbc_engine_turns_total", 0.0),
            ("aitbc_jobs{status=\"pending\"}", 0.0),
            ("aitbc_jobs_finished_total{status=\"completed\"}", 0.0),
        ] {
            assert_eq!(
                value(&text, &format!("{metric} ")),
                Some(expected),
                "{metric}"
            );
        }
        for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
            let name = line.split(' ').nth(2).unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
    }

    #[test]
    fn money_from_nowhere_shows() {
        let mut ledger = Figures::default();
        let account = Account {
            credits_posted: 3,
            ..Account::default()
        };
        let key = StateKey::Account(AccountId::Fees);
        ledger.totals.add(&key, &Entry::Account(account));
        let text = render(
            (&EngineStats::default(), &Audits::default()),
            &ledger,
            &Published::default(),
            0,
            0,
        );
        assert_eq!(
            value(&text, "aitbc_ledger_accounts_sum_micro_ait "),
            Some(3.0)
        );
        let broken = "aitbc_ledger_invariant_violations{invariant=\"conservation\"} ";
        assert_eq!(value(&text, broken), Some(1.0));
    }

    #[test]
    fn each_invariant_shows_where_it_does_not_hold_and_nowhere_else() {
        let published = Published {
            size: 7,
            next: 9,
            ..Published::default()
        };
        let ledger = Figures {
            unsealed_since: Some(1_000),
            ..Figures::default()
        };
        let violations = |published: &Published, ledger: &Figures, heard, now| {
            let text = render(
                (&EngineStats::default(), &Audits::default()),
                ledger,
                published,
                heard,
                now,
            );
            let lines = text.lines();
            let of = lines.filter(|line| line.starts_with("aitbc_ledger_invariant_violations{"));
            let broken: Vec<_> = of
                .clone()
                .filter(|line| line.ends_with(" 1"))
                .map(|line| line.split('"').nth(1).unwrap().to_owned())
                .collect();
            (of.count(), broken)
        };
        let (count, broken) = violations(&published, &ledger, 0, 2_000);
        assert_eq!((count, broken), (13, Vec::new()));
        let shrunk = Published {
            shrunk: true,
            ..published.clone()
        };
        let ahead = Figures {
            applied_orders: 1,
            ..ledger
        };
        let unminted = Figures {
            counted: Counted {
                transactions: 1,
                ..Counted::default()
            },
            ..ledger
        };
        for (name, (_, broken)) in [
            ("sealing", violations(&published, &ledger, 0, 11_001)),
            ("checkpoints", violations(&shrunk, &ledger, 0, 2_000)),
            ("outboxes", violations(&published, &ahead, 0, 2_000)),
            ("outboxes", violations(&published, &ledger, 1, 2_000)),
            ("nonces", violations(&published, &unminted, 0, 2_000)),
        ] {
            assert_eq!(broken, [name]);
        }
    }
}
