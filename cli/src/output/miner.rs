//! A miner, as JSON and as text.

use aitbc_common::address::Address;
use aitbc_common::money::MicroAit;
use aitbc_proto::v1::{Gpu, Miner, MinerModel};
use serde_json::{Value, json};

use super::json::{ait, enum_value, hash_or_null, key_or_null, text_of, text_or_null, time};

/// The whole miner, every field that the coordinator sent.
pub fn miner_json(miner: &Miner) -> Value {
    json!({
        "miner_id": miner.miner_id,
        "name": miner.name,
        "status": enum_value!(MinerStatus, "MINER_STATUS_", miner.status),
        "paused": miner.paused,
        "paid_only": miner.paid_only,
        "gpus": miner.gpus.iter().map(gpu_json).collect::<Value>(),
        "processor": text_or_null(&miner.processor),
        "memory_gib": if miner.memory_gib == 0 { Value::Null } else { miner.memory_gib.into() },
        "models": miner.models.iter().map(model_json).collect::<Value>(),
        "engine": text_or_null(&miner.engine),
        "slots": miner.slots,
        "running_jobs": miner.running_jobs,
        "price_per_hour_ait": ait(miner.price_per_hour_micro_ait),
        "payout_address": payout(miner).map(|address| address.to_string()),
        "registered_at": time(miner.registered_at.as_ref()),
        "last_seen_at": time(miner.last_seen_at.as_ref()),
        "completed_jobs": miner.completed_jobs,
        "failed_jobs": miner.failed_jobs,
        "public_key": key_or_null(&miner.public_key),
    })
}

fn gpu_json(gpu: &Gpu) -> Value {
    json!({
        "model": gpu.model,
        "count": gpu.count,
        "vram_gib": if gpu.vram_gib == 0 { Value::Null } else { gpu.vram_gib.into() },
        "source": enum_value!(GpuSource, "GPU_SOURCE_", gpu.source),
    })
}

fn model_json(model: &MinerModel) -> Value {
    json!({
        "name": model.name,
        "digest": hash_or_null(&model.digest),
        "context_tokens": model.context_tokens,
        "prompt_tokens_per_second": speed(model.prompt_speed),
        "output_tokens_per_second": speed(model.output_speed),
        "embeddings": model.embeddings,
    })
}

/// Milli-tokens per second as tokens per second; `null` where not measured.
pub fn speed(milli_tokens: u32) -> Value {
    if milli_tokens == 0 {
        Value::Null
    } else {
        json!(f64::from(milli_tokens) / 1_000.0)
    }
}

/// Where a miner's pay goes.
pub fn payout(miner: &Miner) -> Option<Address> {
    <[u8; 20]>::try_from(&miner.payout_address[..])
        .ok()
        .map(Address)
}

/// Its status in lower case.
pub fn status_text(miner: &Miner) -> String {
    text_of(&enum_value!(MinerStatus, "MINER_STATUS_", miner.status))
}

/// Its GPUs, or its processor: `1x NVIDIA GeForce RTX 4090, 24 GiB`.
pub fn hardware_text(miner: &Miner) -> String {
    if miner.gpus.is_empty() {
        let memory = if miner.memory_gib == 0 {
            String::new()
        } else {
            format!(", {} GiB memory", miner.memory_gib)
        };
        let processor = if miner.processor.is_empty() {
            "processor only"
        } else {
            &miner.processor
        };
        return format!("{processor}{memory}");
    }
    let one = |gpu: &Gpu| {
        let vram = if gpu.vram_gib == 0 {
            String::new()
        } else {
            format!(", {} GiB", gpu.vram_gib)
        };
        format!("{}x {}{vram}", gpu.count, gpu.model)
    };
    miner.gpus.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Its models' names, or that it takes any job by polling.
pub fn models_text(miner: &Miner) -> String {
    if miner.models.is_empty() {
        return "any, by polling".to_owned();
    }
    miner
        .models
        .iter()
        .map(|m| m.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Its price: `0.5 AIT/hour`.
pub fn price_text(miner: &Miner) -> String {
    format!("{} AIT/hour", MicroAit(miner.price_per_hour_micro_ait))
}

/// Everything about a miner, in a few lines.
pub fn miner_text(miner: &Miner) -> String {
    let payout = payout(miner).map_or_else(|| "–".to_owned(), |address| address.to_string());
    let last_seen = text_of(&time(miner.last_seen_at.as_ref()));
    let slots = if miner.slots == 1 { "slot" } else { "slots" };
    format!(
        "{id} ({name})  {status}\n  \
         hardware  {hardware}\n  \
         models    {models}{engine}\n  \
         price     {price}{only}, {count} {slots}, {running} taken\n  \
         jobs      {done} completed, {failed} failed; last seen {last_seen}\n  \
         payout    {payout}",
        id = miner.miner_id,
        name = miner.name,
        status = status_text(miner),
        hardware = hardware_text(miner),
        models = models_text(miner),
        engine = if miner.engine.is_empty() {
            String::new()
        } else {
            format!(" ({})", miner.engine)
        },
        price = price_text(miner),
        only = if miner.paid_only {
            " for paid jobs only"
        } else {
            ""
        },
        count = miner.slots,
        running = miner.running_jobs,
        done = miner.completed_jobs,
        failed = miner.failed_jobs,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miner() -> Miner {
        Miner {
            miner_id: "miner_x".into(),
            name: "rig-1".into(),
            gpus: vec![Gpu {
                model: "NVIDIA GeForce RTX 4090".into(),
                count: 1,
                vram_gib: 24,
                source: 2,
            }],
            models: vec![MinerModel {
                name: "llama3:latest".into(),
                digest: vec![1; 32].into(),
                context_tokens: 8192,
                output_speed: 28_500,
                ..Default::default()
            }],
            slots: 1,
            price_per_hour_micro_ait: 500_000,
            payout_address: vec![0; 20].into(),
            status: 2,
            ..Default::default()
        }
    }

    #[test]
    fn json_has_names_units_and_nulls() {
        let document = miner_json(&miner());
        assert_eq!(document["status"], "ready");
        assert_eq!(document["price_per_hour_ait"], "0.500000");
        assert_eq!(document["gpus"][0]["source"], "declared");
        assert_eq!(document["models"][0]["output_tokens_per_second"], 28.5);
        assert_eq!(
            document["models"][0]["prompt_tokens_per_second"],
            Value::Null
        );
        assert_eq!(
            document["payout_address"],
            "0x0000000000000000000000000000000000000000"
        );
        assert_eq!(document["last_seen_at"], Value::Null);
    }

    #[test]
    fn text_names_hardware_models_and_price() {
        let text = miner_text(&miner());
        for part in [
            "miner_x (rig-1)  ready",
            "1x NVIDIA GeForce RTX 4090, 24 GiB",
            "llama3:latest",
            "0.5 AIT/hour, 1 slot",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let bare = Miner {
            processor: "EPYC".into(),
            memory_gib: 64,
            ..Default::default()
        };
        assert_eq!(hardware_text(&bare), "EPYC, 64 GiB memory");
        assert_eq!(models_text(&bare), "any, by polling");
    }
}
