//! Connections between miners and the coordinator: each direction is in order, and may end anywhere.

use std::collections::{BTreeMap, VecDeque};

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;
use rand::Rng;

use super::context::{Context, Fault, one_in};
use super::world::Event;

/// Number of a connection, unique in a run.
pub type ConnectionId = u64;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Miner,
    Coordinator,
}

/// What a coordinator sends on a session's stream.
#[derive(Debug, Clone)]
pub enum DownItem {
    Message(Box<Down>),
    /// The stream ends with this error.
    End(Box<ApiError>),
}

/// One direction: what is on the way, with the time of its arrival.
#[derive(Debug)]
struct Pipe<T> {
    queue: VecDeque<(u64, T)>,
    last: u64,
    /// The newest messages, which may arrive once more.
    sent: VecDeque<T>,
}

impl<T> Default for Pipe<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            last: 0,
            sent: VecDeque::new(),
        }
    }
}

impl<T: Clone> Pipe<T> {
    fn send(&mut self, due: u64, item: T) -> u64 {
        self.last = self.last.max(due);
        self.queue.push_back((self.last, item));
        self.last
    }

    fn remember(&mut self, item: T) {
        self.sent.push_back(item);
        if self.sent.len() > 6 {
            self.sent.pop_front();
        }
    }

    fn pop(&mut self, now: u64) -> Option<T> {
        let (due, _) = self.queue.front()?;
        if *due > now {
            None
        } else {
            self.queue.pop_front().map(|(_, item)| item)
        }
    }
}

/// A connection.
#[derive(Debug)]
struct Connection {
    miner: usize,
    up: Pipe<Up>,
    down: Pipe<DownItem>,
    /// Nothing that is sent from now on arrives.
    dead: bool,
}

/// All connections, and how long each miner's link is blocked.
#[derive(Debug, Default)]
pub struct Network {
    connections: BTreeMap<ConnectionId, Connection>,
    blocked_until: BTreeMap<usize, u64>,
    next: ConnectionId,
}

/// How long a message travels, in ms.
pub fn latency(ctx: &mut Context) -> u64 {
    let rng = &mut ctx.random.network;
    if one_in(rng, 50) {
        rng.random_range(50..400)
    } else {
        rng.random_range(1..15)
    }
}

/// A miner connects.
pub fn connect(ctx: &mut Context, miner: usize) -> ConnectionId {
    ctx.network.next += 1;
    let id = ctx.network.next;
    let connection = Connection {
        miner,
        up: Pipe::default(),
        down: Pipe::default(),
        dead: false,
    };
    ctx.network.connections.insert(id, connection);
    let delay = latency(ctx);
    ctx.after(delay, Event::Accepted(id, miner));
    id
}

/// A miner sends.
pub fn send_up(ctx: &mut Context, id: ConnectionId, message: Up) {
    let due = due(ctx, id);
    let again = ctx
        .strikes(Fault::Duplicate, 40)
        .then(|| ctx.random.network.random_range(0..6));
    let Some(connection) = ctx
        .network
        .connections
        .get_mut(&id)
        .filter(|connection| !connection.dead)
    else {
        return;
    };
    let mut arrivals = vec![connection.up.send(due, message.clone())];
    connection.up.remember(message);
    if let Some(old) = again.and_then(|n: usize| connection.up.sent.get(n).cloned()) {
        arrivals.push(connection.up.send(due, old));
    }
    arrive(ctx, id, Side::Coordinator, &arrivals);
}

/// The coordinator sends.
pub fn send_down(ctx: &mut Context, id: ConnectionId, item: DownItem) {
    let due = due(ctx, id);
    let again = ctx
        .strikes(Fault::Duplicate, 40)
        .then(|| ctx.random.network.random_range(0..6));
    let Some(connection) = ctx
        .network
        .connections
        .get_mut(&id)
        .filter(|connection| !connection.dead)
    else {
        return;
    };
    let is_end = matches!(item, DownItem::End(_));
    let mut arrivals = vec![connection.down.send(due, item.clone())];
    if !is_end {
        connection.down.remember(item);
        if let Some(old) = again.and_then(|n: usize| connection.down.sent.get(n).cloned()) {
            arrivals.push(connection.down.send(due, old));
        }
    }
    arrive(ctx, id, Side::Miner, &arrivals);
}

fn due(ctx: &mut Context, id: ConnectionId) -> u64 {
    let miner = ctx
        .network
        .connections
        .get(&id)
        .map(|connection| connection.miner);
    let blocked = miner
        .and_then(|miner| ctx.network.blocked_until.get(&miner))
        .copied()
        .unwrap_or(0);
    let due = ctx.now + latency(ctx);
    due.max(blocked)
}

fn arrive(ctx: &mut Context, id: ConnectionId, side: Side, arrivals: &[u64]) {
    for due in arrivals {
        ctx.after(due - ctx.now, Event::Arrives(id, side));
    }
}

impl Network {
    /// What has arrived at the coordinator.
    pub fn take_up(&mut self, id: ConnectionId, now: u64) -> Option<Up> {
        self.connections.get_mut(&id)?.up.pop(now)
    }

    /// What has arrived at the miner.
    pub fn take_down(&mut self, id: ConnectionId, now: u64) -> Option<DownItem> {
        self.connections.get_mut(&id)?.down.pop(now)
    }

    /// Nothing of a miner gets through until then.
    pub fn block(&mut self, miner: usize, until: u64) {
        self.blocked_until.insert(miner, until);
    }

    /// Connections that work.
    pub fn live(&self) -> Vec<ConnectionId> {
        let live = self
            .connections
            .iter()
            .filter(|(_, connection)| !connection.dead);
        live.map(|(id, _)| *id).collect()
    }

    /// The miner of a connection.
    pub fn miner(&self, id: ConnectionId) -> Option<usize> {
        self.connections.get(&id).map(|connection| connection.miner)
    }
}

/// One side leaves in an orderly way: what it sent still arrives, then the other side learns it.
pub fn leave(ctx: &mut Context, id: ConnectionId, leaver: Side) {
    let Some(connection) = ctx.network.connections.get_mut(&id) else {
        return;
    };
    let (last, other) = match leaver {
        Side::Miner => (connection.up.last, Side::Coordinator),
        Side::Coordinator => (connection.down.last, Side::Miner),
    };
    let was_dead = std::mem::replace(&mut connection.dead, true);
    if !was_dead {
        let delay = last.saturating_sub(ctx.now) + latency(ctx);
        ctx.after(delay, Event::Lost(id, other));
    }
}

/// The connection breaks: a part of what is on the way is lost, and each side learns it at its own time.
pub fn cut(ctx: &mut Context, id: ConnectionId) {
    let half_open = ctx.faults.has(Fault::HalfOpen) && one_in(&mut ctx.random.faults, 3);
    let Some(connection) = ctx.network.connections.get_mut(&id) else {
        return;
    };
    if std::mem::replace(&mut connection.dead, true) {
        return;
    }
    let rng = &mut ctx.random.faults;
    let kept = rng.random_range(0..=connection.up.queue.len());
    connection.up.queue.truncate(kept);
    let kept = rng.random_range(0..=connection.down.queue.len());
    connection.down.queue.truncate(kept);
    for side in [Side::Miner, Side::Coordinator] {
        let rng = &mut ctx.random.faults;
        let delay = if half_open {
            rng.random_range(0..45_000)
        } else {
            rng.random_range(0..200)
        };
        ctx.after(delay, Event::Lost(id, side));
    }
}
