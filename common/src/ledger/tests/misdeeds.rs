//! What a history says against miners.

use super::super::settlement::fee_of;
use super::history::{Step, World};
use super::*;
use crate::ids::JobId;
use crate::layouts::{
    Contradiction, FaultEntry, FaultReason, SignedStatement, Slash, StreamCheckpoint,
};

impl World {
    /// Names the miner of a failed attempt.
    pub fn blame(&mut self, [_, a, _, c, d, _]: Step) {
        let lock = self.pick(a);
        let Some(Entry::Lock(open)) = self.state.get(&StateKey::Lock(lock)).cloned() else {
            return;
        };
        let fault = FaultEntry {
            job_ref: open.target,
            attempt: open.newest.wrapping_add(c % 8),
            miner: self.identities[1].public(),
            client: open.payer,
            reason: FaultReason::Failed,
            weight: fee_of(open.amount, 250) + u64::from(d % 16 == 15),
            lock,
        };
        let _ = self.append(RecordBody::Fault(fault));
    }

    /// A miner contradicted itself, or is said to have.
    pub fn slash(&mut self, [_, a, b, c, d, _]: Step) {
        let miner = self.identities[usize::from(a) % self.identities.len()].public();
        let said = |hash, turn| {
            let checkpoint = StreamCheckpoint {
                flags: 0,
                attempt: c % 8 + 1,
                chain_id: self.chain_id,
                job_id: JobId([1; 16]),
                job_ref: reference("x"),
                offset: 10,
                hash: [hash; 32],
                tokens_out: 1,
                work_ms: turn,
            };
            SignedStatement::Checkpoint(Box::new(checkpoint), [0; 64])
        };
        let mut evidence = Contradiction {
            miner,
            first: said(1, 0),
            second: said(2, 0),
        };
        match d % 32 {
            31 => evidence.second = said(1, 7),
            30 => std::mem::swap(&mut evidence.first, &mut evidence.second),
            _ => {}
        }
        let staked = self.state.account(AccountId::Stake(miner)).balance();
        // Large stakes are spared: what is burned is missing in the rest of the history.
        if staked > 30_000 {
            return;
        }
        let amount = u64::try_from(staked).unwrap() + u64::from(b % 64 == 8);
        let _ = self.append(RecordBody::Slash(Box::new(Slash { amount, evidence })));
    }
}
