//! What did not arrive somewhere, put together, so that it is sent again once for all.

use crate::protocol::Gap;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Requests are gathered for so long: reports of the others come meanwhile.
const GATHERED: Duration = Duration::from_millis(120);
/// What was sent again is not asked for before it can have arrived.
const ON_ITS_WAY: Duration = Duration::from_millis(300);
/// Positions that are remembered at most; what is not is fetched by those who miss it.
const MOST: usize = 16384;
/// Runs of one frame; of more, everything from the first to the last is sent.
const MOST_RUNS: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Repairs {
    wanted: BTreeMap<u32, Wanted>,
    /// When positions were sent again.
    sent: BTreeMap<u32, Instant>,
}

#[derive(Debug)]
struct Wanted {
    since: Instant,
    runs: Vec<(u16, u16)>,
}

impl Repairs {
    /// Somebody misses this.
    pub(super) fn want(&mut self, gap: Gap, now: Instant) {
        let on_its_way = |sent: &Instant| now.saturating_duration_since(*sent) < ON_ITS_WAY;
        let full = self.wanted.len() >= MOST && !self.wanted.contains_key(&gap.position);
        if gap.count == 0 || full || self.sent.get(&gap.position).is_some_and(on_its_way) {
            return;
        }
        let wanted =
            self.wanted.entry(gap.position).or_insert_with(|| Wanted { since: now, runs: Vec::new() });
        wanted.runs.push((gap.first, gap.count));
        if wanted.runs.len() > MOST_RUNS {
            wanted.runs = merged(std::mem::take(&mut wanted.runs));
            if wanted.runs.len() > MOST_RUNS / 2 {
                let first = wanted.runs.first().map_or(0, |run| run.0);
                wanted.runs = vec![(first, u16::MAX)];
            }
        }
    }

    /// What is to be sent again now.
    pub(super) fn due(&mut self, now: Instant) -> Option<(u32, Vec<(u16, u16)>)> {
        let ripe = |wanted: &Wanted| now.saturating_duration_since(wanted.since) >= GATHERED;
        let position = self.wanted.iter().find(|(_, wanted)| ripe(wanted)).map(|(position, _)| *position)?;
        let wanted = self.wanted.remove(&position)?;
        self.sent.retain(|_, sent| now.saturating_duration_since(*sent) < ON_ITS_WAY);
        self.sent.insert(position, now);
        Some((position, merged(wanted.runs)))
    }
}

/// Runs in order, those that touch as one.
fn merged(mut runs: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    runs.sort_unstable();
    let mut whole: Vec<(u16, u16)> = Vec::new();
    for (first, count) in runs {
        match whole.last_mut() {
            Some((start, length)) if first <= start.saturating_add(*length) => {
                let end = first.saturating_add(count).max(start.saturating_add(*length));
                *length = end.saturating_sub(*start);
            }
            _ => whole.push((first, count)),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_miss_is_sent_again_once() {
        let now = Instant::now();
        let mut repairs = Repairs::default();
        for (position, first, count) in
            [(7, 10, 5), (7, 12, 8), (7, 40, 1), (9, 0, u16::MAX), (9, 3, 1), (7, 5, 0)]
        {
            repairs.want(Gap { position, first, count }, now);
        }
        assert_eq!(repairs.due(now), None, "others may miss it too");
        let later = now + GATHERED;
        assert_eq!(repairs.due(later), Some((7, vec![(10, 10), (40, 1)])));
        assert_eq!(repairs.due(later), Some((9, vec![(0, u16::MAX)])));
        // A report that was on its way meanwhile.
        repairs.want(Gap { position: 7, first: 10, count: 5 }, later);
        assert_eq!(repairs.due(later + GATHERED), None);
        repairs.want(Gap { position: 7, first: 11, count: 1 }, later + ON_ITS_WAY);
        assert_eq!(repairs.due(later + ON_ITS_WAY + GATHERED), Some((7, vec![(11, 1)])));
    }

    #[test]
    fn requests_take_a_bounded_memory() {
        let now = Instant::now();
        let mut repairs = Repairs::default();
        for number in 0..u16::MAX {
            repairs.want(Gap { position: number.into(), first: 0, count: 1 }, now);
            repairs.want(Gap { position: 3, first: number.saturating_mul(2), count: 1 }, now);
        }
        assert_eq!(repairs.wanted.len(), MOST);
        assert!(repairs.wanted.values().all(|wanted| wanted.runs.len() <= MOST_RUNS + 1));
    }
}
