//! What the tests share: real processes ([`harness`]) and a coordinator that lies ([`lying_proxy`]).

pub mod bench;
pub mod harness;
pub mod lying_proxy;
pub mod sim;
