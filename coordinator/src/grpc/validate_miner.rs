//! Bounds of what miners say about themselves.

use aitbc_common::address::Address;
use aitbc_common::limits;
use aitbc_common::names::canonical_model;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason};

use super::validate::{MAX_PRICE, mask_paths, short_text};
use crate::engine::command::MinerChange;

/// Bytes of a model server's name and version.
pub const ENGINE_BYTES: usize = 64;
/// Bytes of a processor's name.
const PROCESSOR_BYTES: usize = 128;
/// Bytes of a GPU's name.
pub const GPU_BYTES: usize = 64;

/// Models of a miner, with canonical names.
pub fn miner_models(mut models: Vec<v1::MinerModel>) -> Result<Vec<v1::MinerModel>, ApiError> {
    if models.len() > limits::MINER_MODELS {
        return Err(ApiError::field(
            "models",
            format!(
                "has {}, takes at most {}",
                models.len(),
                limits::MINER_MODELS
            ),
        ));
    }
    for model in &mut models {
        model.name = canonical_model(&model.name).map_err(|error| {
            ApiError::field("models.name", format!("{error}; {}", error.hint()))
        })?;
        if model.digest.len() != 32 {
            return Err(ApiError::field(
                "models.digest",
                format!(
                    "has {} bytes, takes the SHA-256 of {} (32)",
                    model.digest.len(),
                    model.name
                ),
            ));
        }
    }
    Ok(models)
}

/// Tools that a miner may offer to agents, and bytes of the name of one.
const MINER_TOOLS: usize = 256;
const TOOL_BYTES: usize = 260;

/// Slots of an inventory: 0 to 256.
pub fn inventory_slots(slots: u32) -> Result<u32, ApiError> {
    if slots > limits::MINER_SLOTS {
        return Err(ApiError::field(
            "slots",
            format!("is {slots}, takes 0 to {}", limits::MINER_SLOTS),
        ));
    }
    Ok(slots)
}

/// Tools of an inventory: at most 256 of 1 to 260 bytes without control characters.
pub fn tools(tools: Vec<String>) -> Result<Vec<String>, ApiError> {
    if tools.len() > MINER_TOOLS {
        let problem = format!("has {}, takes at most {MINER_TOOLS}", tools.len());
        return Err(ApiError::field("tools", problem));
    }
    let checked = tools.into_iter().map(|tool| {
        if tool.is_empty() {
            return Err(ApiError::field("tools", "has an empty name"));
        }
        super::validate::short_text("tools", tool, TOOL_BYTES)
    });
    checked.collect()
}

fn gpus(gpus: Vec<v1::Gpu>) -> Result<Vec<v1::Gpu>, ApiError> {
    if gpus.len() > limits::MINER_GPUS {
        return Err(ApiError::field(
            "gpus",
            format!(
                "has {} kinds, takes at most {}",
                gpus.len(),
                limits::MINER_GPUS
            ),
        ));
    }
    for gpu in &gpus {
        short_text("gpus.model", gpu.model.clone(), GPU_BYTES)?;
        if gpu.model.is_empty()
            || !(1..=64).contains(&gpu.count)
            || gpu.vram_gib > limits::MAX_VRAM_GIB
        {
            return Err(ApiError::field(
                "gpus",
                format!(
                    "each takes a model, a count of 1 to 64 and 0 to {} GiB",
                    limits::MAX_VRAM_GIB
                ),
            ));
        }
        if gpu.source() == v1::GpuSource::Unspecified {
            return Err(ApiError::field("gpus.source", "takes detected or declared"));
        }
    }
    Ok(gpus)
}

fn name(name: String) -> Result<String, ApiError> {
    let length = name.chars().count();
    if length == 0 || length > limits::NAME_CHARS {
        return Err(ApiError::field(
            "name",
            format!("has {length} characters, takes 1 to {}", limits::NAME_CHARS),
        ));
    }
    short_text("name", name, limits::NAME_CHARS * 4)
}

fn slots(slots: u32) -> Result<u32, ApiError> {
    match slots {
        0 => Ok(1),
        1..=limits::MINER_SLOTS => Ok(slots),
        _ => Err(ApiError::field(
            "slots",
            format!("is {slots}, takes 1 to {}", limits::MINER_SLOTS),
        )),
    }
}

/// A price in micro-AIT per hour.
pub fn price(field: &str, price: u64) -> Result<u64, ApiError> {
    if price > MAX_PRICE {
        let problem = format!("is {price} micro-AIT, takes at most {MAX_PRICE} (1,000,000 AIT)");
        return Err(ApiError::field(field, problem));
    }
    Ok(price)
}

fn payout(address: &[u8]) -> Result<[u8; 20], ApiError> {
    let bytes: [u8; 20] = address.try_into().map_err(|_| {
        ApiError::field(
            "payout_address",
            format!("has {} bytes, takes 20", address.len()),
        )
    })?;
    if Address(bytes) == Address::default() {
        return Err(ApiError::field(
            "payout_address",
            "is zero: nobody could be paid",
        ));
    }
    Ok(bytes)
}

/// A registration: every field is given.
pub fn registration(request: v1::RegisterMinerRequest) -> Result<MinerChange, ApiError> {
    Ok(MinerChange {
        name: Some(name(request.name)?),
        gpus: Some(gpus(request.gpus)?),
        models: Some(miner_models(request.models)?),
        slots: Some(slots(request.slots)?),
        price: Some(price(
            "price_per_hour_micro_ait",
            request.price_per_hour_micro_ait,
        )?),
        payout: Some(payout(&request.payout_address)?),
        paused: None,
        paid_only: request.paid_only,
        engine: Some(short_text("engine", request.engine, ENGINE_BYTES)?),
        processor: Some(short_text("processor", request.processor, PROCESSOR_BYTES)?),
        memory_gib: Some(request.memory_gib),
    })
}

/// The fields of a miner that an update names.
pub fn update(request: v1::UpdateMinerRequest) -> Result<MinerChange, ApiError> {
    let miner = request
        .miner
        .ok_or_else(|| ApiError::field("miner", "is missing"))?;
    let paths = mask_paths(request.update_mask)?;
    let mut change = MinerChange::default();
    for path in paths {
        match path.as_str() {
            "name" => change.name = Some(name(miner.name.clone())?),
            "gpus" => change.gpus = Some(gpus(miner.gpus.clone())?),
            "models" => change.models = Some(miner_models(miner.models.clone())?),
            "slots" => change.slots = Some(slots(miner.slots)?),
            "price_per_hour_micro_ait" => {
                change.price = Some(price(
                    "price_per_hour_micro_ait",
                    miner.price_per_hour_micro_ait,
                )?)
            }
            "payout_address" => change.payout = Some(payout(&miner.payout_address)?),
            "paused" => change.paused = Some(miner.paused),
            "paid_only" => change.paid_only = Some(miner.paid_only),
            other => {
                let known = "name, gpus, models, slots, price_per_hour_micro_ait, payout_address, paused, paid_only";
                let other: String = other.chars().take(64).collect();
                return Err(ApiError::field(
                    "update_mask",
                    format!("{other:?} cannot be changed; there are: {known}"),
                ));
            }
        }
    }
    Ok(change)
}

/// Warnings about what was registered.
#[must_use]
pub fn gpu_warnings(gpus: &[v1::Gpu]) -> Vec<v1::Warning> {
    let mut warnings = Vec::new();
    if gpus
        .iter()
        .any(|gpu| gpu.source() == v1::GpuSource::Declared)
    {
        warnings.push(v1::Warning {
            reason: ErrorReason::GpuNotDetected.into(),
            message: "the GPUs are declared; none was detected there".into(),
        });
    }
    for gpu in gpus.iter().filter(|gpu| gpu.vram_gib == 0) {
        warnings.push(v1::Warning {
            reason: ErrorReason::UnknownGpu.into(),
            message: format!(
                "the video memory of {:?} is not known: jobs that ask for some do not match",
                gpu.model
            ),
        });
    }
    warnings
}
