//! Who runs a drawn job again: one of all that may, at random, so that nobody is asked because it wants to be.

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::MinerId;
use aitbc_common::market::day_of;
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, MinerStatus};

use super::driver::Auditor;
use crate::engine::command::{Command, Reply};

/// Miners that are asked for at once.
const PAGE: usize = 1_000;
/// Pages that are looked at, at most.
const PAGES: usize = 100;

/// What is asked of a miner that runs a drawn job again.
#[derive(Debug)]
pub struct Wanted {
    /// Canonical model name.
    pub model: String,
    /// Its digest.
    pub digest: [u8; 32],
    /// GiB of its largest GPU, at least.
    pub min_vram_gib: u32,
    /// Micro-AIT per hour, at most.
    pub max_rate: u64,
    /// In millionths, at least.
    pub min_reputation_ppm: u32,
    /// It is paid at none of these.
    pub not_paid_at: Vec<Address>,
}

impl Wanted {
    /// Whether this miner, which has this reputation, may run it now.
    #[must_use]
    pub fn fits(&self, miner: &v1::Miner, reputation_ppm: u32) -> bool {
        let is_there = matches!(miner.status(), MinerStatus::Ready | MinerStatus::Busy);
        let has_model = miner
            .models
            .iter()
            .any(|model| model.name == self.model && model.digest[..] == self.digest);
        let vram = miner.gpus.iter().map(|gpu| gpu.vram_gib).max().unwrap_or(0);
        let is_another = self
            .not_paid_at
            .iter()
            .all(|payee| miner.payout_address[..] != payee.0);
        is_there
            && !miner.paused
            && has_model
            && is_another
            && vram >= self.min_vram_gib
            && miner.price_per_hour_micro_ait <= self.max_rate
            && reputation_ppm >= self.min_reputation_ppm
    }
}

impl Auditor {
    /// One of all that fit; `None` = there is none.
    pub(super) async fn choose(
        &self,
        wanted: &Wanted,
        now: u64,
    ) -> Result<Option<MinerId>, ApiError> {
        let (mut chosen, mut fitting, mut after) = (None, 0, None);
        for _ in 0..PAGES {
            let asked = Command::ListMiners {
                after,
                limit: PAGE,
                model: Some(wanted.model.clone()),
            };
            let Reply::Miners(page, more) = self.engine.call(asked).await? else {
                break;
            };
            let kept = self.book.read();
            for miner in &page {
                let key = <[u8; 32]>::try_from(&miner.public_key[..]).map(PublicKey);
                let reputation = key.map_or(0, |key| kept.reputation(&key, day_of(now)).ppm);
                if wanted.fits(miner, reputation) {
                    fitting += 1;
                    // Each of the first n is the chosen one with the same chance.
                    if u64::from_be_bytes(random_bytes()) % fitting == 0 {
                        chosen = miner.miner_id.parse().ok();
                    }
                }
            }
            drop(kept);
            after = page.last().and_then(|miner| miner.miner_id.parse().ok());
            if !more || after.is_none() {
                break;
            }
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_owners_miner_that_is_there_and_known_fits() {
        let wanted = Wanted {
            model: "llama3:latest".into(),
            digest: [3; 32],
            min_vram_gib: 8,
            max_rate: 10,
            min_reputation_ppm: 500,
            not_paid_at: vec![Address([1; 20])],
        };
        let good = v1::Miner {
            models: vec![v1::MinerModel {
                name: "llama3:latest".into(),
                digest: vec![3; 32].into(),
                ..v1::MinerModel::default()
            }],
            gpus: vec![v1::Gpu {
                vram_gib: 8,
                ..v1::Gpu::default()
            }],
            price_per_hour_micro_ait: 10,
            payout_address: vec![2; 20].into(),
            status: MinerStatus::Ready.into(),
            ..v1::Miner::default()
        };
        assert!(wanted.fits(&good, 500));
        assert!(!wanted.fits(&good, 499));
        let spoil: [fn(&mut v1::Miner); 6] = [
            |miner| miner.payout_address = vec![1; 20].into(),
            |miner| miner.price_per_hour_micro_ait = 11,
            |miner| miner.paused = true,
            |miner| miner.status = MinerStatus::Away.into(),
            |miner| miner.models[0].digest = vec![4; 32].into(),
            |miner| miner.gpus.clear(),
        ];
        for spoil in spoil {
            let mut miner = good.clone();
            spoil(&mut miner);
            assert!(!wanted.fits(&miner, 500), "{miner:?}");
        }
    }
}
