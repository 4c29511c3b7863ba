//! Rules that can be broken on purpose, to show that audits notice. No program has a way to break one.

/// Test-only switches of a [`State`](super::state::State).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrokenRules {
    /// Take a transaction whose nonce leaves others out.
    pub skip_nonces: bool,
    /// Of a lock that was paid in part, keep 1 micro-AIT of the rest.
    pub short_remainder: bool,
    /// Pay out what was being unstaked when it was slashed.
    pub pay_forfeits: bool,
    /// A job may be found wrong again.
    pub find_again: bool,
}
