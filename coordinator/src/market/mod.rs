//! The market: what providers list, and how others find it. Pure, but for [`board`], which shares it between threads.

pub mod board;
pub mod listing;
pub mod offers;
pub mod rows;

pub use board::Board;
