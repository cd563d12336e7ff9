//! When in an off-peak window each item begins: the same minute every day, never more at once than a quota allows.
//!
//! Every item ranks the window's minutes by a hash of itself and the minute (rendezvous hashing) and begins in the first of its list
//! that has room. A minute that is full keeps the items that rank it highest by the same hash, so the outcome does not depend on the order in
//! which items are listed, and one more item moves only those few that it pushes on.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};

/// A daily stretch of time in which work does not disturb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it begins, by the plan's clock.
    pub begins: Time,
    /// How long it lasts, in minutes; at most a day.
    pub minutes: u16,
}

/// How much may be under way at once: export tasks, copies of snapshots, or what a key's request rate bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Items under way at any time.
    pub at_once: u16,
    /// How long an item is taken to last, in minutes.
    pub minutes_each: u16,
}

/// What is due once a day: a rule, and whom it is applied to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// The rule's id.
    pub rule: String,
    /// The tenant or instance.
    pub subject: String,
}

/// More is due than the window has room for under the quota.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{items} items are due in a window that has room for {room}: make it longer, or raise how many may be under way at once")]
pub struct WindowTooSmall {
    items: usize,
    room: usize,
}

impl Window {
    /// The instant at which a minute of the window is, on the local day on which the window begins.
    ///
    /// Minutes are counted in absolute time from its beginning, so that clocks that change inside it neither skip nor double one. `None` beyond
    /// the calendar.
    #[must_use]
    pub fn instant(self, zone: &TimeZone, day: Date, minute: u16) -> Option<Timestamp> {
        let begins = zone.to_ambiguous_zoned(day.to_datetime(self.begins)).compatible().ok()?.timestamp();
        begins.checked_add(SignedDuration::from_mins(i64::from(minute))).ok()
    }

    /// How many items may begin in each of its minutes, so that all end inside it.
    ///
    /// The quota is as many lanes as may be under way, each with one item after the other; the lanes begin evenly apart.
    fn room(self, quota: Quota) -> BTreeMap<u16, usize> {
        let mut room = BTreeMap::new();
        let each = u32::from(quota.minutes_each.max(1));
        for lane in 0..u32::from(quota.at_once) {
            let mut begins = lane * each / u32::from(quota.at_once);
            while begins + each <= u32::from(self.minutes) {
                *room.entry(u16::try_from(begins).unwrap_or(u16::MAX)).or_default() += 1;
                begins += each;
            }
        }
        room
    }
}

/// The minute of the window in which each item begins. Items that are listed twice count once.
///
/// # Errors
/// If there are more than the window has room for.
pub fn spread(items: &[Item], window: Window, quota: Quota) -> Result<BTreeMap<Item, u16>, WindowTooSmall> {
    let keys: BTreeMap<u64, &Item> = items.iter().map(|item| (key(item), item)).collect();
    let room = window.room(quota);
    let places = room.values().sum();
    if keys.len() > places {
        return Err(WindowTooSmall { items: keys.len(), room: places });
    }
    // Each item asks for its minutes in turn; a minute that is full sends away whom it ranks lowest.
    let mut lists: BTreeMap<u64, std::vec::IntoIter<u16>> = keys.keys().map(|key| (*key, ranking(*key, &room))).collect();
    let mut taken: BTreeMap<u16, BinaryHeap<Reverse<(u64, u64)>>> = BTreeMap::new();
    let mut asking: Vec<u64> = keys.keys().copied().collect();
    while let Some(key) = asking.pop() {
        // There is a place for everyone, so nobody comes to the end of the list without one.
        let Some(minute) = lists.get_mut(&key).and_then(Iterator::next) else { continue };
        let here = taken.entry(minute).or_default();
        here.push(Reverse((rank(key, minute), key)));
        if here.len() > room[&minute]
            && let Some(Reverse((_, sent_away))) = here.pop()
        {
            asking.push(sent_away);
        }
    }
    let minutes = taken.into_iter().flat_map(|(minute, here)| here.into_iter().map(move |Reverse((_, key))| (key, minute)));
    Ok(minutes.map(|(key, minute)| (keys[&key].clone(), minute)).collect())
}

fn key(item: &Item) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("holdfast off-peak minute v1");
    for part in [&item.rule, &item.subject] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

/// How much an item wants a minute. The finaliser of SplitMix64: every bit of the input moves half of the output's.
fn rank(key: u64, minute: u16) -> u64 {
    let mut mixed = key ^ (u64::from(minute) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn ranking(key: u64, room: &BTreeMap<u16, usize>) -> std::vec::IntoIter<u16> {
    let mut minutes: Vec<u16> = room.keys().copied().collect();
    minutes.sort_unstable_by_key(|minute| Reverse((rank(key, *minute), *minute)));
    minutes.into_iter()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::civil::{date, time};
    use proptest::prelude::*;

    use super::*;

    const NIGHT: Window = Window { begins: time(1, 30, 0, 0), minutes: 300 };

    fn items(names: impl IntoIterator<Item = u32>) -> Vec<Item> {
        names.into_iter().map(|n| Item { rule: "daily".into(), subject: format!("tenant-{n}") }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_more_are_under_way_than_the_quota_allows_and_all_end_in_the_window(
            (names, at_once, minutes_each) in (prop::collection::btree_set(any::<u32>(), 0..200), 1u16..9, 1u16..40)
        ) {
            let quota = Quota { at_once, minutes_each };
            let items = items(names);
            match spread(&items, NIGHT, quota) {
                Ok(minutes) => {
                    prop_assert_eq!(minutes.len(), items.len());
                    for now in 0..NIGHT.minutes {
                        let under_way = minutes.values().filter(|begins| (**begins..**begins + minutes_each).contains(&now)).count();
                        prop_assert!(under_way <= usize::from(at_once), "{} at minute {}", under_way, now);
                    }
                    prop_assert!(minutes.values().all(|begins| begins + minutes_each <= NIGHT.minutes));
                }
                Err(error) => prop_assert!(items.len() > error.room, "{}", error),
            }
        }

        #[test]
        fn the_order_of_the_list_does_not_matter(names in prop::collection::btree_set(any::<u32>(), 0..200)) {
            let quota = Quota { at_once: 5, minutes_each: 6 };
            let mut items = items(names);
            let minutes = spread(&items, NIGHT, quota).unwrap();
            items.reverse();
            items.extend(items.first().cloned());
            prop_assert_eq!(spread(&items, NIGHT, quota).unwrap(), minutes);
        }
    }

    #[test]
    fn one_tenant_more_or_less_moves_at_most_one_in_a_hundred_of_the_others() {
        // Four fifths of 1 500 places are taken.
        let quota = Quota { at_once: 5, minutes_each: 1 };
        let present = items(0..1_200);
        let before = spread(&present, NIGHT, quota).unwrap();
        for newcomer in 5_000..5_010 {
            let mut all = present.clone();
            all.extend(items([newcomer]));
            let after = spread(&all, NIGHT, quota).unwrap();
            let moved = before.iter().filter(|(item, minute)| after[item] != **minute).count();
            assert!(moved <= present.len() / 100, "tenant {newcomer} moves {moved}");
        }
    }

    #[test]
    fn a_window_that_is_too_small_is_said_to_be() {
        let error =
            spread(&items(0..51), NIGHT, Quota { at_once: 5, minutes_each: 30 }).expect_err("50 fit, less the lanes' delay");
        assert!(error.to_string().contains("51 items"), "{error}");
        assert!(spread(&items(0..1), NIGHT, Quota { at_once: 0, minutes_each: 1 }).is_err());
    }

    #[test]
    fn clocks_that_change_inside_the_window_neither_skip_nor_double_a_minute() {
        for (zone, day) in [
            ("Europe/Berlin", date(2026, 3, 29)),
            ("Europe/Berlin", date(2026, 10, 25)),
            ("Australia/Lord_Howe", date(2026, 4, 5)),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            let instants: BTreeSet<_> = (0..NIGHT.minutes).map(|minute| NIGHT.instant(&zone, day, minute).unwrap()).collect();
            assert_eq!(instants.len(), usize::from(NIGHT.minutes));
            let next = NIGHT.instant(&zone, day.tomorrow().unwrap(), 0).unwrap();
            assert!(instants.iter().all(|instant| *instant < next));
        }
    }
}
