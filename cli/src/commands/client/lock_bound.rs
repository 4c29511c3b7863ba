//! How long money may be locked for a job, whatever the coordinator says of its deadline.

use aitbc_common::ids::JobId;
use aitbc_common::limits::MAX_TIMEOUT_MS;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::rfc3339_ms;

/// This machine's clock and the coordinator's are not further apart than this: 1 hour.
const CLOCKS_APART_MS: u64 = 3_600_000;

/// Money is not locked for longer than the job can take: as it was submitted from here (`own`: its timeout in ms, and when), or
/// as any job can.
pub fn check_deadline(
    job: &JobId,
    told_ms: u64,
    own: Option<(u64, u64)>,
    now_ms: u64,
) -> Result<(), CommandError> {
    let (timeout_ms, from_ms) = own.unwrap_or((MAX_TIMEOUT_MS, now_ms));
    let latest = from_ms.saturating_add(timeout_ms).max(now_ms);
    if told_ms <= latest.saturating_add(CLOCKS_APART_MS) {
        return Ok(());
    }
    Err(CommandError::new(
        ExitCode::ProofFailed,
        "DEADLINE_TOO_LATE",
        format!(
            "the coordinator says that {job} may run until {}, and it can run until {} at the latest: the money would be \
             locked for that long",
            rfc3339_ms(told_ms),
            rfc3339_ms(latest)
        ),
    )
    .with_hint("do not pay; tell the coordinator's operator, or correct this machine's clock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_not_locked_for_longer_than_the_job_can_take() {
        let job = "job_01m83xj880emq8k9w39qsaekf4".parse().unwrap();
        let (now, hour) = (1_795_428_000_000, 3_600_000);
        let own = Some((hour, now - hour));
        let cases = [
            (now, own, true),
            (now + hour, own, true),
            (now + hour + 1, own, false),
            (now + 7 * 24 * hour, None, true),
            (now + 7 * 24 * hour + hour + 1, None, false),
            (u64::MAX, None, false),
        ];
        for (told, own, allowed) in cases {
            let checked = check_deadline(&job, told, own, now);
            assert_eq!(checked.is_ok(), allowed, "{told} {own:?}");
        }
    }
}
