//! Transactions of this user's wallets: signed once, on disk before they are sent, and sent again, the same bytes, until
//! their fate is known. So a lost answer never pays twice.

mod kept;
mod listed;
mod payer;
mod proven;
mod refused;
mod send;
mod signer;

pub use kept::RentalHint;
pub use listed::listed;
pub use payer::{PayerOptions, WalletOptions};
pub use proven::{proven_entries, proven_entry};
pub use send::{
    Draft, Payload, Sent, account, has_unanswered, send, unanswered_rental, with_funds_hint,
};
pub use signer::{Chosen, Signer};
