//! The market, as processes.

mod listings;
