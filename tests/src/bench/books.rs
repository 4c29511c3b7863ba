//! A ledger with many accounts: balances with proof, an audit of an export, and what a transaction takes on the disk.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aitbc_common::address::Address;
use aitbc_common::ledger::entry::{AccountId, Entry, StateKey};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::files::Home;
use aitbc_common::runtime::ledger::VerifiedLedger;
use aitbc_common::runtime::random_bytes;
use aitbc_common::token::Scope;
use aitbc_coordinator::store::RocksStore;
use anyhow::{Context, anyhow, ensure};
use rand::Rng;
use serde::Serialize;
use tokio::task::JoinSet;

use super::coordinator::{Coordinator, program};
use super::latency::{Latencies, Summary};
use super::payer::Payer;
use super::throughput::real;
use super::{Part, Settings, note, runtime};
use crate::harness::Process;

/// Wallets that fill the ledger, each with one transfer in flight.
const PAYERS: usize = 64;
/// An export or an audit never takes longer.
const COMMAND_WITHIN: Duration = Duration::from_secs(3_600);

/// A ledger of transfers, each to an address of its own.
#[derive(Debug, Clone, Serialize)]
pub struct Books {
    /// Transfers, and so accounts beside those that paid.
    pub transfers: usize,
    /// Records, with seals and what the faucet gave.
    pub records: u64,
    /// Balances with proof.
    pub balance: Option<Balance>,
    /// An audit of an export.
    pub audit: Option<Audit>,
    /// What is on the disk.
    pub stored: Option<Stored>,
}

/// Balances, one after the other: the call, and the check of its proofs.
#[derive(Debug, Clone, Serialize)]
pub struct Balance {
    /// From the question to the proven balance.
    pub answered: Summary,
}

/// `aitbc ledger export` and `aitbc ledger audit FILE`, from the start of each process to its end.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// Records exported per second, with the check against the signed checkpoint.
    pub exported_per_s: f64,
    /// Records audited per second: every signature, rule, seal and the checkpoint.
    pub audited_per_s: f64,
    /// Bytes of the export for each record.
    pub export_bytes_per_record: f64,
}

/// Bytes, after everything is flushed and compacted.
#[derive(Debug, Clone, Serialize)]
pub struct Stored {
    /// Of all files of the database, for each transfer.
    pub disk_bytes_per_transfer: f64,
    /// The same as the coordinator left them, before that.
    pub left_bytes_per_transfer: f64,
    /// Of the log's leaves, for each record.
    pub log_bytes_per_record: f64,
}

/// Fills a ledger and measures what is wanted of it.
pub fn run(
    settings: &Settings,
    folder: &Path,
    wanted: impl Fn(Part) -> bool,
) -> anyhow::Result<Books> {
    let mut coordinator = Coordinator::start(folder)?;
    let runtime = runtime(settings)?;
    let home = Home::below(&coordinator.folder().join("reader"));
    let filled = runtime.block_on(async {
        let accounts = fill(&coordinator, usize::try_from(settings.accounts)?).await?;
        note(&format!("{} accounts", accounts.len()));
        let connection = coordinator.connect(Scope::Read).await?;
        let (records, log_bytes) = read(&connection, &home).await?;
        let balance = match wanted(Part::Balance) {
            true => Some(balance(settings, &connection, &home, &accounts).await?),
            false => None,
        };
        Ok::<_, anyhow::Error>((accounts.len(), records, log_bytes, balance))
    });
    drop(runtime);
    let (transfers, records, log_bytes, balance) =
        filled.with_context(|| format!("the coordinator said: {}", coordinator.log()))?;
    let audit = match wanted(Part::Audit) {
        true => Some(audit(&coordinator, records)?),
        false => None,
    };
    coordinator.end()?;
    let stored = match wanted(Part::Stored) {
        true => Some(stored(&coordinator.data(), transfers, records, log_bytes)?),
        false => None,
    };
    Ok(Books {
        transfers,
        records,
        balance,
        audit,
        stored,
    })
}

/// Gives 1 micro-AIT to as many new addresses.
async fn fill(coordinator: &Coordinator, count: usize) -> anyhow::Result<Vec<Address>> {
    let payers = PAYERS.min(count.max(1));
    let mut giving = JoinSet::new();
    let mut connection = coordinator.connect(Scope::Client).await?;
    for n in 0..payers {
        if n % 16 == 15 {
            connection = coordinator.connect(Scope::Client).await?;
        }
        let mut payer = Payer::new(&connection).await?;
        let share = count / payers + usize::from(n < count % payers);
        giving.spawn(async move {
            let mut given = Vec::with_capacity(share);
            for _ in 0..share {
                let address = Address(random_bytes());
                payer.give(address).await?;
                given.push(address);
            }
            Ok::<_, anyhow::Error>(given)
        });
    }
    let mut accounts = Vec::with_capacity(count);
    while let Some(given) = giving.join_next().await {
        accounts.extend(given??);
    }
    Ok(accounts)
}

/// Reads the whole log once a checkpoint covers it: its records, and the bytes of their leaves.
async fn read(connection: &Connection, home: &Home) -> anyhow::Result<(u64, usize)> {
    let mut ledger = opened(connection, home)?;
    let (_, next) = ledger.checkpoint().await.map_err(told)?;
    ledger.covers(next.saturating_sub(1)).await.map_err(told)?;
    let (checkpoint, _) = ledger.checkpoint().await.map_err(told)?;
    let size = checkpoint.head.size;
    let mut records = ledger.records(0, size).await.map_err(told)?;
    let mut bytes = 0;
    while let Some(leaves) = records.next().await.map_err(told)? {
        bytes += leaves.iter().map(bytes::Bytes::len).sum::<usize>();
    }
    Ok((size, bytes))
}

async fn balance(
    settings: &Settings,
    connection: &Connection,
    home: &Home,
    accounts: &[Address],
) -> anyhow::Result<Balance> {
    let mut ledger = opened(connection, home)?;
    let end = Instant::now() + Duration::from_secs(settings.seconds);
    let mut answered = Latencies::default();
    while Instant::now() < end {
        let address = accounts[rand::rng().random_range(0..accounts.len())];
        let key = StateKey::Account(AccountId::Wallet(address));
        let asked = Instant::now();
        let proven = ledger.entries(&[key]).await.map_err(told)?;
        answered.add(asked.elapsed());
        let has_money = matches!(&proven.entries[..], [Some(Entry::Account(account))] if account.available() == 1);
        ensure!(has_money, "an account has not what it was given");
    }
    Ok(Balance {
        answered: answered.summary(),
    })
}

fn audit(coordinator: &Coordinator, records: u64) -> anyhow::Result<Audit> {
    let file = coordinator.folder().join("ledger.ndjson");
    let timed = |arguments: &[&str]| -> anyhow::Result<f64> {
        let mut command = Command::new(program("aitbc")?);
        command
            .args(["ledger", arguments[0]])
            .args(&arguments[1..])
            .arg(&file)
            .arg("--json")
            .env_clear()
            .env("HOME", coordinator.folder())
            .env("AITBC_HOME", coordinator.folder().join("auditor"))
            .env("AITBC_COORDINATOR", coordinator.address())
            .current_dir(coordinator.folder());
        let start = Instant::now();
        let output = Process::start(command).wait_at_most(COMMAND_WITHIN);
        let took = start.elapsed();
        ensure!(
            output.code == 0,
            "{} ended with code {}: {}",
            output.command,
            output.code,
            output.stderr
        );
        let read = output.json()["records"].as_u64();
        ensure!(
            read >= Some(records),
            "{} took {read:?} records of {records}",
            output.command
        );
        Ok(real(usize::try_from(read.unwrap_or_default())?) / took.as_secs_f64())
    };
    let exported_per_s = timed(&["export", "--output"])?;
    let audited_per_s = timed(&["audit"])?;
    Ok(Audit {
        exported_per_s,
        audited_per_s,
        export_bytes_per_record: per(std::fs::metadata(&file)?.len(), records)?,
    })
}

fn stored(data: &Path, transfers: usize, records: u64, log_bytes: usize) -> anyhow::Result<Stored> {
    let database = data.join("rocks");
    let transfers = transfers as u64;
    let left_bytes_per_transfer = per(bytes_below(&database)?, transfers)?;
    let store = RocksStore::open(data).map_err(|error| anyhow!("{error}"))?;
    store.compact().map_err(|error| anyhow!("{error}"))?;
    drop(store);
    Ok(Stored {
        disk_bytes_per_transfer: per(bytes_below(&database)?, transfers)?,
        left_bytes_per_transfer,
        log_bytes_per_record: per(log_bytes as u64, records)?,
    })
}

fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn per(bytes: u64, count: u64) -> anyhow::Result<f64> {
    Ok(real(usize::try_from(bytes)?) / real(usize::try_from(count.max(1))?))
}

fn opened(connection: &Connection, home: &Home) -> anyhow::Result<VerifiedLedger> {
    VerifiedLedger::open(connection, home).map_err(told)
}

fn told(error: aitbc_common::runtime::errors::CommandError) -> anyhow::Error {
    anyhow!(error.message)
}

/// For people.
pub fn text(books: &Books, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\na ledger of {} transfers to as many accounts, {} records",
        books.transfers, books.records
    )?;
    if let Some(Balance { answered }) = &books.balance {
        writeln!(
            out,
            "balance with proof: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms ({} times, call and verification)",
            answered.p50_ms, answered.p99_ms, answered.p999_ms, answered.count
        )?;
    }
    if let Some(audit) = &books.audit {
        writeln!(
            out,
            "audit of an export: {:.0} records/s ({:.0} exported per second, {:.0} bytes each)",
            audit.audited_per_s, audit.exported_per_s, audit.export_bytes_per_record
        )?;
    }
    if let Some(stored) = &books.stored {
        writeln!(
            out,
            "stored: {:.0} bytes for each transfer once compacted ({:.0} as the coordinator left them); the log itself {:.0} bytes \
             a record",
            stored.disk_bytes_per_transfer,
            stored.left_bytes_per_transfer,
            stored.log_bytes_per_record
        )?;
    }
    Ok(())
}
