//! What each reason of the contract means to a command: its exit code, and what to do about it.

use tonic::Code;

use super::ExitCode;
use super::ExitCode::{
    Authentication, Failed, NoResult, NotFinished, NotFound, ProofFailed, Unreachable, Usage,
};

/// Reason, exit code, hint.
const REASONS: &[(&str, ExitCode, &str)] = &[
    (
        "INVALID_FIELD",
        Usage,
        "the command's --help shows what it takes",
    ),
    (
        "INVALID_INPUT",
        Usage,
        "the job's input takes \"prompt\" or \"messages\"; see: aitbc client submit --help",
    ),
    (
        "TOO_LARGE",
        Usage,
        "job input may have 3 MiB, output 16 MiB, one message 4 MiB",
    ),
    (
        "INVALID_PAGE_TOKEN",
        Usage,
        "start again without --page-token",
    ),
    (
        "JOB_NOT_FOUND",
        NotFound,
        "list your jobs with: aitbc client list",
    ),
    (
        "MINER_NOT_FOUND",
        NotFound,
        "list the miners with: aitbc miner list",
    ),
    (
        "MINER_NOT_REGISTERED",
        Failed,
        "register first: aitbc miner register --gpus \"1x RTX 4090\" --price-per-hour 0.5",
    ),
    (
        "RESULT_DELETED",
        NotFound,
        "submit the job again to get a new result",
    ),
    (
        "REQUEST_ID_REUSED",
        Failed,
        "give another --request-id, or repeat the request exactly",
    ),
    (
        "WRONG_STATUS",
        Failed,
        "see where the job stands with: aitbc client status JOB_ID",
    ),
    (
        "STALE_ATTEMPT",
        Failed,
        "the job went to another attempt; ask for a new one with: aitbc miner poll",
    ),
    (
        "NOT_FINISHED",
        NotFinished,
        "wait for it with: aitbc client result JOB_ID --wait",
    ),
    (
        "NO_RESULT",
        NoResult,
        "see why with: aitbc client status JOB_ID; try again with: aitbc client retry JOB_ID",
    ),
    (
        "NO_MATCHING_MINER",
        Failed,
        "see which filter removed the miners: aitbc client submit … --explain",
    ),
    (
        "UNKNOWN_MODEL",
        Failed,
        "see what can be asked for with: aitbc models",
    ),
    (
        "TOKEN_INVALID",
        Authentication,
        "check which identity you use with: aitbc identity show",
    ),
    (
        "TOKEN_EXPIRED",
        Authentication,
        "make a new token with: aitbc token",
    ),
    (
        "CLOCK_SKEW",
        Authentication,
        "set this machine's clock (or the coordinator's); they may differ by 60 s",
    ),
    (
        "WRONG_CHAIN",
        Authentication,
        "the coordinator serves another network now; run the command again",
    ),
    (
        "WRONG_SCOPE",
        Authentication,
        "make a token with the scope that the call needs: aitbc token --scope client|miner",
    ),
    (
        "SESSION_PROOF_INVALID",
        Authentication,
        "check which identity the miner uses: aitbc miner status",
    ),
    (
        "SESSION_EXISTS",
        Failed,
        "a second miner needs a name of its own: --miner NAME; to take the other's place: --takeover",
    ),
    (
        "RECEIPT_INVALID",
        ProofFailed,
        "poll the job again and complete it with the same --miner",
    ),
    ("RATE_LIMITED", Failed, "send less at once"),
    (
        "STORAGE_FULL",
        Failed,
        "free space on the coordinator's disk; reading goes on meanwhile",
    ),
    (
        "UNAVAILABLE",
        Unreachable,
        "try again in a moment; see whether the coordinator runs",
    ),
    (
        "TIMEOUT",
        Unreachable,
        "try again in a moment; see whether the coordinator runs",
    ),
    (
        "WATCHER_TOO_SLOW",
        Failed,
        "follow it again with: aitbc client status JOB_ID --watch",
    ),
    (
        "UNIMPLEMENTED",
        Failed,
        "this coordinator does not offer it; a newer one may",
    ),
    (
        "NO_FREE_SLOT",
        Failed,
        "finish a job first: aitbc miner complete JOB_ID, or aitbc miner fail JOB_ID --return",
    ),
    (
        "MINER_PAUSED",
        Failed,
        "let it work again with: aitbc miner resume",
    ),
    (
        "MINER_BUSY",
        Failed,
        "stop the miner (Ctrl-C drains it), or hand its jobs back: aitbc miner fail JOB_ID --return",
    ),
    (
        "TRANSACTION_INVALID",
        Usage,
        "sign it again with the wallet that pays: aitbc wallet list",
    ),
    (
        "NONCE",
        Authentication,
        "another transaction of this wallet came first; run the command again",
    ),
    (
        "INSUFFICIENT_FUNDS",
        Authentication,
        "see what there is with: aitbc wallet balance; on a development network draw more with: aitbc wallet faucet",
    ),
    (
        "PAYEE_BOUND",
        Authentication,
        "name the wallet that the miner is bound to (--payout 0x…), or bind it with that wallet: aitbc wallet bind --miner NAME",
    ),
    (
        "MINER_NOT_BOUND",
        Authentication,
        "bind the miner first, with the wallet that is to stake: aitbc wallet bind --miner NAME",
    ),
    (
        "TRANSACTION_REFUSED",
        Authentication,
        "see what the wallet did last with: aitbc wallet history",
    ),
    (
        "RECORD_NOT_FOUND",
        NotFound,
        "check the hash or the number; see the wallet's records with: aitbc wallet history",
    ),
    (
        "FAUCET_EMPTY",
        Authentication,
        "ask for no more than that, or somebody who has AIT for a transfer to: aitbc wallet show",
    ),
    (
        "AGENT_NOT_FOUND",
        NotFound,
        "see your agents with: aitbc agent list",
    ),
    (
        "AGENT_EXISTS",
        Failed,
        "give that one a new version with: aitbc agent update, or take another name",
    ),
    (
        "FILE_MISSING",
        Failed,
        "upload it by: aitbc agent create or aitbc agent update",
    ),
    (
        "TOO_MANY_AGENTS",
        Failed,
        "delete what is not needed with: aitbc agent delete",
    ),
    (
        "LISTING_NOT_FOUND",
        NotFound,
        "see what there is with: aitbc marketplace offers list; your own with: aitbc marketplace gpu list",
    ),
    (
        "GPU_CONTRADICTED",
        Failed,
        "list what the machine has; after a change of hardware bring it up to date first: aitbc miner register",
    ),
    (
        "TOO_MANY_LISTINGS",
        Failed,
        "withdraw one first: aitbc marketplace gpu withdraw LISTING_ID; or list under another miner: --miner NAME",
    ),
    (
        "RENTAL_NOT_FOUND",
        NotFound,
        "list your rentals with: aitbc marketplace rentals",
    ),
    (
        "NOT_AVAILABLE",
        Failed,
        "see what can be rented now with: aitbc marketplace offers list --available",
    ),
    (
        "INTERNAL",
        Failed,
        "try again; if it stays, the coordinator's log says more: tell its operator",
    ),
    (
        "SESSION_PROTOCOL",
        Failed,
        "the versions of miner and coordinator may not fit together",
    ),
];

/// Exit code and hint for a reason that the coordinator gave.
pub(super) fn explain(reason: &str, code: Code) -> (ExitCode, Option<&'static str>) {
    if let Some((_, exit, hint)) = REASONS.iter().find(|(name, ..)| *name == reason) {
        return (*exit, Some(hint));
    }
    let exit = match code {
        Code::NotFound => NotFound,
        Code::Unauthenticated | Code::PermissionDenied => Authentication,
        _ => Failed,
    };
    (exit, None)
}
