//! Durations on the wire.

use std::time::Duration;

/// A duration from a message; `None` where it is zero, negative or malformed.
pub(crate) fn positive(duration: &prost_types::Duration) -> Option<Duration> {
    Duration::try_from(*duration)
        .ok()
        .filter(|duration| !duration.is_zero())
}
