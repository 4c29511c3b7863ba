//! `aitbc client pay`: lock money for a job.

use aitbc_common::identity::PublicKey;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use clap::Args;

use super::funds::check_payer;
use super::payment::Payable;
use super::status::{get, id_of};
use crate::context::Context;
use crate::transactions::PayerOptions;
use crate::values::{self, JobSelector};

const EXAMPLES: &str = "\
Examples:
  aitbc client pay last --amount 10
  aitbc client pay job_01m83xj880emq8k9w39qsaekf4 --amount 0.5 --wallet savings
  aitbc client pay job_01m83xj880emq8k9w39qsaekf4 --amount 0.5 --payer 0x7099…79C8

The amount is a limit: the miner gets what its work costs, the rest returns. Paying again adds to it, with at least a
sixteenth of what is locked. Anybody may pay for a job, its owner alone with the last 4 of its 16 payments; paying gives no
right to read it.";

/// For which job, how much, who.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its id, or last for your newest
    #[arg(value_name = "JOB_ID")]
    job: JobSelector,
    /// The most that it may cost, in AIT with at most 6 decimals
    #[arg(long, value_name = "AIT", value_parser = lock_amount, allow_hyphen_values = true)]
    amount: MicroAit,
    /// The key of the job's owner, for a finished job of somebody else
    #[arg(long, value_name = "KEY", value_parser = values::identity_key)]
    owner: Option<PublicKey>,
    #[command(flatten)]
    payer: PayerOptions,
}

/// Reads an amount that can be locked: from 0.001 AIT on.
pub fn lock_amount(text: &str) -> Result<MicroAit, CommandError> {
    let amount = values::amount_or_zero(text)?;
    let least = MicroAit(aitbc_common::ledger::transactions::MIN_LOCK);
    if amount >= least {
        return Ok(amount);
    }
    Err(
        CommandError::usage(format!("{amount} AIT is too little to lock")).with_hint(format!(
            "give at least {least} AIT; what the job does not use returns"
        )),
    )
}

/// Signs, sends, waits for what follows at once, and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let payer = arguments.payer.choose(context)?;
    let connection = context.connect(Scope::Client).await?;
    let job = match arguments.job {
        JobSelector::Id(id) => id,
        JobSelector::Last => id_of(&get(&connection, &arguments.job).await?)?,
    };
    let payable = Payable::find(context, &connection, job, arguments.owner).await?;
    payable.check(context, &connection, &payer)?;
    // What it has is asked by the ledger: an earlier try may have locked it.
    check_payer(context, &connection, &payer, None).await?;
    payable.check_amount(context, &connection, &payer, arguments.amount)?;
    let signer = payer.unlock(&connection.identity).await?;
    let paid = payable
        .pay(context, &connection, &signer, arguments.amount)
        .await?;
    context.result(&paid.json(), paid.text())?;
    if let Some(next) = payable.next(&paid) {
        context.next(next);
    }
    Ok(())
}
