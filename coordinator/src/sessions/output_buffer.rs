//! One byte stream of an attempt, as it arrives: offset checks, a running hash, and a bounded part in memory.
//!
//! Bytes arrive in chunks with their offset. What overlaps bytes that are here is ignored, and a chunk that would leave
//! a gap is refused with the length that is here. Bytes beyond [`SPILL_BYTES`] are handed out to be stored; those that
//! are stored are dropped from memory.

use aitbc_common::hash::{Hash, Sha256Stream};
use bytes::Bytes;

/// Bytes in memory from which on they are handed out to be stored: 64 KiB.
pub const SPILL_BYTES: usize = 64 << 10;

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Append {
    /// This many bytes of it were new.
    Appended(usize),
    /// All of it was here.
    Duplicate,
    /// It begins beyond the end: only this many bytes are here.
    Gap {
        /// Bytes that are here.
        have: u64,
    },
    /// It would pass the bound of the stream.
    TooLarge {
        /// The bound.
        limit: u64,
    },
}

/// Where bytes from an offset on can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// These are the next ones, at least one.
    Memory(Bytes),
    /// The store has them, up to this offset.
    Store {
        /// End of what the store has.
        until: u64,
    },
    /// Nothing follows yet.
    End,
}

/// A part to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spill {
    /// Bytes before it.
    pub offset: u64,
    /// The bytes, at least one.
    pub data: Bytes,
}

/// One stream of an attempt.
#[derive(Debug, Clone)]
pub struct OutputBuffer {
    limit: u64,
    hash: Sha256Stream,
    /// Bytes from `stored` to the end.
    memory: Vec<u8>,
    stored: u64,
    ignores_offsets: bool,
}

impl OutputBuffer {
    /// An empty stream of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            hash: Sha256Stream::default(),
            memory: Vec::new(),
            stored: 0,
            ignores_offsets: false,
        }
    }

    /// Test-only: takes each chunk as the next one, whatever its offset, to show that the simulator notices.
    pub fn ignore_offsets(&mut self) {
        self.ignores_offsets = true;
    }

    /// Takes a part that the store has, in order, to go on after a restart. `false` where it does not continue what
    /// is here, or where bytes arrived already.
    pub fn restore(&mut self, offset: u64, data: &[u8]) -> bool {
        let fits = offset == self.stored
            && self.memory.is_empty()
            && self.stored + data.len() as u64 <= self.limit;
        if fits {
            self.hash.update(data);
            self.stored += data.len() as u64;
        }
        fits
    }

    /// Takes a chunk that begins at `offset`.
    pub fn append(&mut self, offset: u64, data: &[u8]) -> Append {
        let have = self.len();
        let offset = if self.ignores_offsets { have } else { offset };
        if offset > have {
            return Append::Gap { have };
        }
        let Some(end) = offset
            .checked_add(data.len() as u64)
            .filter(|end| *end <= self.limit)
        else {
            return Append::TooLarge { limit: self.limit };
        };
        if end <= have {
            return Append::Duplicate;
        }
        let known = usize::try_from(have - offset).expect("less than the chunk's length");
        let new = &data[known..];
        self.hash.update(new);
        self.memory.extend_from_slice(new);
        Append::Appended(new.len())
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.hash.len()
    }

    /// Whether there is none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hash.is_empty()
    }

    /// SHA-256 of all bytes so far.
    #[must_use]
    pub fn digest(&self) -> Hash {
        self.hash.digest()
    }

    /// Bytes that the store has.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// What should be stored now: nothing while it is small, unless `all` is wanted. The bytes stay readable here
    /// until [`Self::confirm`].
    #[must_use]
    pub fn spill(&self, all: bool) -> Option<Spill> {
        let due = if all {
            !self.memory.is_empty()
        } else {
            self.memory.len() >= SPILL_BYTES
        };
        due.then(|| Spill {
            offset: self.stored,
            data: Bytes::copy_from_slice(&self.memory),
        })
    }

    /// The store has everything before `end`.
    pub fn confirm(&mut self, end: u64) {
        let stored = end
            .saturating_sub(self.stored)
            .min(self.memory.len() as u64);
        self.memory
            .drain(..usize::try_from(stored).expect("at most the length in memory"));
        self.stored += stored;
        self.memory.shrink_to(SPILL_BYTES);
    }

    /// At most `max` (at least 1) bytes from `offset` on.
    #[must_use]
    pub fn read(&self, offset: u64, max: usize) -> Read {
        if offset < self.stored {
            return Read::Store { until: self.stored };
        }
        let start = usize::try_from(offset - self.stored).unwrap_or(usize::MAX);
        match self.memory.get(start..) {
            Some(rest) if !rest.is_empty() => {
                Read::Memory(Bytes::copy_from_slice(&rest[..rest.len().min(max)]))
            }
            _ => Read::End,
        }
    }

    /// The whole stream where it is in memory.
    #[must_use]
    pub fn whole(&self) -> Option<&[u8]> {
        (self.stored == 0).then_some(self.memory.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use aitbc_common::hash::sha256;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn overlaps_are_ignored_and_gaps_refused() {
        let mut buffer = OutputBuffer::new(10);
        assert_eq!(buffer.append(0, b"abc"), Append::Appended(3));
        assert_eq!(buffer.append(1, b"bc"), Append::Duplicate);
        assert_eq!(buffer.append(4, b"e"), Append::Gap { have: 3 });
        assert_eq!(buffer.append(2, b"cd"), Append::Appended(1));
        assert_eq!(buffer.append(4, b"1234567"), Append::TooLarge { limit: 10 });
        assert_eq!(buffer.append(u64::MAX, b"x"), Append::Gap { have: 4 });
        assert_eq!(buffer.digest(), sha256(b"abcd"));
        assert_eq!(buffer.whole(), Some(&b"abcd"[..]));
        assert_eq!(buffer.read(1, 2), Read::Memory(Bytes::from_static(b"bc")));
        assert_eq!(buffer.read(4, 2), Read::End);
        assert_eq!(buffer.read(9, 2), Read::End);
    }

    #[test]
    fn what_is_stored_leaves_memory() {
        let mut buffer = OutputBuffer::new(1 << 20);
        assert_eq!(buffer.spill(true), None);
        buffer.append(0, &[7; SPILL_BYTES - 1]);
        assert_eq!(buffer.spill(false), None);
        buffer.append(buffer.len(), &[8]);
        let spill = buffer.spill(false).unwrap();
        assert_eq!((spill.offset, spill.data.len()), (0, SPILL_BYTES));
        assert!(
            matches!(buffer.read(0, 10), Read::Memory(_)),
            "readable until it is stored"
        );
        buffer.append(buffer.len(), b"tail");
        buffer.confirm(SPILL_BYTES as u64);
        assert_eq!(
            buffer.read(5, 10),
            Read::Store {
                until: SPILL_BYTES as u64
            }
        );
        assert_eq!(
            buffer.read(SPILL_BYTES as u64, 10),
            Read::Memory(Bytes::from_static(b"tail"))
        );
        assert_eq!(buffer.spill(true).unwrap().offset, SPILL_BYTES as u64);
        buffer.confirm(3);
        assert_eq!(buffer.stored(), SPILL_BYTES as u64);
    }

    #[test]
    fn a_restored_stream_goes_on() {
        let mut buffer = OutputBuffer::new(6);
        assert!(buffer.restore(0, b"abc"));
        assert!(!buffer.restore(4, b"e"));
        assert!(!buffer.restore(3, b"defg"), "over the bound");
        assert_eq!(buffer.append(2, b"cde"), Append::Appended(2));
        assert!(!buffer.restore(3, b"x"));
        assert_eq!(buffer.digest(), sha256(b"abcde"));
    }

    proptest! {
        /// Whatever is sent, in whatever order and pieces: a sender that resends from the end it is told gets its
        /// bytes across exactly once, and memory holds only what is not stored.
        #[test]
        fn any_chunking_gives_the_same_bytes(
            data in proptest::collection::vec(any::<u8>(), 0..2_000),
            chunks in proptest::collection::vec((0_usize..2_000, 0_usize..300, any::<bool>()), 0..60),
        ) {
            let mut buffer = OutputBuffer::new(2_000);
            let mut store = Vec::new();
            for (start, len, store_now) in chunks {
                let start = start.min(data.len());
                let end = (start + len).min(data.len());
                let before = buffer.len();
                let outcome = buffer.append(start as u64, &data[start..end]);
                match outcome {
                    Append::Appended(new) => prop_assert_eq!(buffer.len(), before + new as u64),
                    Append::Gap { have } => prop_assert!(have < start as u64 && have == before),
                    Append::Duplicate => prop_assert!(end as u64 <= before),
                    Append::TooLarge { .. } => prop_assert!(false, "never over the bound"),
                }
                if let Some(spill) = buffer.spill(true).filter(|_| store_now) {
                    prop_assert_eq!(spill.offset, store.len() as u64);
                    store.extend_from_slice(&spill.data);
                    buffer.confirm(store.len() as u64);
                }
            }
            buffer.append(buffer.len(), &data[buffer.len() as usize..]);
            prop_assert_eq!(buffer.digest(), sha256(&data));
            while let Read::Memory(bytes) = buffer.read(store.len() as u64, 7) {
                store.extend_from_slice(&bytes);
            }
            prop_assert_eq!(store, data);
        }
    }
}
