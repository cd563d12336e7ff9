//! Where a day's run begins, so that a run that is cut off every day does not leave out the same subjects every day.

use jiff::Timestamp;

/// The items, beginning with another one every day. A repeated tick gives the same order.
///
/// The day times the golden ratio, modulo 1: any few days in a row begin far apart, and spread evenly over the items.
#[must_use]
pub fn from_the_days_start<T>(mut items: Vec<T>, scheduled_time: Timestamp) -> Vec<T> {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let day = scheduled_time.as_second().div_euclid(24 * 3600).unsigned_abs();
    let part = u128::from(day.wrapping_mul(GOLDEN));
    // A part of the whole, so below the number of items.
    let start = usize::try_from((part * items.len() as u128) >> 64).unwrap_or(0);
    items.rotate_left(start);
    items
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_run_that_always_stops_half_way_still_reaches_every_subject_within_a_few_days() {
        let subjects: Vec<u32> = (0..100).collect();
        let mut reached = BTreeSet::new();
        for day in 21..25 {
            let tick: Timestamp = format!("2026-11-{day}T05:00:00Z").parse().unwrap();
            let order = from_the_days_start(subjects.clone(), tick);
            assert_eq!(order, from_the_days_start(subjects.clone(), tick), "a repetition");
            reached.extend(order.into_iter().take(subjects.len() / 2));
        }
        assert_eq!(reached.len(), subjects.len());
        assert!(from_the_days_start(Vec::<u32>::new(), Timestamp::MAX).is_empty());
    }
}
