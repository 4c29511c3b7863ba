//! `aitbc miner`: look after this machine's miner, see who mines, work a job by hand.

mod complete;
mod delegated;
mod deregister;
mod earnings;
mod extend;
mod fail;
mod list;
mod pause;
mod poll;
mod polled;
mod proven_pay;
mod resume;
mod status;
mod update;

use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::token::Scope;
use aitbc_proto::v1::{GetMinerRequest, Miner, UpdateMinerRequest};
use clap::{Args, Subcommand};
use prost_types::FieldMask;

use crate::context::Context;

/// Its verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Register this machine: hardware and local models are detected
    #[command(disable_help_flag = true, after_help = delegated::REGISTER)]
    Register(delegated::Options),
    /// Mine with a GGUF file on the built-in engine
    #[command(disable_help_flag = true, after_help = delegated::MINE)]
    Mine(delegated::Options),
    /// Mine with your own Ollama
    #[command(disable_help_flag = true, after_help = delegated::MINE_OLLAMA)]
    MineOllama(delegated::Options),
    /// Run one local inference and measure its speeds
    #[command(disable_help_flag = true, after_help = delegated::TEST)]
    Test(delegated::Options),
    /// List the registered miners
    List(list::Arguments),
    /// Show a miner: yours, or any by its id
    Status(status::Arguments),
    /// Change price, name, slots or payout address
    Update(update::Arguments),
    /// Take no new jobs; running ones go on
    #[command(after_help = pause::EXAMPLES)]
    Pause(OwnMiner),
    /// Take jobs again
    #[command(after_help = resume::EXAMPLES)]
    Resume(OwnMiner),
    /// Show what your miner earned
    Earnings(earnings::Arguments),
    /// Remove your miner from the network
    Deregister(deregister::Arguments),
    /// Take one job to work it by hand
    Poll(poll::Arguments),
    /// Prolong the lease of a polled job
    Extend(extend::Arguments),
    /// Deliver the output of a polled job, with a signed receipt
    Complete(complete::Arguments),
    /// Give up a polled job, or hand it back
    Fail(fail::Arguments),
}

/// Carries out a verb.
pub async fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Register(options) => Err(delegated::run("register", options)),
        Command::Mine(options) => Err(delegated::run("mine", options)),
        Command::MineOllama(options) => Err(delegated::run("mine-ollama", options)),
        Command::Test(options) => Err(delegated::run("test", options)),
        Command::List(arguments) => list::run(context, arguments).await,
        Command::Status(arguments) => status::run(context, arguments).await,
        Command::Update(arguments) => update::run(context, arguments).await,
        Command::Pause(own) => pause::run(context, own).await,
        Command::Resume(own) => resume::run(context, own).await,
        Command::Earnings(arguments) => earnings::run(context, arguments).await,
        Command::Deregister(arguments) => deregister::run(context, arguments).await,
        Command::Poll(arguments) => poll::run(context, arguments).await,
        Command::Extend(arguments) => extend::run(context, arguments).await,
        Command::Complete(arguments) => complete::run(context, arguments).await,
        Command::Fail(arguments) => fail::run(context, arguments).await,
    }
}

/// Which of this user's miners.
#[derive(Debug, Args)]
pub struct OwnMiner {
    /// Your miner's name [default: the one that is set, else rig-1]
    #[arg(long, value_name = "NAME")]
    miner: Option<String>,
}

impl OwnMiner {
    /// Its name.
    pub fn name(&self, context: &Context) -> Result<String, CommandError> {
        context.miner_name(self.miner.as_deref())
    }

    /// Connects as it. It must have been set up on this machine: a mistyped name makes no new miner.
    pub async fn connect(&self, context: &Context) -> Result<Connection, CommandError> {
        let name = self.name(context)?;
        if !context.home.miner_dir(&name).join("identity.key").exists() {
            return Err(not_registered(&name));
        }
        context
            .connect_as(context.home.miner_identity(&name)?, Scope::Miner)
            .await
    }

    /// Its registration.
    async fn get(&self, context: &Context, connection: &Connection) -> Result<Miner, CommandError> {
        let answer = connection
            .miners()
            .get_miner(GetMinerRequest {
                miner_id: String::new(),
            })
            .await;
        match answer {
            Ok(answer) => answer
                .into_inner()
                .miner
                .ok_or_else(|| incomplete("a miner")),
            Err(status) => Err(self.explain(context, CommandError::from(status))),
        }
    }

    /// Pauses or resumes it.
    async fn set_paused(&self, context: &Context, paused: bool) -> Result<Miner, CommandError> {
        let connection = self.connect(context).await?;
        let wanted = Miner {
            paused,
            ..Default::default()
        };
        let changed = change(&connection, wanted, &["paused"]).await;
        changed.map_err(|error| self.explain(context, error))
    }

    /// A refusal because the miner is not registered, with its name in it.
    fn explain(&self, context: &Context, error: CommandError) -> CommandError {
        match (error.reason.as_str(), self.name(context)) {
            ("MINER_NOT_REGISTERED" | "MINER_NOT_FOUND", Ok(name)) => not_registered(&name),
            _ => error,
        }
    }
}

fn not_registered(name: &str) -> CommandError {
    let option = if name == "rig-1" {
        String::new()
    } else {
        format!(" --miner {name}")
    };
    CommandError::new(ExitCode::Failed, "MINER_NOT_REGISTERED", format!("the miner {name} is not registered"))
        .with_hint(format!("register it first: aitbc miner register{option} --gpus \"1x RTX 4090\" --price-per-hour 0.5"))
}

/// An answer that lacks what it must have.
fn incomplete(what: &str) -> CommandError {
    CommandError::new(
        ExitCode::Failed,
        "INCOMPLETE_ANSWER",
        format!("the coordinator's answer lacks {what}"),
    )
    .with_hint("the versions of aitbc and the coordinator may not fit together: aitbc --version")
}

/// Changes some fields of the caller's miner.
async fn change(
    connection: &Connection,
    miner: Miner,
    paths: &[&str],
) -> Result<Miner, CommandError> {
    let update_mask = FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    };
    let request = UpdateMinerRequest {
        miner: Some(miner),
        update_mask: Some(update_mask),
    };
    let answer = connection
        .miners()
        .update_miner(request)
        .await?
        .into_inner();
    answer.miner.ok_or_else(|| incomplete("the miner"))
}

#[cfg(test)]
mod tests;
