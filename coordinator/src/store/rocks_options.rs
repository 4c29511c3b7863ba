//! How RocksDB is set up: bounded memory, files and logs; nothing lost but an unsynced tail.

use std::sync::{Arc, Mutex, PoisonError};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    DEFAULT_COLUMN_FAMILY_NAME, InfoLogger, LogLevel, Options,
};

use super::Family;

const MIB: usize = 1 << 20;

/// Values of this many bytes or more leave the key tree of archived rows for blob files.
const MIN_BLOB_BYTES: u64 = 400;

/// What of a [`RocksStore`](super::RocksStore) can be chosen; sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Rows in memory that are not yet in sorted files, over all families (default 16 MiB).
    pub write_buffer: usize,
    /// Cache for blocks read from sorted files (default 8 MiB).
    pub block_cache: usize,
    /// Size of the ballast file; 0 for none (default 32 MiB). Less than twice `write_buffer` may not
    /// suffice to open the store on a full disk.
    pub ballast: u64,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            write_buffer: 16 * MIB,
            block_cache: 8 * MIB,
            ballast: 32 << 20,
        }
    }
}

impl RocksOptions {
    /// Free bytes below which flushes may fail: room for all rows in memory.
    pub(super) fn reserve(&self) -> u64 {
        self.write_buffer as u64
    }
}

/// The name of the column family that holds `family`; frozen.
pub(super) fn name(family: Family) -> &'static str {
    match family {
        Family::Active => "active",
        Family::Archive => "archive",
        Family::Output => "output",
    }
}

/// The options of the database and its column families.
pub(super) fn descriptors(
    chosen: &RocksOptions,
    log: &Arc<HeldLog>,
) -> (Options, Vec<ColumnFamilyDescriptor>) {
    let cache = Cache::new_lru_cache(chosen.block_cache);
    let mut families = vec![ColumnFamilyDescriptor::new(
        DEFAULT_COLUMN_FAMILY_NAME,
        own_family(&cache),
    )];
    for family in Family::ALL {
        let mut options = table_options(&cache);
        // The shared limit decides; one family alone may not take all of it.
        options.set_write_buffer_size(chosen.write_buffer / 2);
        match family {
            Family::Active => {
                // Queues leave runs of deleted keys: compact where they are dense.
                options.add_compact_on_deletion_collector_factory(16 << 10, 8 << 10, 0.5);
            }
            Family::Archive | Family::Output => blob_files(&mut options),
        }
        families.push(ColumnFamilyDescriptor::new(name(family), options));
    }
    (database_options(chosen, log), families)
}

fn database_options(chosen: &RocksOptions, log: &Arc<HeldLog>) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);

    // A torn record at the end of the log is an unsynced commit; any other damage stops the start.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_recycle_log_file_num(0);
    options.set_paranoid_checks(true);

    options.set_db_write_buffer_size(chosen.write_buffer);
    options.set_max_total_wal_size(4 * chosen.write_buffer as u64);
    options.set_max_open_files(256);
    options.set_max_manifest_file_size(8 * MIB);
    options.set_max_background_jobs(2);
    options.set_skip_stats_update_on_db_open(true);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);

    // Writing back as files grow keeps a flush from delaying the log's syncs in one burst.
    options.set_bytes_per_sync(MIB as u64);
    options.set_wal_bytes_per_sync(MIB as u64 / 2);

    // Its messages go to our log, so that it keeps no log files of its own.
    let log = Arc::clone(log);
    let logger = move |level, message: &str| log.say(level, message);
    options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, logger));
    options
}

/// The database's own column family: the epoch, a few bytes.
fn own_family(cache: &Cache) -> Options {
    let mut options = table_options(cache);
    options.set_write_buffer_size(MIB / 4);
    options
}

fn table_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(16 << 10);
    table.set_bloom_filter(10.0, false);
    table.set_optimize_filters_for_memory(true);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_max_write_buffer_number(3);
    options
}

fn blob_files(options: &mut Options) {
    options.set_enable_blob_files(true);
    options.set_min_blob_size(MIN_BLOB_BYTES);
    options.set_blob_file_size(64 << 20);
    options.set_blob_compression_type(DBCompressionType::Lz4);
    options.set_enable_blob_gc(true);
    options.set_blob_gc_age_cutoff(0.25);
    options.set_blob_gc_force_threshold(0.5);
}

/// RocksDB's messages. Those of an opening wait until it succeeded: one that fails gives an error that says what to do,
/// and beside it they would only be noise.
pub(super) struct HeldLog {
    held: Mutex<Option<Vec<(LogLevel, String)>>>,
}

/// Messages that wait, at most.
const HELD: usize = 100;

impl HeldLog {
    pub(super) fn new() -> Self {
        Self {
            held: Mutex::new(Some(Vec::new())),
        }
    }

    fn say(&self, level: LogLevel, message: &str) {
        match &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(held) if held.len() < HELD => held.push((level, message.to_owned())),
            Some(_) => tracing::debug!(target: "rocksdb", "{}", message.trim_end()),
            None => log(level, message),
        }
    }

    /// The database is open: what waits is said, and from now on nothing waits.
    pub(super) fn opened(&self) {
        let held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        for (level, message) in held.into_iter().flatten() {
            log(level, &message);
        }
    }
}

impl Drop for HeldLog {
    fn drop(&mut self) {
        let held = self
            .held
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        for (_, message) in held.into_iter().flatten() {
            tracing::debug!(target: "rocksdb", "{}", message.trim_end());
        }
    }
}

fn log(level: LogLevel, message: &str) {
    let message = message.trim_end();
    match level {
        LogLevel::Error | LogLevel::Fatal => tracing::error!(target: "rocksdb", "{message}"),
        LogLevel::Warn => tracing::warn!(target: "rocksdb", "{message}"),
        _ => tracing::debug!(target: "rocksdb", "{message}"),
    }
}
