//! When a rule is due: the same answer for the same instant, whatever the clock did in between.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, Time},
    tz::{AmbiguousOffset, TimeZone},
};
use serde::{Deserialize, Serialize};

/// How often a rule is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Once a day at this local time, `HH:MM`.
    #[serde(with = "hour_minute")]
    DailyAt(Time),
    /// Once an hour at this minute, 0 to 59.
    HourlyAtMinute(i8),
}

impl Schedule {
    /// The latest instant at or before `now` at which the rule was due.
    ///
    /// A local time that a clock change skips is taken by the clock before the change, so 02:15 becomes 03:15; one that happens twice counts
    /// the first time only. So every local day has exactly one daily slot. An hourly slot is whenever the local clock
    /// shows the minute: every hour of absolute time, but where a clock changes by half an hour.
    #[must_use]
    pub fn last_due(self, zone: &TimeZone, now: Timestamp) -> Timestamp {
        match self {
            Self::DailyAt(time) => {
                let mut date = now.to_zoned(zone.clone()).date();
                loop {
                    // `compatible` disambiguation: later side of a gap, earlier side of a fold.
                    let due = zone.to_ambiguous_zoned(date.to_datetime(time)).compatible().map(|zoned| zoned.timestamp());
                    match (due, date.yesterday()) {
                        (Ok(due), _) if due <= now => return due,
                        (_, Ok(yesterday)) => date = yesterday,
                        // The first day that the calendar knows: nothing was ever due.
                        (_, Err(_)) => return Timestamp::MIN,
                    }
                }
            }
            Self::HourlyAtMinute(minute) => {
                let zoned = now.to_zoned(zone.clone());
                let past_minute = i64::from(zoned.minute()) - i64::from(minute);
                let since = past_minute.rem_euclid(60) * 60 + i64::from(zoned.second());
                let whole_seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
                let due = whole_seconds.checked_sub(SignedDuration::from_secs(since)).unwrap_or(Timestamp::MIN);
                if due.to_zoned(zone.clone()).minute() == minute {
                    return due;
                }
                // By the clock of that time it was another minute: look from just before the change, where that clock ends.
                match zone
                    .preceding(now)
                    .next()
                    .and_then(|change| change.timestamp().checked_sub(SignedDuration::from_nanos(1)).ok())
                {
                    Some(before) if before >= due => self.last_due(zone, before),
                    _ => due,
                }
            }
        }
    }

    /// The first local day between 2024 and 2044 on which a clock change skips this schedule's time, if there is one.
    ///
    /// EventBridge Scheduler does not run such a slot at all (its user guide, "Daylight saving time"), so a plan with one loses a backup a year.
    #[must_use]
    pub fn skipped_day(self, zone: &TimeZone) -> Option<Date> {
        let Self::DailyAt(time) = self else {
            return None;
        };
        let (from, until) = (Timestamp::constant(1_704_067_200, 0), Timestamp::constant(2_335_219_200, 0));
        let changes = zone.following(from).take_while(|change| change.timestamp() < until);
        // A gap lies on the local day before the change, or on the one after if the clock jumps over midnight.
        let days = changes.flat_map(|change| {
            let before =
                change.timestamp().saturating_sub(SignedDuration::from_secs(1)).unwrap_or(from).to_zoned(zone.clone()).date();
            [before, change.timestamp().to_zoned(zone.clone()).date()]
        });
        let skips =
            |day: &Date| matches!(zone.to_ambiguous_timestamp(day.to_datetime(time)).offset(), AmbiguousOffset::Gap { .. });
        days.into_iter().find(skips)
    }
}

mod hour_minute {
    use jiff::civil::Time;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time.strftime("%H:%M").to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        Time::strptime("%H:%M", &text)
            .map_err(|_| D::Error::custom(format!("`{text}` is not a time of day: use HH:MM, such as 02:15")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_daily(zone: &str, at: &str, now: &str, expected: &str) {
        let schedule: Schedule = serde_json::from_value(serde_json::json!({ "daily_at": at })).unwrap();
        let due = schedule.last_due(&TimeZone::get(zone).unwrap(), now.parse().unwrap());
        assert_eq!(due, expected.parse().unwrap(), "{zone} {at} seen at {now}");
    }

    #[test]
    fn a_daily_slot_is_todays_once_it_is_due_and_yesterdays_before() {
        check_daily("Europe/Berlin", "02:15", "2026-11-23T01:15:00Z", "2026-11-23T01:15:00Z");
        check_daily("Europe/Berlin", "02:15", "2026-11-23T01:14:59Z", "2026-11-22T01:15:00Z");
    }

    #[test]
    fn a_clock_change_neither_skips_nor_doubles_a_daily_slot() {
        // Spring: 02:15 does not exist on 29 March 2026 in Berlin; the slot falls to 03:15 summer time.
        check_daily("Europe/Berlin", "02:15", "2026-03-29T12:00:00Z", "2026-03-29T01:15:00Z");
        // Autumn: 02:15 happens twice on 25 October 2026; only the first counts.
        check_daily("Europe/Berlin", "02:15", "2026-10-25T12:00:00Z", "2026-10-25T00:15:00Z");
    }

    #[test]
    fn a_year_of_daily_slots_is_one_per_local_day() {
        for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"] {
            let zone = TimeZone::get(zone).unwrap();
            let schedule = Schedule::DailyAt(jiff::civil::time(2, 15, 0, 0));
            let mut slots = std::collections::BTreeSet::new();
            let mut now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
            let end: Timestamp = "2027-01-02T00:00:00Z".parse().unwrap();
            while now < end {
                slots.insert(schedule.last_due(&zone, now));
                now += SignedDuration::from_mins(15);
            }
            let days: std::collections::BTreeSet<_> = slots.iter().map(|slot| slot.to_zoned(zone.clone()).date()).collect();
            assert_eq!(slots.len(), days.len(), "two slots on one day in {zone:?}");
            assert!((365..=367).contains(&slots.len()), "{} slots in {zone:?}", slots.len());
        }
    }

    #[test]
    fn a_time_that_a_clock_change_skips_is_found_with_its_day() {
        for (zone, time, expected) in [
            ("Europe/Berlin", (2, 15), Some("2024-03-31")),
            ("Europe/Berlin", (3, 15), None),
            ("America/New_York", (2, 30), Some("2024-03-10")),
            ("America/Santiago", (0, 30), Some("2024-09-08")),
            ("Asia/Kolkata", (2, 15), None),
        ] {
            let schedule = Schedule::DailyAt(jiff::civil::time(time.0, time.1, 0, 0));
            let day = schedule.skipped_day(&TimeZone::get(zone).unwrap()).map(|day| day.to_string());
            assert_eq!(day.as_deref(), expected, "{zone} {time:?}");
        }
        assert_eq!(Schedule::HourlyAtMinute(5).skipped_day(&TimeZone::get("Europe/Berlin").unwrap()), None);
    }

    #[test]
    fn an_hourly_slot_is_the_last_passing_of_its_minute() {
        let zone = TimeZone::UTC;
        let schedule = Schedule::HourlyAtMinute(5);
        for (now, expected) in
            [("2026-11-23T10:05:00Z", "2026-11-23T10:05:00Z"), ("2026-11-23T10:04:59.5Z", "2026-11-23T09:05:00Z")]
        {
            assert_eq!(schedule.last_due(&zone, now.parse().unwrap()), expected.parse().unwrap(), "{now}");
        }
    }
}
