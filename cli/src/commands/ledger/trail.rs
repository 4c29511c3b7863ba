//! Where the records that a coordinator shows leave the log that it signed: found by asking for few proofs, with little
//! memory.

use std::ops::Range;

use aitbc_common::ledger::audit::Edge;
use aitbc_common::ledger::log::{TreeHead, leaf_hash};
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::ledger::VerifiedLedger;

/// Points of a trail at most.
const POINTS: usize = 64;

/// Points of a log on its way past, evenly apart.
#[derive(Debug)]
pub struct Trail {
    points: Vec<Edge>,
    /// Records between two points.
    stride: u64,
}

impl Trail {
    /// From here on.
    pub fn from(edge: Edge) -> Self {
        Self {
            points: vec![edge],
            stride: 1,
        }
    }

    /// A record has passed; the log is this now.
    pub fn pass(&mut self, edge: &Edge) {
        let begin = self.points[0].size();
        if (edge.size() - begin).is_multiple_of(self.stride) {
            self.points.push(edge.clone());
        }
        if self.points.len() > POINTS {
            self.stride *= 2;
            let stride = self.stride;
            self.points
                .retain(|point| (point.size() - begin).is_multiple_of(stride));
        }
    }

    /// Among which records, of those up to `end`, the first one is that the signed log does not have; the log at the begin
    /// of the trail is the signed one's. Reads them again, closer and closer; one alone unless the coordinator does not
    /// show the same twice.
    pub async fn first_other(
        mut self,
        ledger: &mut VerifiedLedger,
        mut end: Edge,
        signed: &TreeHead,
    ) -> Result<Range<u64>, CommandError> {
        loop {
            if self
                .points
                .last()
                .is_some_and(|last| last.size() < end.size())
            {
                self.points.push(end);
            }
            let (mut good, mut other) = (0, self.points.len() - 1);
            while other - good > 1 {
                let middle = usize::midpoint(good, other);
                if ledger
                    .begins_with(&self.points[middle].head(), signed)
                    .await?
                {
                    good = middle;
                } else {
                    other = middle;
                }
            }
            let expected = self.points.swap_remove(other);
            let mut edge = self.points.swap_remove(good);
            let found = edge.size()..expected.size();
            if found.end - found.start <= 1 {
                return Ok(found);
            }
            self = Self::from(edge.clone());
            let mut records = ledger.records(found.start, found.end).await?;
            while let Some(leaves) = records.next().await? {
                for leaf in &leaves {
                    edge.push(leaf_hash(leaf));
                    self.pass(&edge);
                }
            }
            if edge.head() != expected.head() {
                return Ok(found);
            }
            end = edge;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_stays_short_and_even() {
        let mut edge = Edge::default();
        for n in 0..100 {
            edge.push([n; 32]);
        }
        let mut trail = Trail::from(edge.clone());
        for n in 0..10_000_u32 {
            edge.push([n.to_be_bytes()[3]; 32]);
            trail.pass(&edge);
            assert!(trail.points.len() <= POINTS);
        }
        let sizes: Vec<u64> = trail.points.iter().map(Edge::size).collect();
        assert!(
            sizes
                .windows(2)
                .all(|pair| pair[1] - pair[0] == trail.stride),
            "{sizes:?}"
        );
        assert!(sizes.len() > POINTS / 2 && sizes[0] == 100, "{sizes:?}");
    }
}
