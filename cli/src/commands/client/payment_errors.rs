//! Why a job takes no money, or not this much, and what its payer can do: not everybody who pays for a job may read it.

use aitbc_common::ids::JobId;
use aitbc_common::layouts::VoidReason;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::{CommandError, ExitCode};

use crate::output::record::void_text;

/// A job that takes no payment.
pub fn refused(job: &JobId, yours: bool, why: &str) -> CommandError {
    let error = CommandError::new(
        ExitCode::Authentication,
        "NOT_PAYABLE",
        format!("{job} takes no payment: {why}"),
    );
    error.with_hint(where_it_stands(job, yours))
}

/// An amount that would return.
pub fn too_small(job: &JobId, amount: MicroAit, least: MicroAit) -> CommandError {
    let error = CommandError::new(
        ExitCode::Authentication,
        "TOO_SMALL",
        format!(
            "{amount} AIT is too little for {job}: its next payment takes at least {least} AIT"
        ),
    );
    error.with_hint(format!(
        "pay more: aitbc client pay {job} --amount {least}; what the job does not use returns"
    ))
}

/// A payment that was made and returned; no reason = its time was up.
pub fn returned(
    job: &JobId,
    yours: bool,
    amount: MicroAit,
    reason: Option<VoidReason>,
) -> CommandError {
    let why = reason.map_or("its time was up", void_text);
    let error = CommandError::new(
        ExitCode::Failed,
        "PAYMENT_RETURNED",
        format!("the {amount} AIT returned whole: {why}"),
    );
    error.with_hint(match reason {
        Some(VoidReason::TooSmall) => format!(
            "another payment or a miner came before it; pay again, and the command says how much it takes: aitbc client pay {job}"
        ),
        Some(VoidReason::Finished | VoidReason::TooManyLocks) => where_it_stands(job, yours),
        Some(VoidReason::UnknownJob) if !yours => {
            "it may have ended meanwhile; ask its owner, who alone sees where it stands".into()
        }
        _ => "see the records: aitbc wallet history".into(),
    })
}

fn where_it_stands(job: &JobId, yours: bool) -> String {
    if yours {
        format!("see where it stands: aitbc client status {job}")
    } else {
        "it is not yours, and only its owner sees where it stands; nothing is locked by this, see aitbc wallet history".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_where_he_may_not_look() {
        let job: JobId = "job_01m83xj880emq8k9w39qsaekf4".parse().unwrap();
        let late = |yours, reason| {
            let error = returned(&job, yours, MicroAit(1_000_000), Some(reason));
            assert!(error.message.starts_with("the 1 AIT returned whole: "));
            error.hint.unwrap()
        };
        assert!(late(true, VoidReason::Finished).contains("aitbc client status"));
        for reason in [VoidReason::Finished, VoidReason::UnknownJob] {
            let hint = late(false, reason);
            assert!(
                hint.contains("its owner") && !hint.contains("client"),
                "{hint}"
            );
        }
        assert!(late(false, VoidReason::TooSmall).contains("aitbc client pay job_"));
        let small = too_small(&job, MicroAit(1_000), MicroAit(625_000));
        assert_eq!(small.exit, ExitCode::Authentication);
        assert!(small.hint.unwrap().contains("--amount 0.625;"));
    }
}
