//! The schedule of the faults that strike machines and links; messages, calls and commits are struck as they pass.

use rand::Rng;
use rand::rngs::StdRng;

use super::context::{Context, Fault};
use super::world::Event;

/// Something breaks.
#[derive(Debug, Clone, Copy)]
pub enum Strike {
    /// One of the connections breaks.
    Cut(usize),
    /// A miner's link is blocked for so many ms.
    Block(usize, u64),
    /// The coordinator stops, and comes back after so many ms.
    Coordinator(u64),
    /// A miner stops, and comes back after so many ms.
    Miner(usize, u64),
    /// A miner stops, and stays away for so many ms whatever its operator does.
    Vanish(usize, u64),
    /// A miner is asked to finish what it has and stop; its operator starts it again.
    Drain(usize),
}

/// Makes a strike on one of so many miners.
type Make = fn(&mut StdRng, usize) -> Strike;

/// Plans all strikes of a run.
pub fn plan(ctx: &mut Context, miners: usize) {
    let end = ctx.options.faulty_ms;
    let kinds: [(Fault, u64, Make); 4] = [
        (Fault::Cut, 40_000, |rng, _| {
            Strike::Cut(rng.random_range(0..1_000))
        }),
        (Fault::Delay, 90_000, |rng, miners| {
            Strike::Block(rng.random_range(0..miners), rng.random_range(500..50_000))
        }),
        (Fault::CoordinatorCrash, 150_000, |rng, _| {
            let long = rng.random_range(0..5) == 0;
            Strike::Coordinator(if long {
                rng.random_range(10_000..60_000)
            } else {
                rng.random_range(100..5_000)
            })
        }),
        (Fault::MinerCrash, 90_000, |rng, miners| {
            if rng.random_range(0..4) == 0 {
                return Strike::Drain(rng.random_range(0..miners));
            }
            let long = rng.random_range(0..3) == 0;
            let down = if long {
                rng.random_range(20_000..90_000)
            } else {
                rng.random_range(200..8_000)
            };
            Strike::Miner(rng.random_range(0..miners), down)
        }),
    ];
    for (kind, mean_ms, make) in kinds {
        let mut at = 0;
        loop {
            let rng = &mut ctx.random.faults;
            at += rng.random_range(1..2 * mean_ms);
            if at >= end {
                break;
            }
            let strike = make(rng, miners);
            if ctx.options.faults.has(kind) {
                ctx.after(at, Event::Strike(strike));
            }
        }
    }
    ctx.after(end, Event::FaultsEnd);
}
