//! Which part of a payment each kill fell into: told by when somebody asked for it, when they were answered, and when the
//! log has what came of it.

use std::collections::HashMap;
use std::time::Duration;

use aitbc_common::hash::Hash;
use aitbc_common::layouts::{Record, RecordBody};
use aitbc_common::runtime::unix_ms;
use tokio::sync::watch;

/// A part of a payment that a kill can interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// A lock is sent, and not answered yet.
    Pay,
    /// A funded job's result is delivered, and its payment not logged or the delivery not answered yet.
    Settle,
    /// A funded job is cancelled, and its lock not returned in the log or the cancel not answered yet.
    Void,
    /// There are records that no seal follows yet.
    Seal,
}

impl Window {
    pub const ALL: [Self; 4] = [Self::Pay, Self::Settle, Self::Void, Self::Seal];

    /// By turns, so that each is hit for sure.
    pub fn of_turn(number: usize) -> Self {
        Self::ALL[number % Self::ALL.len()]
    }

    /// How long after its beginning a kill often still falls into it.
    pub fn width(self) -> Duration {
        Duration::from_millis(match self {
            Self::Pay => 3,
            Self::Settle | Self::Void => 6,
            Self::Seal => 150,
        })
    }
}

/// One payment's way through a window.
#[derive(Debug, Clone, Copy)]
struct Passage {
    window: Window,
    lock: Hash,
    asked_ms: u64,
    answered_ms: u64,
}

/// What somebody asked for, and when.
#[derive(Debug)]
pub struct Diary {
    passages: Vec<Passage>,
    entered: watch::Sender<[u32; 4]>,
}

impl Default for Diary {
    fn default() -> Self {
        Self {
            passages: Vec::new(),
            entered: watch::Sender::new([0; 4]),
        }
    }
}

impl Diary {
    /// Tells whenever a window is entered.
    pub fn watch(&self) -> Entries {
        Entries(self.entered.subscribe())
    }

    /// Right before asking; gives when that was.
    pub fn asks(&self, window: Window) -> u64 {
        let now = unix_ms();
        self.entered.send_modify(|all| all[window as usize] += 1);
        now
    }

    /// Right after the answer.
    pub fn answered(&mut self, window: Window, lock: Hash, asked_ms: u64) {
        self.passages.push(Passage {
            window,
            lock,
            asked_ms,
            answered_ms: unix_ms(),
        });
    }
}

/// Waits for windows to be entered.
pub struct Entries(watch::Receiver<[u32; 4]>);

impl Entries {
    /// Waits until this window is entered next; panics after this long.
    pub async fn next(&mut self, window: Window, limit: Duration) {
        let before = self.0.borrow_and_update()[window as usize];
        let entered = self.0.wait_for(|all| all[window as usize] > before);
        let entered = tokio::time::timeout(limit, entered).await;
        let entered = entered.unwrap_or_else(|_| panic!("nobody comes to {window:?}"));
        entered.expect("somebody pays");
    }
}

/// From before the signal to after the process was gone, in Unix ms.
#[derive(Debug, Clone, Copy)]
pub struct Kill {
    pub from_ms: u64,
    pub to_ms: u64,
}

impl Kill {
    /// Around what kills.
    pub fn by(kill: impl FnOnce()) -> Self {
        let from_ms = unix_ms();
        kill();
        Self {
            from_ms,
            to_ms: unix_ms(),
        }
    }
}

/// When what counts for the windows was logged. A batch that a kill undid is in the log with its second time.
#[derive(Debug, Default)]
pub struct Logged {
    ends: HashMap<Hash, u64>,
    /// Each record's time, and that of the first seal from it on.
    sealed: Vec<(u64, u64)>,
    open: Vec<u64>,
}

impl Logged {
    /// In the log's order.
    pub fn record(&mut self, record: &Record) {
        let now = record.time_ms;
        self.open.push(now);
        match &record.body {
            RecordBody::Seal(_) => {
                let times = self.open.drain(..).map(|time| (time, now));
                self.sealed.extend(times);
            }
            RecordBody::Post(post) => {
                self.ends.insert(post.lock, now);
            }
            RecordBody::Void { lock, .. } => {
                self.ends.insert(*lock, now);
            }
            _ => {}
        }
    }

    /// How many kills fell into each window, and how many into none.
    pub fn hits(&self, diary: &Diary, kills: &[Kill]) -> ([usize; 4], usize) {
        let mut hits = [0; 4];
        let mut none = 0;
        for kill in kills {
            let hit = Window::ALL.map(|window| self.is_hit(diary, window, *kill));
            none += usize::from(!hit.contains(&true));
            for (count, hit) in hits.iter_mut().zip(hit) {
                *count += usize::from(hit);
            }
        }
        (hits, none)
    }

    fn is_hit(&self, diary: &Diary, window: Window, kill: Kill) -> bool {
        let within = |from: u64, to: u64| from < kill.from_ms && kill.to_ms < to;
        if window == Window::Seal {
            return self.sealed.iter().any(|(from, to)| within(*from, *to));
        }
        let mut passages = diary.passages.iter().filter(|p| p.window == window);
        passages.any(|passage| {
            let logged = match window {
                Window::Pay => None,
                _ => self.ends.get(&passage.lock).copied(),
            };
            let until = logged.map_or(passage.answered_ms, |at| at.max(passage.answered_ms));
            within(passage.asked_ms, until)
        })
    }
}
