//! What a tool can do to an execution, and the rule that follows.

use thiserror::Error;

/// What a tool can do to an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Labels {
    /// Its arguments can leave the machine.
    pub egress: bool,
    /// Its answers can hold text that a stranger wrote, and with it orders to the model.
    pub reads_untrusted: bool,
}

/// Why a tool is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "refused: this tool can send data out, and text from outside has been read before; \
     the agent's config allows that with \"egress_after_untrusted\": true"
)]
pub struct Refusal;

/// Whether a tool may be called: one that can send data out may not once untrusted text has been read, unless the
/// agent's definition allows it.
pub fn admit(
    labels: Labels,
    untrusted_read: bool,
    egress_after_untrusted: bool,
) -> Result<(), Refusal> {
    if labels.egress && untrusted_read && !egress_after_untrusted {
        return Err(Refusal);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sending_after_reading_is_refused() {
        for egress in [false, true] {
            for untrusted_read in [false, true] {
                for allowed in [false, true] {
                    let labels = Labels {
                        egress,
                        reads_untrusted: true,
                    };
                    let refused = admit(labels, untrusted_read, allowed).is_err();
                    assert_eq!(refused, egress && untrusted_read && !allowed);
                }
            }
        }
    }
}
