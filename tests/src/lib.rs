//! What the tests share: real processes ([`harness`]) and a coordinator that lies ([`lying_proxy`]).

pub mod harness;
