//! Listings: who may list what, and what readers of offers are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::ListingId;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use bytes::Bytes;
use prost::Message;

use super::command::Reply;
use super::core::{EngineCore, Miner};
use super::turn::Turn;
use crate::market::board::Change;
use crate::market::listing::{
    Fastest, IN_ALL, Listing, PER_PROVIDER, Provider, State, Terms, TermsChange, supported,
};
use crate::market::rows::{ListingRow, read_listing};
use crate::store::{Batch, Family, StoreError, keys};

/// All listings.
#[derive(Debug, Default)]
pub(super) struct Listings {
    by_id: BTreeMap<ListingId, Arc<Listing>>,
    by_provider: BTreeMap<PublicKey, BTreeSet<ListingId>>,
    /// Providers whose miner changed in this turn.
    changed: BTreeSet<PublicKey>,
}

impl Listings {
    fn insert(&mut self, listing: Arc<Listing>) {
        let of_provider = self.by_provider.entry(listing.provider).or_default();
        of_provider.insert(listing.id);
        self.by_id.insert(listing.id, listing);
    }

    /// One listing.
    pub fn get(&self, id: ListingId) -> Option<&Arc<Listing>> {
        self.by_id.get(&id)
    }

    fn remove(&mut self, listing: &Listing) {
        self.by_id.remove(&listing.id);
        if let Some(ids) = self.by_provider.get_mut(&listing.provider) {
            ids.remove(&listing.id);
            if ids.is_empty() {
                self.by_provider.remove(&listing.provider);
            }
        }
    }

    fn of(&self, provider: &PublicKey) -> impl Iterator<Item = &Arc<Listing>> {
        let ids = self.by_provider.get(provider).into_iter().flatten();
        ids.filter_map(|id| self.by_id.get(id))
    }

    /// A provider's miner came, went or changed.
    pub fn miner_changed(&mut self, provider: &PublicKey) {
        if self.by_provider.contains_key(provider) {
            self.changed.insert(*provider);
        }
    }
}

/// Listings that a batch stores, or (`None`) deletes.
pub(super) type Listed = BTreeMap<(PublicKey, ListingId), Option<Arc<Listing>>>;

/// A GPU to list.
#[derive(Debug, Clone)]
pub struct NewListing {
    /// Id for a new one, made by the caller.
    pub new_id: ListingId,
    /// The GPU's name, normalised where it is known.
    pub gpu: Arc<str>,
    /// Its terms.
    pub terms: Terms,
}

impl EngineCore {
    pub(super) fn create_listing(&mut self, turn: &mut Turn, provider: PublicKey, new: NewListing) {
        let known = self.listings.of(&provider).find(|l| l.gpu == new.gpu);
        let known = known.cloned();
        let detected = match self.bears_out(&provider, &new.gpu, new.terms.count) {
            Ok(detected) => detected,
            Err(refused) => return turn.reply(Reply::Refused(refused)),
        };
        if known.is_none() {
            if self.listings.of(&provider).count() >= PER_PROVIDER {
                let message = format!("this identity lists {PER_PROVIDER} GPU models already");
                return turn.refuse(ErrorReason::TooManyListings, message);
            }
            if self.listings.by_id.len() >= IN_ALL || !self.has_room {
                return turn.refuse(ErrorReason::StorageFull, "no room for more listings");
            }
        }
        let listing = Listing {
            id: known.as_ref().map_or(new.new_id, |known| known.id),
            provider,
            gpu: new.gpu,
            terms: new.terms,
            detected,
            created_ms: known.as_ref().map_or(self.now, |known| known.created_ms),
            updated_ms: self.now,
        };
        let previous = known.as_ref().map(|known| known.terms.rate);
        let previous = previous.filter(|rate| *rate != listing.terms.rate);
        let reply = Reply::Listed {
            id: listing.id,
            created: known.is_none(),
            previous_rate: previous,
        };
        self.store_listing(turn, known.as_deref(), listing);
        turn.reply(reply);
    }

    pub(super) fn update_listing(
        &mut self,
        turn: &mut Turn,
        provider: PublicKey,
        id: ListingId,
        change: TermsChange,
    ) {
        let Some(known) = self.own_listing(provider, id) else {
            return turn.reply(Reply::Refused(not_yours(id)));
        };
        let terms = change.apply(&known.terms);
        let detected = match self.bears_out(&provider, &known.gpu, terms.count) {
            Ok(detected) => detected,
            Err(refused) => return turn.reply(Reply::Refused(refused)),
        };
        let previous = (known.terms.rate != terms.rate).then_some(known.terms.rate);
        let listing = Listing {
            terms,
            detected,
            updated_ms: self.now,
            ..(*known).clone()
        };
        self.store_listing(turn, Some(&known), listing);
        turn.reply(Reply::Listed {
            id,
            created: false,
            previous_rate: previous,
        });
    }

    pub(super) fn withdraw_listing(&mut self, turn: &mut Turn, provider: PublicKey, id: ListingId) {
        match self.listings.by_id.get(&id).cloned() {
            // Idempotent: what is gone stays gone.
            None => turn.reply(Reply::Done),
            Some(listing) if listing.provider != provider => {
                turn.reply(Reply::Refused(not_yours(id)));
            }
            Some(listing) => {
                self.listings.remove(&listing);
                turn.listed.insert((provider, id), None);
                turn.published.push(Change::Withdrawn(id));
                turn.reply(Reply::Done);
            }
        }
    }

    fn own_listing(&self, provider: PublicKey, id: ListingId) -> Option<Arc<Listing>> {
        let listing = self.listings.by_id.get(&id)?;
        (listing.provider == provider).then(|| Arc::clone(listing))
    }

    /// Whether the provider's machine reports these GPUs; refused where it reports others.
    fn bears_out(&self, provider: &PublicKey, gpu: &str, count: u32) -> Result<bool, ApiError> {
        let miner = self.miner_of(provider);
        let gpus = miner.map_or(&[][..], |miner| &miner.record.gpus);
        supported(gpus, gpu, count).map_err(|there| {
            let message = format!("the miner's own machine reports {there}, not {count}x {gpu}");
            ApiError::new(ErrorReason::GpuContradicted, message)
        })
    }

    pub(super) fn miner_of(&self, key: &PublicKey) -> Option<&Miner> {
        self.miner_keys.get(key).and_then(|id| self.miners.get(id))
    }

    /// One that says the same as before is left as it was.
    fn store_listing(&mut self, turn: &mut Turn, known: Option<&Listing>, listing: Listing) {
        let same =
            |known: &Listing| known.terms == listing.terms && known.detected == listing.detected;
        if known.is_some_and(same) {
            return;
        }
        let listing = Arc::new(listing);
        self.listings.insert(Arc::clone(&listing));
        self.listings.changed.insert(listing.provider);
        turn.published.push(Change::Listed(Arc::clone(&listing)));
        turn.listed
            .insert((listing.provider, listing.id), Some(listing));
    }

    /// What readers of offers are told at the end of a turn.
    pub(super) fn publish_providers(&mut self, turn: &mut Turn) {
        for key in std::mem::take(&mut self.listings.changed) {
            turn.published.push(self.provider_change(key));
        }
    }

    fn provider_change(&self, key: PublicKey) -> Change {
        let provider = self.miner_of(&key).map(|miner| Arc::new(miner.provider()));
        Change::Provider(key, provider)
    }

    /// Everything that readers of offers need to know, after a recovery.
    #[must_use]
    pub fn all_offers(&self) -> Vec<Change> {
        let providers = self.listings.by_provider.keys();
        let providers = providers.map(|key| self.provider_change(*key));
        let listings = self.listings.by_id.values();
        let listings = listings.map(|listing| Change::Listed(Arc::clone(listing)));
        providers
            .chain(listings)
            .chain(self.rented_until())
            .collect()
    }

    pub(super) fn restore_listing(&mut self, value: Bytes) -> Result<(), StoreError> {
        self.listings.insert(Arc::new(read_listing(value)?));
        Ok(())
    }
}

impl Miner {
    fn provider(&self) -> Provider {
        let state = match &self.session {
            None => State::Away(self.last_seen_ms),
            Some(session) if session.draining || self.record.paused => State::Paused,
            Some(_) => State::Free,
        };
        let measured = self.models().iter().filter(|model| model.output_speed > 0);
        // The first of equals by name.
        let fastest =
            measured.max_by(|a, b| (a.output_speed, &b.name).cmp(&(b.output_speed, &a.name)));
        Provider {
            miner_id: self.id,
            name: self.record.name.as_str().into(),
            payee: self.record.payout_address[..]
                .try_into()
                .unwrap_or_default(),
            state,
            fastest: fastest.map(|model| Fastest {
                model: model.name.as_str().into(),
                speed: model.output_speed,
            }),
        }
    }
}

fn not_yours(id: ListingId) -> ApiError {
    ApiError::new(
        ErrorReason::ListingNotFound,
        format!("this identity has no listing {id}"),
    )
}

/// Writes the listings of a batch.
pub(super) fn put(batch: &mut Batch, listed: Listed) {
    for ((provider, id), listing) in listed {
        let key = keys::listing(&provider, id);
        match listing {
            Some(listing) => {
                let row = ListingRow::from(&*listing);
                batch.put(Family::Active, key, row.encode_to_vec());
            }
            None => batch.delete(Family::Active, key),
        }
    }
}
