//! A progress bar on stderr, where that is a terminal and people read.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::context::Context;

const LINE: &str = "{msg} {bar:30} {percent}% {human_pos} of {human_len}, {per_sec}, {eta} left";

/// A bar of `length` steps.
pub fn bar(context: &Context, length: u64, what: &'static str) -> ProgressBar {
    let target = if context.json {
        ProgressDrawTarget::hidden()
    } else {
        // Hidden by itself where stderr is no terminal.
        ProgressDrawTarget::stderr()
    };
    let style = ProgressStyle::with_template(LINE).expect("the template is well-formed");
    ProgressBar::with_draw_target(Some(length), target)
        .with_style(style)
        .with_message(what)
}
