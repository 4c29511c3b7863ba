//! The offers as readers look them up, beside the engine. The engine's thread only notes what changed; whoever reads next
//! brings the index up to date, so that a reader never holds up the engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::ListingId;

use super::listing::{Listing, Provider};
use super::offers::{Offers, Reputation};
use crate::jobs::lifecycle::Millis;

/// Something that offers show changed.
#[derive(Debug, Clone)]
pub enum Change {
    /// A listing is new or changed.
    Listed(Arc<Listing>),
    /// A listing is off the market.
    Withdrawn(ListingId),
    /// What others see of a provider's miner; `None` = it is not registered any more.
    Provider(PublicKey, Option<Arc<Provider>>),
    /// Until when (Unix ms) a provider is rented.
    Rented(PublicKey, Option<Millis>),
}

/// What readers have not seen yet: the newest of each, so that it is bounded by what there is.
#[derive(Debug, Default)]
struct Pending {
    reset: bool,
    listings: BTreeMap<ListingId, Option<Arc<Listing>>>,
    providers: BTreeMap<PublicKey, Option<Arc<Provider>>>,
    rented: BTreeMap<PublicKey, Option<Millis>>,
    reputations: BTreeMap<PublicKey, Reputation>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        !self.reset
            && self.listings.is_empty()
            && self.providers.is_empty()
            && self.rented.is_empty()
            && self.reputations.is_empty()
    }

    fn apply(self, offers: &mut Offers) {
        if self.reset {
            offers.forget_engine();
        }
        for (provider, miner) in self.providers {
            offers.know(provider, |known| known.miner = miner);
        }
        for (provider, until) in self.rented {
            offers.know(provider, |known| known.rented_until = until);
        }
        for (provider, reputation) in self.reputations {
            offers.know(provider, |known| known.reputation = reputation);
        }
        for (id, listing) in self.listings {
            match listing {
                Some(listing) => offers.insert(listing),
                None => offers.remove(id),
            }
        }
    }
}

/// The offers, shared.
#[derive(Debug, Default)]
pub struct Board {
    pending: Mutex<Pending>,
    offers: RwLock<Offers>,
}

impl Board {
    /// Some things changed. Never waits for readers.
    pub fn note(&self, changes: Vec<Change>) {
        let mut pending = self.pending();
        for change in changes {
            match change {
                Change::Listed(listing) => {
                    pending.listings.insert(listing.id, Some(listing));
                }
                Change::Withdrawn(id) => {
                    pending.listings.insert(id, None);
                }
                Change::Provider(provider, miner) => {
                    pending.providers.insert(provider, miner);
                }
                Change::Rented(provider, until) => {
                    pending.rented.insert(provider, until);
                }
            }
        }
    }

    /// Reputations changed.
    pub fn rate(&self, reputations: impl IntoIterator<Item = (PublicKey, Reputation)>) {
        self.pending().reputations.extend(reputations);
    }

    /// The engine begins anew and will tell everything again.
    pub fn reset(&self) {
        let mut pending = self.pending();
        let reputations = std::mem::take(&mut pending.reputations);
        *pending = Pending {
            reset: true,
            reputations,
            ..Pending::default()
        };
    }

    /// The offers as of now.
    pub fn offers(&self) -> RwLockReadGuard<'_, Offers> {
        if !self.pending().is_empty() {
            let mut offers = self.offers.write().unwrap_or_else(PoisonError::into_inner);
            // Taken under the lock: what another reader took is applied by then.
            let pending = std::mem::take(&mut *self.pending());
            pending.apply(&mut offers);
        }
        self.offers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::Terms;
    use super::*;

    fn listing(rate: u64) -> Arc<Listing> {
        Arc::new(Listing {
            id: ListingId([1; 16]),
            provider: PublicKey([2; 32]),
            gpu: "A".into(),
            terms: Terms {
                vram_gib: 0,
                count: 1,
                rate,
                region: "".into(),
            },
            detected: false,
            created_ms: 0,
            updated_ms: 0,
        })
    }

    #[test]
    fn a_reader_sees_the_newest_of_each() {
        let board = Board::default();
        board.note(vec![Change::Listed(listing(1)), Change::Listed(listing(2))]);
        let (found, _) = board.offers().get(ListingId([1; 16])).unwrap();
        assert_eq!(found.terms.rate, 2);
        board.note(vec![
            Change::Listed(listing(3)),
            Change::Withdrawn(ListingId([1; 16])),
        ]);
        assert!(board.offers().is_empty());
    }

    #[test]
    fn a_reset_forgets_what_the_engine_told_and_keeps_reputations() {
        let board = Board::default();
        let provider = PublicKey([2; 32]);
        board.note(vec![
            Change::Listed(listing(1)),
            Change::Rented(provider, Some(9)),
        ]);
        let good = Reputation {
            ppm: 900_000,
            settled: 7,
        };
        board.rate([(provider, good)]);
        assert_eq!(board.offers().len(), 1);
        board.reset();
        board.note(vec![Change::Listed(listing(2))]);
        let (found, known) = board.offers().get(ListingId([1; 16])).unwrap();
        assert_eq!((found.terms.rate, known.reputation), (2, good));
        assert_eq!(known.rented_until, None);
    }
}
