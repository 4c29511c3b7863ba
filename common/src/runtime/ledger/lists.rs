//! Lists that a coordinator shows: each thing of them is proven alone, so nothing may stand there twice.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::refusals;
use crate::runtime::errors::CommandError;

/// Demands that a history comes newest first, also across its pages: so no record counts twice.
#[derive(Debug, Default)]
pub struct NewestFirst(Option<u64>);

impl NewestFirst {
    /// The next record's place in the log.
    ///
    /// # Errors
    /// Exit code 8 where it does not stand before the one shown last.
    pub fn take(&mut self, index: u64) -> Result<(), CommandError> {
        match self.0.replace(index) {
            Some(last) if index >= last => Err(refusals::proof(format_args!(
                "after record {last} it shows record {index}, where an older one comes next"
            ))),
            _ => Ok(()),
        }
    }
}

/// Demands that all of a list differ.
///
/// # Errors
/// Exit code 8 where it shows one of them twice: `what` names them.
pub fn differ<T: Ord>(what: impl Display, list: &[T]) -> Result<(), CommandError> {
    let mut known = BTreeSet::new();
    if list.iter().all(|one| known.insert(one)) {
        return Ok(());
    }
    Err(refusals::proof(format_args!("it shows {what} twice")))
}

/// The sum of proven amounts of one wallet: micro-AIT.
///
/// # Errors
/// Exit code 8 where it is beyond any amount.
pub fn sum(amounts: &[u64]) -> Result<u64, CommandError> {
    let sum = amounts
        .iter()
        .try_fold(0_u64, |sum, amount| sum.checked_add(*amount));
    sum.ok_or_else(|| refusals::proof("the amounts that it shows come to more than there can be"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::errors::ExitCode;

    #[test]
    fn a_history_falls_strictly() {
        let takes = |places: &[u64]| {
            let mut order = NewestFirst::default();
            places.iter().try_for_each(|place| order.take(*place))
        };
        assert_eq!(takes(&[u64::MAX, 9, 8, 0]), Ok(()));
        for bad in [&[9, 9][..], &[9, 8, 9], &[0, 1]] {
            let error = takes(bad).unwrap_err();
            assert_eq!(error.exit, ExitCode::ProofFailed, "{bad:?}");
            assert!(error.hint.is_some(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_is_shown_twice_and_sums_have_an_end() {
        assert_eq!(differ("a stake", &[3, 1, 2]), Ok(()));
        let error = differ("a stake", &[3, 1, 3]).unwrap_err();
        assert!(error.message.contains("a stake twice"), "{error:?}");
        assert_eq!(sum(&[1, 2, u64::MAX - 3]), Ok(u64::MAX));
        let error = sum(&[1, u64::MAX]).unwrap_err();
        assert_eq!(error.exit, ExitCode::ProofFailed);
    }
}
