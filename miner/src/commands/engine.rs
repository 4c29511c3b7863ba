//! `aitbc-miner engine`.

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use crate::engine::{self, EngineArgs};

/// Options of `engine`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aitbc-miner engine --model llama3=llama3.gguf --listen 127.0.0.1:11434
  aitbc-miner engine --model SmolLM2-135M-Instruct.Q4_1.gguf --parallel 2

Any Ollama client can use it: OLLAMA_HOST=127.0.0.1:11434 ollama run llama3")]
pub struct Arguments {
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let serving = async {
        engine::run(arguments.engine, stop.clone())
            .await
            .map_err(command_error)
    };
    signals.guard(&stop, serving).await
}

fn command_error(error: anyhow::Error) -> CommandError {
    match error.downcast::<CommandError>() {
        Ok(error) => error,
        Err(error) => {
            let text = format!("{error:#}");
            let (message, hint) = match text.split_once("\nhint: ") {
                // The causes follow the hint of the outermost context.
                Some((message, rest)) => match rest.split_once(": ") {
                    Some((hint, causes)) if error.source().is_some() => {
                        (format!("{message}: {causes}"), Some(hint.to_owned()))
                    }
                    _ => (message.to_owned(), Some(rest.to_owned())),
                },
                None => (text, None),
            };
            let error = CommandError::new(ExitCode::Failed, "ENGINE_FAILED", message);
            match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        }
    }
}
