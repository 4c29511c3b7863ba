//! `aitbc-miner register`.

use aitbc_common::address::Address;
use aitbc_common::gpus::{Gpu as DeclaredGpu, parse_gpus};
use aitbc_common::hash::{Hash, hash_text};
use aitbc_common::money::{MAX_PRICE_PER_HOUR, MicroAit};
use aitbc_common::runtime::command_line::GlobalOptions;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::market::median;
use aitbc_common::runtime::status::reason_name;
use aitbc_common::runtime::terminal::{escape, is_terminal_stdout, print_line};
use aitbc_proto::v1::{Gpu, GpuSource, Miner, MinerModel, RegisterMinerResponse};
use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::registration::{Declaration, register};
use super::server::{ServerOptions, server_error};
use crate::model_server::{Offer, ServerKind, look};
use crate::speeds::SpeedStore;

/// Options of `register`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aitbc miner register
  aitbc miner register --gpus \"1x RTX 4090\" --price-per-hour 0.5
  aitbc miner register --miner rig-2 --slots 2 --payout 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266

Hardware and local models are detected where they are not given. Registering again changes what is given.")]
pub struct Arguments {
    /// The GPUs: N x MODEL[, N x MODEL …] (default: those of this machine)
    #[arg(long, value_name = "LIST", value_parser = parse_gpu_list, allow_hyphen_values = true)]
    gpus: Option<GpuList>,
    /// The price per hour and slot, in AIT (default: as before, at first 0)
    #[arg(long, value_name = "AIT", value_parser = parse_price, allow_hyphen_values = true)]
    price_per_hour: Option<MicroAit>,
    /// The address that is paid (default: as before, at first the active wallet's; on a development network without a
    /// wallet one made from the miner's identity)
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    payout: Option<Address>,
    /// The miner's name; each has an identity of its own (default: rig-1)
    #[arg(long, visible_alias = "name", value_name = "NAME")]
    miner: Option<String>,
    /// Jobs at once (default: as before, at first 1)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    slots: Option<u32>,
    /// Take only jobs that are paid for; --paid-only=false takes all again (default: as before, at first all)
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    paid_only: Option<bool>,
    #[command(flatten)]
    server: ServerOptions,
}

/// `--gpus`, read.
#[derive(Debug, Clone)]
struct GpuList(Vec<DeclaredGpu>);

fn parse_gpu_list(text: &str) -> Result<GpuList, CommandError> {
    parse_gpus(text)
        .map(GpuList)
        .map_err(|error| CommandError::usage(error.to_string()).with_hint(error.hint.clone()))
}

fn parse_price(text: &str) -> Result<MicroAit, CommandError> {
    MicroAit::parse(text, MAX_PRICE_PER_HOUR)
        .map_err(|error| CommandError::usage(error.to_string()).with_hint(error.hint()))
}

fn parse_address(text: &str) -> Result<Address, CommandError> {
    text.parse::<Address>().map_err(|error| {
        CommandError::usage(error.to_string())
            .with_hint("copy it again, for example from: aitbc wallet show")
    })
}

/// Runs the command.
pub async fn run(global: &GlobalOptions, arguments: Arguments) -> Result<(), CommandError> {
    let context = Context::new(global, arguments.miner)?;
    let (connection, identity) = context.connect().await?;
    let client = arguments.server.client();
    let offer = Offer {
        kind: ServerKind::Ollama,
        models: Vec::new(),
        slots: arguments.slots.unwrap_or(1),
        context: arguments.server.context,
        speeds: SpeedStore::open(&context.folder()),
        tools: Vec::new(),
    };
    let server = look(&client, &offer).await;
    if let Err(error) = &server {
        let why = server_error(&client, error).message;
        context.note(format_args!("no local models are registered: {why}"));
    }
    let server = server.ok();
    let declared = Declaration {
        gpus: arguments.gpus.map(|list| list.0).unwrap_or_default(),
        price: arguments.price_per_hour,
        payout: arguments.payout,
        wallet: context.wallet()?,
        slots: arguments.slots,
        paid_only: arguments.paid_only,
    };
    let inventory = server.as_ref().map(|server| server.inventory.clone());
    let response = register(&connection, &context.miner, &identity, declared, inventory).await?;
    let Some(miner) = &response.miner else {
        return Err(CommandError::new(
            ExitCode::Failed,
            "INTERNAL",
            "the coordinator's answer is incomplete",
        ));
    };
    let median = match miner.gpus.first() {
        Some(gpu) => median(&connection, &gpu.model).await,
        None => None,
    };
    if context.json {
        return print_line(document(miner, &response, median));
    }
    let next = match &server {
        Some(_) => "mine-ollama --continuous",
        None => "mine --model FILE",
    };
    let text = text(miner, &response, server.map(|server| server.name()), median);
    print_line(if is_terminal_stdout() {
        escape(&text).into_owned()
    } else {
        text
    })?;
    for warning in response
        .warnings
        .iter()
        .filter(|warning| !is_said_already(warning.reason()))
    {
        context.warn(reason_name(warning.reason()), &warning.message);
    }
    context.note(format_args!(
        "next: aitbc miner {next}, or aitbc miner poll"
    ));
    Ok(())
}

fn is_said_already(reason: aitbc_proto::v1::ErrorReason) -> bool {
    reason == aitbc_proto::v1::ErrorReason::GpuNotDetected
}

/// The registration as JSON.
fn document(miner: &Miner, response: &RegisterMinerResponse, median: Option<MicroAit>) -> Value {
    let gpu = |gpu: &Gpu| {
        let vram = if gpu.vram_gib == 0 {
            Value::Null
        } else {
            gpu.vram_gib.into()
        };
        let source = if gpu.source() == GpuSource::Detected {
            "detected"
        } else {
            "declared"
        };
        json!({"model": gpu.model, "count": gpu.count, "vram_gib": vram, "source": source})
    };
    let model = |model: &MinerModel| {
        let digest = Hash::try_from(&model.digest[..]).ok();
        json!({
            "name": model.name,
            "digest": digest.map(|digest| hash_text(&digest)),
            "context_tokens": model.context_tokens,
        })
    };
    json!({
        "miner_id": miner.miner_id,
        "name": miner.name,
        "created": response.created,
        "gpus": miner.gpus.iter().map(gpu).collect::<Value>(),
        "models": miner.models.iter().map(model).collect::<Value>(),
        "slots": miner.slots,
        "price_per_hour_ait": MicroAit(miner.price_per_hour_micro_ait).six_decimals(),
        "paid_only": miner.paid_only,
        "market_median_ait": median.map(MicroAit::six_decimals),
        "payout_address": payout(miner).map(|address| address.to_string()),
        "warnings": response.warnings.iter().map(|warning| reason_name(warning.reason())).collect::<Value>(),
    })
}

fn payout(miner: &Miner) -> Option<Address> {
    <[u8; 20]>::try_from(&miner.payout_address[..])
        .ok()
        .map(Address)
}

fn text(
    miner: &Miner,
    response: &RegisterMinerResponse,
    server: Option<String>,
    median: Option<MicroAit>,
) -> String {
    let price = MicroAit(miner.price_per_hour_micro_ait);
    let head = match response.previous_price_per_hour_micro_ait {
        _ if response.created => "Miner registered".to_owned(),
        Some(before) => format!(
            "Miner updated: price {} -> {price} AIT/hour",
            MicroAit(before)
        ),
        None => "Miner updated".to_owned(),
    };
    let payout = payout(miner).map_or_else(
        || "–".to_owned(),
        |address| short_address(&address.to_string()),
    );
    let slots = if miner.slots == 1 { "slot" } else { "slots" };
    let only = if miner.paid_only {
        ", paid jobs only"
    } else {
        ""
    };
    let who = format!("{} ({})", miner.miner_id, miner.name);
    let models = models(miner, server);
    let median = median.map_or_else(String::new, |median| format!(" (market median {median})"));
    // The right-hand column begins where the longer of the two left-hand texts ends.
    let width = who.chars().count().max(models.chars().count().min(60)) + 10;
    format!(
        "{head}\n  miner_id  {who:<width$}payout  {payout}\n  gpus      {}\n  models    {models:<width$}price   \
         {price} AIT/hour{median}, {} {slots}{only}",
        gpus(miner),
        miner.slots,
    )
}

fn gpus(miner: &Miner) -> String {
    if miner.gpus.is_empty() {
        let processor = if miner.processor.is_empty() {
            "processor"
        } else {
            &miner.processor
        };
        return format!("none; {processor}, {} GiB memory", miner.memory_gib);
    }
    let one = |gpu: &Gpu| {
        let vram = if gpu.vram_gib == 0 {
            String::new()
        } else {
            format!(", {} GiB", gpu.vram_gib)
        };
        format!("{}x {}{vram}", gpu.count, gpu.model)
    };
    // Neighbours of one source name it once.
    let groups = miner.gpus.chunk_by(|a, b| a.source == b.source);
    let described = groups.map(|group| {
        let source = match group.first().map(Gpu::source) {
            Some(GpuSource::Declared) => "declared, no GPU was detected here",
            _ => "detected",
        };
        let kinds: Vec<String> = group.iter().map(one).collect();
        format!("{}; {source}", kinds.join("; "))
    });
    described.collect::<Vec<_>>().join("; ")
}

fn models(miner: &Miner, server: Option<String>) -> String {
    let server = server
        .map(|server| format!(" ({server})"))
        .unwrap_or_default();
    match &miner.models[..] {
        [] => "none: takes any job by polling".to_owned(),
        [model] => format!("{}{server}, context {}", model.name, model.context_tokens),
        models => {
            let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
            format!("{}{server}", names.join(", "))
        }
    }
}

/// `0x7099…79C8`.
fn short_address(address: &str) -> String {
    match (
        address.get(..6),
        address
            .len()
            .checked_sub(4)
            .and_then(|at| address.get(at..)),
    ) {
        (Some(begin), Some(end)) => format!("{begin}…{end}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_gpus_name_their_source_once() {
        let gpu = |count, model: &str, vram_gib| Gpu {
            model: model.to_owned(),
            count,
            vram_gib,
            source: GpuSource::Declared.into(),
        };
        let mut miner = Miner {
            gpus: vec![gpu(1, "NVIDIA GeForce RTX 4090", 24)],
            ..Miner::default()
        };
        assert_eq!(
            gpus(&miner),
            "1x NVIDIA GeForce RTX 4090, 24 GiB; declared, no GPU was detected here"
        );
        miner.gpus.insert(0, gpu(2, "NVIDIA A100", 80));
        assert_eq!(
            gpus(&miner),
            "2x NVIDIA A100, 80 GiB; 1x NVIDIA GeForce RTX 4090, 24 GiB; declared, no GPU was detected here"
        );
    }
}
