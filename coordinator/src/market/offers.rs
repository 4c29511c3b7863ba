//! Offers in order: an index of all listings by price, effective price, reputation and speed, for all GPUs and for each model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::ListingId;
use aitbc_common::market::pricing::{OfferStatistics, Offers as Rates};

use super::listing::{Listing, Provider, State, price_per_million_tokens};
use crate::jobs::lifecycle::Millis;

/// Offers that one query looks at, at most.
const LOOKED_AT: usize = 20_000;
/// Reputation of one who is not known, in millionths.
pub const UNKNOWN_REPUTATION: u32 = 25_000;

/// How offers are ordered; equal ones follow each other by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Hourly price, lowest first.
    Price,
    /// Price of a million output tokens, lowest first; not measured = last.
    EffectivePrice,
    /// Highest first.
    Reputation,
    /// Generation speed, highest first; not measured = last.
    Speed,
}

const SORTS: [Sort; 4] = [
    Sort::Price,
    Sort::EffectivePrice,
    Sort::Reputation,
    Sort::Speed,
];

/// A place in an order.
pub type Place = (u64, ListingId);

/// Reputation as of the newest settlement or day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reputation {
    /// Millionths.
    pub ppm: u32,
    /// Paid work that it rests on.
    pub settled: u64,
}

impl Default for Reputation {
    fn default() -> Self {
        Self {
            ppm: UNKNOWN_REPUTATION,
            settled: 0,
        }
    }
}

/// What is known of an identity that lists GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Its miner; `None` = it registered none.
    pub miner: Option<Arc<Provider>>,
    /// Until when (Unix ms) it is rented.
    pub rented_until: Option<Millis>,
    /// Its reputation.
    pub reputation: Reputation,
}

impl Known {
    fn is_free(&self) -> bool {
        let state = self.miner.as_ref().map(|miner| miner.state);
        state == Some(State::Free) && self.rented_until.is_none()
    }
}

/// What is looked for. The default is everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// This model, normalised.
    pub gpu: Option<Arc<str>>,
    /// GiB.
    pub min_vram_gib: u32,
    /// Micro-AIT per hour.
    pub max_rate: Option<u64>,
    /// Empty = any.
    pub region: String,
    /// Millionths.
    pub min_reputation_ppm: u32,
    /// Only what can be rented now.
    pub available: bool,
}

/// A page of offers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub offers: Vec<(Arc<Listing>, Known)>,
    /// Where the next page goes on; `None` = this was the last.
    pub next: Option<Place>,
}

/// Each with its listing: a filter reads thousands of them.
#[derive(Debug, Default)]
struct Orders([BTreeMap<Place, Arc<Listing>>; SORTS.len()]);

impl Orders {
    fn insert(&mut self, listing: &Arc<Listing>, keys: [u64; SORTS.len()]) {
        for (order, key) in self.0.iter_mut().zip(keys) {
            order.insert((key, listing.id), Arc::clone(listing));
        }
    }

    fn remove(&mut self, id: ListingId, keys: [u64; SORTS.len()]) {
        for (order, key) in self.0.iter_mut().zip(keys) {
            order.remove(&(key, id));
        }
    }
}

#[derive(Debug)]
struct Entry {
    listing: Arc<Listing>,
    keys: [u64; SORTS.len()],
}

#[derive(Debug, Default)]
struct ByProvider {
    known: Known,
    listings: BTreeSet<ListingId>,
}

#[derive(Debug, Default)]
struct ByGpu {
    orders: Orders,
    rates: Rates,
}

/// All listings, with what is known of their providers.
#[derive(Debug, Default)]
pub struct Offers {
    entries: BTreeMap<ListingId, Entry>,
    providers: BTreeMap<PublicKey, ByProvider>,
    all: Orders,
    by_gpu: BTreeMap<Arc<str>, ByGpu>,
}

impl Offers {
    /// A listing is new or changed.
    pub fn insert(&mut self, listing: Arc<Listing>) {
        self.remove(listing.id);
        let provider = self.providers.entry(listing.provider).or_default();
        provider.listings.insert(listing.id);
        let keys = keys(&listing, &provider.known);
        self.all.insert(&listing, keys);
        let of_gpu = self.by_gpu.entry(Arc::clone(&listing.gpu)).or_default();
        of_gpu.orders.insert(&listing, keys);
        of_gpu.rates.add(listing.terms.rate);
        self.entries.insert(listing.id, Entry { listing, keys });
    }

    /// A listing is off the market.
    pub fn remove(&mut self, id: ListingId) {
        let Some(Entry { listing, keys }) = self.entries.remove(&id) else {
            return;
        };
        self.all.remove(id, keys);
        if let Some(of_gpu) = self.by_gpu.get_mut(&listing.gpu) {
            of_gpu.orders.remove(id, keys);
            of_gpu.rates.remove(listing.terms.rate);
            if of_gpu.orders.0[0].is_empty() {
                self.by_gpu.remove(&listing.gpu);
            }
        }
        if let Some(provider) = self.providers.get_mut(&listing.provider) {
            provider.listings.remove(&id);
            if provider.listings.is_empty() && provider.known == Known::default() {
                self.providers.remove(&listing.provider);
            }
        }
    }

    /// Something is known of a provider.
    pub fn know(&mut self, provider: PublicKey, change: impl FnOnce(&mut Known)) {
        let known = self.providers.entry(provider).or_default();
        change(&mut known.known);
        let (known, listings) = (known.known.clone(), known.listings.clone());
        if listings.is_empty() && known == Known::default() {
            self.providers.remove(&provider);
        }
        for id in listings {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            let new = keys(&entry.listing, &known);
            if new == entry.keys {
                continue;
            }
            let old = std::mem::replace(&mut entry.keys, new);
            let of_gpu = self.by_gpu.get_mut(&entry.listing.gpu);
            let of_gpu = of_gpu.map(|of| &mut of.orders);
            for orders in of_gpu.into_iter().chain([&mut self.all]) {
                orders.remove(id, old);
                orders.insert(&entry.listing, new);
            }
        }
    }

    /// Forgets all but reputations.
    pub fn forget_engine(&mut self) {
        let rated = std::mem::take(self).providers.into_iter();
        let rated = rated.map(|(key, provider)| (key, provider.known.reputation));
        for (key, reputation) in rated.filter(|(_, r)| *r != Reputation::default()) {
            self.know(key, |known| known.reputation = reputation);
        }
    }

    /// One listing.
    #[must_use]
    pub fn get(&self, id: ListingId) -> Option<(Arc<Listing>, Known)> {
        let entry = self.entries.get(&id)?;
        Some((Arc::clone(&entry.listing), self.known(&entry.listing)))
    }

    /// A provider's listings, oldest first.
    #[must_use]
    pub fn of(&self, provider: &PublicKey) -> Vec<(Arc<Listing>, Known)> {
        let listings = self.providers.get(provider).map(|known| &known.listings);
        let ids = listings.into_iter().flatten();
        ids.filter_map(|id| self.get(*id)).collect()
    }

    /// Listings in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The GPU models that are listed, with the number of listings.
    #[must_use]
    pub fn models(&self) -> Vec<(Arc<str>, usize)> {
        let models = self.by_gpu.iter();
        models
            .map(|(gpu, of)| (Arc::clone(gpu), of.orders.0[0].len()))
            .collect()
    }

    /// What is asked for a GPU model.
    #[must_use]
    pub fn statistics(&self, gpu: &str) -> Option<OfferStatistics> {
        self.by_gpu.get(gpu)?.rates.statistics()
    }

    /// At most `limit` offers in order, behind `after`. Looks at 20,000 at most: a page may be short and yet have a next one.
    #[must_use]
    pub fn page(&self, filter: &Filter, sort: Sort, after: Option<Place>, limit: usize) -> Page {
        let orders = match &filter.gpu {
            Some(gpu) => self.by_gpu.get(gpu).map(|of| &of.orders),
            None => Some(&self.all),
        };
        let mut page = Page::default();
        let Some(orders) = orders else {
            return page;
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let order = &orders.0[sort as usize];
        let dearest = filter.max_rate.filter(|_| sort == Sort::Price);
        let mut last = after;
        for (looked_at, (place, listing)) in order.range((from, Bound::Unbounded)).enumerate() {
            if dearest.is_some_and(|most| place.0 > most) {
                return page;
            }
            if page.offers.len() == limit || looked_at == LOOKED_AT {
                page.next = last;
                return page;
            }
            last = Some(*place);
            if matches_terms(filter, listing) {
                let known = self.known(listing);
                if matches_provider(filter, &known) {
                    page.offers.push((Arc::clone(listing), known));
                }
            }
        }
        page
    }

    fn known(&self, listing: &Listing) -> Known {
        let provider = self.providers.get(&listing.provider);
        provider.map_or_else(Known::default, |provider| provider.known.clone())
    }
}

fn matches_terms(filter: &Filter, listing: &Listing) -> bool {
    let terms = &listing.terms;
    terms.vram_gib >= filter.min_vram_gib
        && filter.max_rate.is_none_or(|most| terms.rate <= most)
        && (filter.region.is_empty() || *terms.region == *filter.region)
}

fn matches_provider(filter: &Filter, known: &Known) -> bool {
    known.reputation.ppm >= filter.min_reputation_ppm && (!filter.available || known.is_free())
}

/// What a million output tokens cost there, where that is measured.
#[must_use]
pub fn effective_price(listing: &Listing, known: &Known) -> Option<u64> {
    let fastest = known.miner.as_ref()?.fastest.as_ref()?;
    Some(price_per_million_tokens(listing.terms.rate, fastest.speed))
}

fn keys(listing: &Listing, known: &Known) -> [u64; SORTS.len()] {
    let speed = known
        .miner
        .as_ref()
        .and_then(|miner| miner.fastest.as_ref());
    SORTS.map(|sort| match sort {
        Sort::Price => listing.terms.rate,
        Sort::EffectivePrice => effective_price(listing, known).unwrap_or(u64::MAX),
        Sort::Reputation => u64::MAX - u64::from(known.reputation.ppm),
        Sort::Speed => u64::MAX - speed.map_or(0, |fastest| u64::from(fastest.speed)),
    })
}

#[cfg(test)]
#[path = "offers_tests.rs"]
mod tests;
