//! Registering at the coordinator.

use aitbc_common::address::Address;
use aitbc_common::gpus::Gpu as DeclaredGpu;
use aitbc_common::identity::Identity;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{
    ErrorReason, GetMinerRequest, Gpu, GpuSource, Inventory, Miner, NetworkProfile,
    RegisterMinerRequest, RegisterMinerResponse,
};
use bytes::Bytes;

use crate::hardware::{self, Hardware, Reconciled};

/// Bytes of a processor's name, at most.
const PROCESSOR_BYTES: usize = 128;

/// What the operator says; the rest stays as it is registered, or is found out.
#[derive(Debug, Clone, Default)]
pub struct Declaration {
    /// The GPUs; none = those of this machine.
    pub gpus: Vec<DeclaredGpu>,
    /// The price per hour and slot.
    pub price: Option<MicroAit>,
    /// Where the pay goes.
    pub payout: Option<Address>,
    /// Where it goes if nothing is said: the active wallet.
    pub wallet: Option<Address>,
    /// Jobs at once.
    pub slots: Option<u32>,
    /// Whether it takes only jobs that are paid for.
    pub paid_only: Option<bool>,
}

/// This identity's registration, if there is one.
pub async fn find(connection: &Connection) -> Result<Option<Miner>, CommandError> {
    match connection
        .miners()
        .get_miner(GetMinerRequest::default())
        .await
    {
        Ok(response) => Ok(response.into_inner().miner),
        Err(status) => {
            let reason = ApiError::from_status(&status).map(|error| error.reason);
            match reason {
                Some(ErrorReason::MinerNotFound | ErrorReason::MinerNotRegistered) => Ok(None),
                _ => Err(status.into()),
            }
        }
    }
}

/// Registers, or brings the registration up to date.
pub async fn register(
    connection: &Connection,
    name: &str,
    identity: &Identity,
    declared: Declaration,
    inventory: Option<Inventory>,
) -> Result<RegisterMinerResponse, CommandError> {
    let before = find(connection).await?;
    let hardware = tokio::task::spawn_blocking(hardware::detect)
        .await
        .map_err(|_| {
            CommandError::new(
                ExitCode::Failed,
                "INTERNAL",
                "looking at the hardware failed",
            )
        })?;
    let request = request(
        name,
        identity,
        declared,
        inventory,
        &hardware,
        before.as_ref(),
        connection.info.profile() == NetworkProfile::Dev,
    )?;
    Ok(connection
        .miners()
        .register_miner(request)
        .await?
        .into_inner())
}

fn request(
    name: &str,
    identity: &Identity,
    declared: Declaration,
    inventory: Option<Inventory>,
    hardware: &Hardware,
    before: Option<&Miner>,
    dev: bool,
) -> Result<RegisterMinerRequest, CommandError> {
    let mut gpus = gpus(&declared.gpus, hardware)?;
    if gpus.is_empty()
        && declared.gpus.is_empty()
        && let Some(before) = before
    {
        gpus = before
            .gpus
            .iter()
            .filter(|gpu| gpu.source() == GpuSource::Declared)
            .cloned()
            .collect();
    }
    let payout = payout(&declared, identity, before, dev)?;
    let former = |value: fn(&Miner) -> u64| before.map(value);
    let (models, engine) = match inventory {
        Some(inventory) => (inventory.models, inventory.engine),
        None => before
            .map(|before| (before.models.clone(), before.engine.clone()))
            .unwrap_or_default(),
    };
    let mut processor = hardware.cpu.clone();
    crate::text::cut(&mut processor, PROCESSOR_BYTES);
    Ok(RegisterMinerRequest {
        name: name.to_owned(),
        gpus,
        models,
        slots: declared
            .slots
            .or_else(|| before.map(|before| before.slots))
            .unwrap_or(1),
        price_per_hour_micro_ait: declared
            .price
            .map(|price| price.0)
            .or_else(|| former(|before| before.price_per_hour_micro_ait))
            .unwrap_or(0),
        payout_address: payout,
        engine,
        processor,
        memory_gib: hardware.memory_gib,
        paid_only: declared.paid_only,
    })
}

/// Who is paid: the address that is given, else the registered one, else the active wallet, else (development networks
/// only) one made from the identity. A wallet takes the place of that last one.
fn payout(
    declared: &Declaration,
    identity: &Identity,
    before: Option<&Miner>,
    dev: bool,
) -> Result<Bytes, CommandError> {
    let bytes = |address: Address| Bytes::copy_from_slice(&address.0);
    let own = bytes(Address::dev_payee(identity));
    let registered = before
        .map(|before| before.payout_address.clone())
        .filter(|address| !address.is_empty());
    let chosen = registered.clone().filter(|address| *address != own);
    let address = declared.payout.map(bytes).or(chosen);
    let address = address.or(declared.wallet.map(bytes)).or(registered);
    address.or(dev.then_some(own)).ok_or_else(|| {
        CommandError::new(
            ExitCode::Authentication,
            "PAYOUT_MISSING",
            "there is no address that could be paid",
        )
        .with_hint(
            "make a wallet: aitbc wallet create --name my_wallet; or name an address: --payout 0x…",
        )
    })
}

fn gpus(declared: &[DeclaredGpu], hardware: &Hardware) -> Result<Vec<Gpu>, CommandError> {
    let Reconciled { gpus, .. } = hardware::reconcile(declared, hardware).map_err(|error| {
        CommandError::new(ExitCode::Usage, "GPU_CONTRADICTED", error.to_string())
            .with_hint(error.hint())
    })?;
    let entry = |registered: hardware::RegisteredGpu| Gpu {
        model: registered.gpu.model,
        count: registered.gpu.count,
        vram_gib: registered.gpu.vram_gib.unwrap_or(0),
        source: match registered.source {
            hardware::GpuSource::Detected => GpuSource::Detected as i32,
            hardware::GpuSource::Declared => GpuSource::Declared as i32,
        },
    };
    Ok(gpus.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Hardware {
        Hardware {
            gpus: Vec::new(),
            cpu: "A processor".to_owned(),
            cores: 2,
            memory_gib: 8,
        }
    }

    fn rtx() -> Vec<DeclaredGpu> {
        aitbc_common::gpus::parse_gpus("1x RTX 4090").unwrap()
    }

    #[test]
    fn what_is_not_said_stays_as_it_was() {
        let identity = Identity::from_seed(&[1; 32]);
        let declared = Declaration {
            gpus: rtx(),
            price: Some(MicroAit(400_000)),
            ..Declaration::default()
        };
        let first = request("rig-1", &identity, declared, None, &machine(), None, true).unwrap();
        assert_eq!(
            (first.slots, first.gpus[0].vram_gib, first.gpus[0].source()),
            (1, 24, GpuSource::Declared)
        );
        assert_eq!(&first.payout_address[..], Address::dev_payee(&identity).0);
        let before = Miner {
            gpus: first.gpus.clone(),
            slots: 3,
            price_per_hour_micro_ait: 400_000,
            payout_address: Bytes::from_static(&[5; 20]),
            ..Miner::default()
        };
        let again = request(
            "rig-1",
            &identity,
            Declaration::default(),
            None,
            &machine(),
            Some(&before),
            true,
        )
        .unwrap();
        assert_eq!((again.slots, again.price_per_hour_micro_ait), (3, 400_000));
        assert_eq!(
            (again.gpus, again.payout_address),
            (before.gpus.clone(), before.payout_address.clone())
        );
    }

    #[test]
    fn the_wallet_is_paid_unless_something_else_is_said() {
        let identity = Identity::from_seed(&[1; 32]);
        let dev_payee = Address::dev_payee(&identity);
        let (given, wallet, other) = (Address([1; 20]), Address([2; 20]), Address([3; 20]));
        let registered = |address: Address| Miner {
            payout_address: Bytes::copy_from_slice(&address.0),
            ..Miner::default()
        };
        let who = |payout, wallet, before: Option<Address>, dev| {
            let declared = Declaration {
                payout,
                wallet,
                ..Declaration::default()
            };
            payee(&declared, &identity, before.map(registered).as_ref(), dev)
        };
        let payee = |address: Address| Some(address.0.to_vec());
        for (expected, payout, wallet, before, dev) in [
            (payee(given), Some(given), Some(wallet), Some(other), true),
            (payee(other), None, Some(wallet), Some(other), true),
            (payee(wallet), None, Some(wallet), Some(dev_payee), true),
            (payee(wallet), None, Some(wallet), None, false),
            (payee(dev_payee), None, None, Some(dev_payee), true),
            (payee(dev_payee), None, None, None, true),
            (None, None, None, None, false),
        ] {
            assert_eq!(who(payout, wallet, before, dev), expected);
        }
    }

    fn payee(
        declared: &Declaration,
        identity: &Identity,
        before: Option<&Miner>,
        dev: bool,
    ) -> Option<Vec<u8>> {
        let found = payout(declared, identity, before, dev);
        found.ok().map(|address| address.to_vec())
    }

    #[test]
    fn a_declaration_that_the_machine_contradicts_is_a_usage_error() {
        let other = aitbc_common::gpus::parse_gpus("1x RTX 3090").unwrap();
        let machine = Hardware {
            gpus: other,
            ..machine()
        };
        let identity = Identity::from_seed(&[1; 32]);
        let declared = Declaration {
            gpus: rtx(),
            ..Declaration::default()
        };
        let error = request("rig-1", &identity, declared, None, &machine, None, true).unwrap_err();
        assert_eq!(
            (error.exit, error.reason.as_str()),
            (ExitCode::Usage, "GPU_CONTRADICTED")
        );
        assert!(error.message.contains("RTX 3090"), "{error:?}");
        assert!(error.hint.is_some());
    }
}
