//! llama.cpp reports the reason of a failure only in its log. This keeps the log off the terminal and
//! hands its warnings and errors to whoever called.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::with_default;
use tracing::{Event, Level, Metadata, Subscriber};

/// Lines kept of one call: a damaged file can cause thousands.
const MAX_LINES: usize = 16;

/// Runs `call` on this thread; returns its result and what llama.cpp logged meanwhile as a warning or an
/// error, joined by `; `.
pub(super) fn capture<T>(call: impl FnOnce() -> T) -> (T, String) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let result = with_default(
        LogCapture {
            lines: Arc::clone(&lines),
        },
        call,
    );
    let lines = lines.lock().expect("no panic while logging");
    (result, lines.join("; "))
}

struct LogCapture {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Subscriber for LogCapture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message::default();
        event.record(&mut message);
        let mut lines = self.lines.lock().expect("no panic while logging");
        if lines.len() < MAX_LINES && !message.0.is_empty() && !lines.contains(&message.0) {
            lines.push(message.0);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0 = value.trim().to_owned();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}").trim().to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::capture;

    #[test]
    fn warnings_and_errors_are_handed_over() {
        let (result, log) = capture(|| {
            tracing::info!("not this");
            tracing::error!("first");
            tracing::warn!("second {}", 2);
            tracing::error!("first");
            7
        });
        assert_eq!((result, log.as_str()), (7, "first; second 2"));
    }
}
