//! Follows the log and keeps the book of reputations and trades: what it makes of the records is theirs, so it may lag
//! behind, start anew or be lost without harm. It reads sealed records only, so that a chain of payments is whole.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use aitbc_common::address::Address;
use aitbc_common::gpus;
use aitbc_common::hash::sha256;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{Record, RecordBody};
use aitbc_common::market::book::{Book, Changes, auditors_of};
use aitbc_common::market::day_of;
use aitbc_common::market::pricing::KEPT_DAYS;
use aitbc_common::runtime::status::ApiError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::live_time::LiveTime;
use super::offers::Reputation;
use super::{Board, book_rows};
use crate::engine::command::Command;
use crate::engine::handle::EngineHandle;
use crate::ledger::driver::Published;
use crate::ledger::rows::split_record;
use crate::sessions::stored::blocking;
use crate::store::{Batch, Durability, Family, Store, StoreError, ledger_keys};

/// Records that are taken at once.
const RECORDS: usize = 1_000;
/// Miners that are told of at once, and payers that are looked at.
const AT_ONCE: usize = 10_000;
/// How often time alone is looked at: days that end, listings that are live.
const TICK: Duration = Duration::from_secs(60);
/// Time between two looks that counts for listings, at most: while nobody looked, nobody could rent.
const LONGEST_LOOK_MS: u64 = 300_000;
/// The pause after a store that fails.
const PAUSE: Duration = Duration::from_secs(1);

/// The book and what belongs to it.
#[derive(Debug, Default)]
pub struct Kept {
    /// Reputations and trades.
    pub book: Book,
    /// How long listings were live.
    pub live: LiveTime,
    next: u64,
    day: u32,
    looked_at_ms: u64,
}

/// The book as readers share it.
#[derive(Debug, Default)]
pub struct SharedBook(RwLock<Kept>);

impl SharedBook {
    /// A book that is as it is.
    #[cfg(test)]
    pub(crate) fn of(book: Book) -> Self {
        Self(RwLock::new(Kept {
            book,
            ..Kept::default()
        }))
    }

    /// As of now.
    pub fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who follows.
pub struct Follower {
    /// Where records are, and the book's rows.
    pub store: Arc<dyn Store>,
    /// Is told of reputations.
    pub engine: EngineHandle,
    /// Shows them, and knows what is listed.
    pub board: Arc<Board>,
    /// What is kept.
    pub book: Arc<SharedBook>,
    /// How far the log is sealed.
    pub published: watch::Receiver<Published>,
    /// Ends it.
    pub shutdown: CancellationToken,
}

/// Miners whose reputation may have changed.
type Touched = BTreeSet<PublicKey>;

impl Follower {
    /// Follows until shutdown.
    pub async fn run(mut self) {
        let mut loaded = false;
        while !self.shutdown.is_cancelled() {
            let size = self.published.borrow_and_update().size;
            let stepped = if size == 0 {
                Ok(false)
            } else {
                self.step(size, &mut loaded).await
            };
            match stepped {
                Ok(more) if more => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = %error.message, "reputations and prices wait");
                    // Memory may be ahead of the store: begin again from there.
                    loaded = false;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            tokio::select! {
                _ = self.published.changed() => {}
                () = tokio::time::sleep(TICK) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Takes some records; whether more wait.
    async fn step(&self, size: u64, loaded: &mut bool) -> Result<bool, ApiError> {
        let (store, book, board) = (self.store.clone(), self.book.clone(), self.board.clone());
        let (fence, now) = (self.engine.fence(), self.engine.now_ms());
        let load = !*loaded;
        let (touched, more) = blocking(move || {
            let work = Work { store, book, board };
            let mut batch = Batch::new();
            let mut touched = Touched::new();
            if load {
                touched = work.load(&mut batch, size)?;
            }
            work.time(&mut batch, now, &mut touched);
            let more = work.records(&mut batch, size, &mut touched)?;
            if !batch.is_empty() {
                work.store.commit(&fence, batch, Durability::Buffered)?;
            }
            Ok((touched, more))
        })
        .await?;
        *loaded = true;
        self.tell(touched, day_of(now)).await;
        Ok(more)
    }

    /// Tells engine and readers of reputations.
    async fn tell(&self, touched: Touched, today: u32) {
        if touched.is_empty() {
            return;
        }
        let rated: Vec<(PublicKey, Reputation)> = {
            let kept = self.book.read();
            let rate = |miner: PublicKey| (miner, kept.reputation(&miner, today));
            touched.into_iter().map(rate).collect()
        };
        self.board.rate(rated.iter().copied());
        for some in rated.chunks(AT_ONCE) {
            let ratings = some.iter().map(|(miner, rated)| (*miner, rated.ppm));
            // It keeps them until the next time; without it nobody is matched either.
            let _told = self.engine.call(Command::Rate(ratings.collect())).await;
        }
    }
}

impl Kept {
    /// How many records of the log it counts.
    #[must_use]
    pub fn log_size(&self) -> u64 {
        self.next
    }

    /// A miner's reputation.
    #[must_use]
    pub fn reputation(&self, miner: &PublicKey, today: u32) -> Reputation {
        Reputation {
            ppm: self.book.reputations.score(miner, today).ppm(),
            settled: self.book.paid.get(miner).copied().unwrap_or(0),
        }
    }
}

struct Work {
    store: Arc<dyn Store>,
    book: Arc<SharedBook>,
    board: Arc<Board>,
}

impl Work {
    /// Reads what is stored. A book that is ahead of the log was written for another one, and is begun anew.
    fn load(&self, batch: &mut Batch, size: u64) -> Result<Touched, StoreError> {
        let (mut book, mut live, mut next) = book_rows::load(&self.store)?;
        if next > size {
            book_rows::forget(batch);
            (book, live, next) = Default::default();
        }
        if next > 0 {
            book.auditors = self.auditors()?;
        }
        let touched = book.reputations.miners(None).copied();
        let touched = touched.chain(book.paid.keys().copied()).collect();
        self.book.change(|kept| {
            *kept = Kept {
                book,
                live,
                next,
                ..Kept::default()
            };
        });
        Ok(touched)
    }

    /// As the first record says; a book that begins with it learns them by itself.
    fn auditors(&self) -> Result<Arc<[Address]>, StoreError> {
        let key = ledger_keys::record(0);
        let stored = self.store.get_many(&[(Family::Archive, &key)])?;
        let row = stored.into_iter().next().flatten().ok_or_else(damaged)?;
        let leaf = split_record(&row).map(|(_, leaf)| leaf);
        match leaf.and_then(|leaf| Record::decode(leaf).ok()) {
            Some(Record {
                body: RecordBody::Genesis(file),
                ..
            }) => Ok(auditors_of(&file)),
            _ => Err(damaged()),
        }
    }

    /// What time alone changes.
    fn time(&self, batch: &mut Batch, now: u64, touched: &mut Touched) {
        let today = day_of(now);
        let listed = self.board.offers().models();
        self.book.change(|kept| {
            let since = now.saturating_sub(kept.looked_at_ms);
            if since >= TICK.as_millis() as u64 {
                kept.looked_at_ms = now;
                for (gpu, listings) in listed {
                    let hash = sha256(gpu.as_bytes());
                    let known = matches!(gpus::canonical(&gpu), gpus::Canonical::Known(_));
                    if known || kept.book.trades.contains_key(&hash) {
                        let time = since.min(LONGEST_LOOK_MS).saturating_mul(listings as u64);
                        let sum = kept.live.add(today, hash, time);
                        book_rows::put_live(batch, today, &hash, sum);
                    }
                }
            }
            if kept.day < today {
                kept.day = today;
                begin_day(kept, batch, today);
                touched.extend(kept.book.reputations.miners(None).copied());
            }
        });
    }

    /// Counts some records; whether more wait.
    fn records(
        &self,
        batch: &mut Batch,
        size: u64,
        touched: &mut Touched,
    ) -> Result<bool, StoreError> {
        let next = self.book.read().next;
        let range = (ledger_keys::record(next), ledger_keys::record(size));
        if next >= size {
            return Ok(false);
        }
        let page = self
            .store
            .scan(Family::Archive, &range.0..&range.1, RECORDS)?;
        let mut records = Vec::with_capacity(page.rows.len());
        for (_, stored) in &page.rows {
            let leaf = split_record(stored).map(|(_, leaf)| leaf);
            let record = leaf.and_then(|leaf| Record::decode(leaf).ok());
            records.push(record.ok_or_else(damaged)?);
        }
        let last = records.last().map_or(size, |record| record.index + 1);
        let more = last < size;
        if more {
            drop_open_chain(&mut records);
        }
        let Some(next) = records.last().map(|record| record.index + 1) else {
            return Err(damaged());
        };
        self.book.change(|kept| {
            let mut changes = Changes::default();
            for record in &records {
                kept.book.record(record, &mut changes);
            }
            kept.book.end_chain(&mut changes);
            kept.next = next;
            book_rows::put(batch, &kept.book, &changes, next);
            touched.extend(changes.pairs.iter().map(|(miner, _)| *miner));
            touched.extend(changes.paid);
        });
        Ok(more)
    }
}

/// A day began: what counts no more is forgotten.
fn begin_day(kept: &mut Kept, batch: &mut Batch, today: u32) {
    let mut changes = Changes::default();
    let miners: Vec<PublicKey> = kept.book.reputations.miners(None).copied().collect();
    for miner in miners {
        let gone = kept.book.reputations.advance(&miner, today);
        changes
            .pairs
            .extend(gone.into_iter().map(|client| (miner, client)));
    }
    let mut after = None;
    loop {
        let (gone, last) = kept.book.reputations.forget_payers(today, after, AT_ONCE);
        changes.payers.extend(gone);
        match last {
            Some(_) => after = last,
            None => break,
        }
    }
    kept.book.trades.retain(|_, trades| {
        trades.forget(today);
        !trades.is_empty()
    });
    book_rows::put(batch, &kept.book, &changes, kept.next);
    book_rows::forget_before(batch, today.saturating_sub(KEPT_DAYS));
}

/// The records at the end that may be of a chain which goes on stay for the next time, where others come before them.
fn drop_open_chain(records: &mut Vec<Record>) {
    let is_post = |record: &Record| matches!(record.body, RecordBody::Post(_));
    let whole = records.iter().rposition(|record| !is_post(record));
    if let Some(whole) = whole {
        records.truncate(whole + 1);
    }
}

fn damaged() -> StoreError {
    StoreError::Corrupt("a record of the log is damaged".into())
}
