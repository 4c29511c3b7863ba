//! What the market's tables hold: protobuf messages of the store's own. Tags are frozen; removed ones are never used again.

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::ListingId;
use bytes::Bytes;
use prost::Message;

use super::listing::{Listing, Terms};
use crate::store::{StoreError, rows::decode};

/// A [`Listing`].
#[derive(Clone, PartialEq, Message)]
pub struct ListingRow {
    /// UUID bytes of its id.
    #[prost(bytes = "bytes", tag = "1")]
    pub listing_id: Bytes,
    /// The provider's key.
    #[prost(bytes = "bytes", tag = "2")]
    pub provider: Bytes,
    /// The GPU's name.
    #[prost(string, tag = "3")]
    pub gpu: String,
    /// GiB of each.
    #[prost(uint32, tag = "4")]
    pub vram_gib: u32,
    /// How many.
    #[prost(uint32, tag = "5")]
    pub count: u32,
    /// Micro-AIT per hour.
    #[prost(uint64, tag = "6")]
    pub rate: u64,
    /// Where it stands.
    #[prost(string, tag = "7")]
    pub region: String,
    /// Whether the provider's machine reported it.
    #[prost(bool, tag = "8")]
    pub detected: bool,
    /// Unix ms.
    #[prost(uint64, tag = "9")]
    pub created_ms: u64,
    /// Unix ms.
    #[prost(uint64, tag = "10")]
    pub updated_ms: u64,
}

impl From<&Listing> for ListingRow {
    fn from(listing: &Listing) -> Self {
        Self {
            listing_id: Bytes::copy_from_slice(&listing.id.0),
            provider: Bytes::copy_from_slice(&listing.provider.0),
            gpu: listing.gpu.to_string(),
            vram_gib: listing.terms.vram_gib,
            count: listing.terms.count,
            rate: listing.terms.rate,
            region: listing.terms.region.to_string(),
            detected: listing.detected,
            created_ms: listing.created_ms,
            updated_ms: listing.updated_ms,
        }
    }
}

/// Reads a stored listing.
///
/// # Errors
/// A damaged row.
pub fn read_listing(value: Bytes) -> Result<Listing, StoreError> {
    let row: ListingRow = decode(value)?;
    let damaged = |_| StoreError::Corrupt("the row of a listing is damaged".into());
    Ok(Listing {
        id: ListingId(row.listing_id.as_ref().try_into().map_err(damaged)?),
        provider: PublicKey(row.provider.as_ref().try_into().map_err(damaged)?),
        gpu: row.gpu.into(),
        terms: Terms {
            vram_gib: row.vram_gib,
            count: row.count,
            rate: row.rate,
            region: row.region.into(),
        },
        detected: row.detected,
        created_ms: row.created_ms,
        updated_ms: row.updated_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_reads_back() {
        let listing = Listing {
            id: ListingId([1; 16]),
            provider: PublicKey([2; 32]),
            gpu: "NVIDIA GeForce RTX 4090".into(),
            terms: Terms {
                vram_gib: 24,
                count: 2,
                rate: 500_000,
                region: "eu-west".into(),
            },
            detected: true,
            created_ms: 3,
            updated_ms: 4,
        };
        let row = ListingRow::from(&listing).encode_to_vec();
        assert_eq!(read_listing(row.into()), Ok(listing));
        assert!(read_listing(Bytes::from_static(&[0xff])).is_err());
        assert!(read_listing(Bytes::new()).is_err(), "no id");
    }
}
