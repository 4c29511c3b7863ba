//! Bounds of what providers list, and of what is looked for.

use std::sync::Arc;

use aitbc_common::gpus::{Canonical, normalise};
use aitbc_common::ids::ListingId;
use aitbc_common::limits;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason, OfferSort};

use super::validate;
use super::validate_miner::{GPU_BYTES, price};
use crate::engine::command::NewListing;
use crate::market::listing::{Terms, TermsChange};
use crate::market::offers::{Filter, Sort};

/// Equal GPUs of one listing.
const MAX_COUNT: u32 = 64;
/// Bytes of a region's name.
const REGION_BYTES: usize = 32;

/// A GPU's name as listings have it, what the catalogue says of its memory, and what to know where it says nothing.
pub struct GpuName {
    /// Normalised where it is known.
    pub name: Arc<str>,
    /// Memory sizes that it was sold with, in GiB; empty where not known.
    pub vram_gib: &'static [u32],
    /// The memory of each in GiB where nothing else is said; 0 = not known.
    pub usual_vram_gib: u32,
    /// It is in no catalogue.
    pub warning: Option<v1::Warning>,
}

/// A GPU's name.
pub fn gpu(name: &str) -> Result<GpuName, ApiError> {
    let named = normalise(name)
        .map_err(|error| ApiError::field("gpu_model", format!("{error}; {}", error.hint())))?;
    let warning = named.warning();
    let warning = warning.map(|message| warning_of(ErrorReason::UnknownGpu, message));
    let (vram_gib, usual) = match named.canonical {
        Canonical::Known(known) => (known.vram_gib, known.vram()),
        Canonical::Unknown {
            stated_vram_gib, ..
        } => (&[][..], stated_vram_gib),
    };
    let name = validate::short_text("gpu_model", named.model, GPU_BYTES)?;
    Ok(GpuName {
        name: name.into(),
        vram_gib,
        usual_vram_gib: usual.unwrap_or(0),
        warning,
    })
}

/// A GPU to list, and what to know about it.
pub fn new_listing(
    request: &v1::CreateListingRequest,
    new_id: ListingId,
) -> Result<(NewListing, Vec<v1::Warning>), ApiError> {
    let gpu = gpu(&request.gpu_model)?;
    let vram_gib = match vram(request.vram_gib)? {
        0 => gpu.usual_vram_gib,
        given => given,
    };
    let count = match request.count {
        0 => 1,
        given => count(given)?,
    };
    let terms = Terms {
        vram_gib,
        count,
        rate: price("hourly_rate_micro_ait", request.hourly_rate_micro_ait)?,
        region: region(&request.region)?,
    };
    let mut warnings: Vec<_> = gpu.warning.into_iter().collect();
    if vram_gib == 0 {
        let message = format!(
            "the video memory of {:?} is not known: who asks for some does not find it",
            gpu.name
        );
        warnings.push(warning_of(ErrorReason::UnknownGpu, message));
    } else if !gpu.vram_gib.is_empty() && !gpu.vram_gib.contains(&vram_gib) {
        let sizes: Vec<String> = gpu.vram_gib.iter().map(ToString::to_string).collect();
        let sizes = sizes.join(" or ");
        let message = format!(
            "{} is known with {sizes} GiB, not with {vram_gib}",
            gpu.name
        );
        warnings.push(warning_of(ErrorReason::UnknownGpu, message));
    }
    let new = NewListing {
        new_id,
        gpu: gpu.name,
        terms,
    };
    Ok((new, warnings))
}

/// The fields of a listing that an update names.
pub fn change(request: v1::UpdateListingRequest) -> Result<(ListingId, TermsChange), ApiError> {
    let listing = request
        .listing
        .ok_or_else(|| ApiError::field("listing", "is missing"))?;
    let id = validate::listing_id(&listing.listing_id)?;
    let paths = validate::mask_paths(request.update_mask)?;
    let mut change = TermsChange::default();
    for path in paths {
        match path.as_str() {
            "vram_gib" => change.vram_gib = Some(vram(listing.vram_gib)?),
            "count" => change.count = Some(count(listing.count)?),
            "hourly_rate_micro_ait" => {
                change.rate = Some(price(
                    "hourly_rate_micro_ait",
                    listing.hourly_rate_micro_ait,
                )?);
            }
            "region" => change.region = Some(region(&listing.region)?),
            other => {
                let other: String = other.chars().take(64).collect();
                let known = "vram_gib, count, hourly_rate_micro_ait, region";
                let problem = format!("{other:?} cannot be changed; there are: {known}");
                return Err(ApiError::field("update_mask", problem));
            }
        }
    }
    Ok((id, change))
}

/// What is looked for, in which order, and what to know about it.
pub fn search(
    request: &v1::ListOffersRequest,
) -> Result<(Filter, Sort, Option<v1::Warning>), ApiError> {
    let sort = match OfferSort::try_from(request.sort) {
        Ok(OfferSort::Unspecified | OfferSort::Price) => Sort::Price,
        Ok(OfferSort::EffectivePrice) => Sort::EffectivePrice,
        Ok(OfferSort::Reputation) => Sort::Reputation,
        Ok(OfferSort::Speed) => Sort::Speed,
        Err(_) => {
            let problem = "takes price, effective price, reputation or speed";
            return Err(ApiError::field("sort", problem));
        }
    };
    if request.min_reputation_ppm > 1_000_000 {
        let problem = format!("is {}, takes 0 to 1,000,000", request.min_reputation_ppm);
        return Err(ApiError::field("min_reputation_ppm", problem));
    }
    let gpu = match request.gpu_model.trim() {
        "" => None,
        name => Some(gpu(name)?),
    };
    let filter = Filter {
        gpu: gpu.as_ref().map(|gpu| Arc::clone(&gpu.name)),
        min_vram_gib: vram(request.min_vram_gib)?,
        max_rate: request.max_hourly_rate_micro_ait,
        region: region(&request.region)?.to_string(),
        min_reputation_ppm: request.min_reputation_ppm,
        available: request.available,
    };
    Ok((filter, sort, gpu.and_then(|gpu| gpu.warning)))
}

fn vram(given: u32) -> Result<u32, ApiError> {
    if given > limits::MAX_VRAM_GIB {
        let problem = format!("is {given}, takes 0 to {} GiB", limits::MAX_VRAM_GIB);
        return Err(ApiError::field("vram_gib", problem));
    }
    Ok(given)
}

fn count(given: u32) -> Result<u32, ApiError> {
    if !(1..=MAX_COUNT).contains(&given) {
        let problem = format!("is {given}, takes 1 to {MAX_COUNT}");
        return Err(ApiError::field("count", problem));
    }
    Ok(given)
}

fn region(given: &str) -> Result<Arc<str>, ApiError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if given.len() > REGION_BYTES || !given.bytes().all(fits) {
        let problem = format!(
            "takes up to {REGION_BYTES} lower-case letters, digits and hyphens, such as eu-west"
        );
        return Err(ApiError::field("region", problem));
    }
    Ok(given.into())
}

/// Something to know.
pub fn warning_of(reason: ErrorReason, message: String) -> v1::Warning {
    v1::Warning {
        reason: reason.into(),
        message,
    }
}
