//! The market: what providers list, and how others find it. Pure, but for [`board`], which shares it
//! between threads, and [`follower`], which reads the log.

pub mod board;
pub mod book_rows;
pub mod follower;
pub mod listing;
pub mod live_time;
pub mod offers;
pub mod rental;
pub mod rows;

pub use board::Board;
pub use follower::{Follower, SharedBook};
