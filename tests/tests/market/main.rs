//! The market, as processes.

mod listings;
mod prices;
mod rentals;
mod terms;
