//! Random lives of one tenant's recovery points.

use std::collections::BTreeMap;

use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, RunId,
    point::{Kind, Proof, RecoveryPoint},
    retention::Policy,
    slot::{Slot, Subject},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

/// Zones with every kind of clock change, and none.
pub(crate) const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "America/Santiago",
    "Pacific/Auckland",
    "Pacific/Kiritimati",
];

/// Something that happens. Points are meant by their place among those there are.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Time passes, and the slots that come due are filled: every `step_h` hours one, `count` of them.
    Captures { step_h: i64, count: u8 },
    /// A restore has a recovery point made for itself, under this rule.
    OfARestore { rule: &'static str },
    /// A slot fails.
    Fails,
    /// A slot of `ago_h` hours ago is filled only now.
    Late { ago_h: i64 },
    /// The event of a slot that is filled comes again.
    Again { which: u16 },
    /// A restore test of a point ends.
    Judged { which: u16, proven: bool },
    /// A hold is placed, for so long or until it is released, or taken away.
    Hold { which: u16, for_h: Option<i64> },
    /// The policy is another one from now on.
    Change(Policy),
    /// The clock that retention looks at is off by this much from now on.
    Clock { off_h: i64 },
    /// Time passes.
    Pause { days: i64 },
    /// Retention runs.
    Retention { may_expire: u32 },
}

#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) zone: &'static str,
    pub(crate) begins: Timestamp,
    pub(crate) policy: Policy,
    pub(crate) events: Vec<Event>,
}

pub(crate) fn any_policy() -> impl Strategy<Value = Policy> {
    ((0u32..6, 0u32..6, 0u32..5, 0u32..5, 0u32..4), 1u32..4).prop_map(
        |((keep_all_days, daily, weekly, monthly, yearly), min_proven)| Policy {
            keep_all_days,
            daily,
            weekly,
            monthly,
            yearly,
            min_proven,
            max_expire_per_run: 100,
            apply: true,
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (prop::sample::select(vec![1i64, 6, 24, 24, 24, 25, 168, 731]), 1u8..5)
            .prop_map(|(step_h, count)| Event::Captures { step_h, count }),
        1 => Just(Event::Fails),
        1 => (0i64..2_000).prop_map(|ago_h| Event::Late { ago_h }),
        1 => any::<u16>().prop_map(|which| Event::Again { which }),
        4 => (any::<u16>(), prop::bool::weighted(0.7)).prop_map(|(which, proven)| Event::Judged { which, proven }),
        1 => (any::<u16>(), prop::option::of(1i64..400)).prop_map(|(which, for_h)| Event::Hold { which, for_h }),
        1 => prop::sample::select(vec![Slot::BEFORE_RESTORE, Slot::POINT_IN_TIME]).prop_map(|rule| Event::OfARestore { rule }),
        1 => any_policy().prop_map(Event::Change),
        1 => (-48i64..=48).prop_map(|off_h| Event::Clock { off_h }),
        1 => (1i64..200).prop_map(|days| Event::Pause { days }),
        4 => prop_oneof![Just(u32::MAX), 0u32..6].prop_map(|may_expire| Event::Retention { may_expire }),
    ]
}

pub(crate) fn any_history() -> impl Strategy<Value = History> {
    // Around leap days, ends of years and of centuries that are no leap years, and anywhere in between.
    let near =
        ["2024-02-27T00:00:00Z", "2028-02-27T00:00:00Z", "2100-02-26T00:00:00Z", "2026-12-27T00:00:00Z", "2025-10-20T00:00:00Z"];
    let begins = (prop::sample::select(near.to_vec()), -60i64..60, 0i64..86_400).prop_map(|(near, days, second)| {
        near.parse::<Timestamp>().expect("an instant") + SignedDuration::from_secs(days * 86_400 + second)
    });
    (prop::sample::select(ZONES.to_vec()), begins, any_policy(), prop::collection::vec(any_event(), 1..40))
        .prop_map(|(zone, begins, policy, events)| History { zone, begins, policy, events })
}

/// One tenant's recovery points as they are after the events so far.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) zone: TimeZone,
    pub(crate) policy: Policy,
    pub(crate) points: BTreeMap<RecoveryPointId, RecoveryPoint>,
    true_now: Timestamp,
    off: SignedDuration,
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

impl World {
    pub(crate) fn new(history: &History) -> Self {
        let zone = TimeZone::get(history.zone).expect("a zone");
        let (policy, true_now) = (history.policy.clone(), history.begins);
        Self { zone, policy, points: BTreeMap::new(), true_now, off: SignedDuration::ZERO }
    }

    /// What retention takes for the present.
    pub(crate) fn now(&self) -> Timestamp {
        self.true_now + self.off
    }

    pub(crate) fn all(&self) -> Vec<RecoveryPoint> {
        self.points.values().cloned().collect()
    }

    /// What is available, as a planner would be asked to judge it.
    pub(crate) fn available(&self) -> Vec<&RecoveryPoint> {
        self.points.values().filter(|point| point.content().is_some()).collect()
    }

    pub(crate) fn proven(&self) -> usize {
        let counts = |point: &&&RecoveryPoint| matches!(point.proof, Proof::Proven { .. }) && point.rule != Slot::BEFORE_RESTORE;
        self.available().iter().filter(counts).count()
    }

    /// Everything but retention.
    pub(crate) fn happen(&mut self, event: &Event) {
        match event {
            Event::Captures { step_h, count } => {
                for _ in 0..*count {
                    self.true_now += hours(*step_h);
                    self.capture("daily", self.true_now, true);
                }
            }
            Event::Fails => {
                self.true_now += hours(24);
                self.capture("daily", self.true_now, false);
            }
            Event::Late { ago_h } => self.capture("daily", self.true_now - hours(*ago_h), true),
            Event::Again { which } => {
                if let Some(point) = self.pick(*which) {
                    self.capture(&point.rule, point.scheduled_time, true);
                }
            }
            Event::Judged { which, proven } => {
                let at = self.true_now;
                let proof =
                    if *proven { Proof::Proven { at, rto_ms: 1 } } else { Proof::Refuted { at, findings: vec!["rows".into()] } };
                if let Some(point) = self.pick(*which).and_then(|point| point.judge(proof).ok()) {
                    self.points.insert(point.id, point);
                }
            }
            Event::OfARestore { rule } => {
                self.true_now += hours(1);
                self.capture(rule, self.true_now, true);
            }
            Event::Hold { which, for_h } => {
                if let Some(mut point) = self.pick(*which) {
                    if point.holds.pop().is_none() {
                        let until = for_h.map(|for_h| self.true_now + hours(for_h));
                        let hold = json!({ "reason": "audit", "owner": "ana", "placed_at": self.true_now, "until": until });
                        point.holds.push(serde_json::from_value(hold).expect("a hold"));
                    }
                    self.points.insert(point.id, point);
                }
            }
            Event::Change(policy) => self.policy = policy.clone(),
            Event::Clock { off_h } => self.off = hours(*off_h),
            Event::Pause { days } => self.true_now += hours(days * 24),
            Event::Retention { .. } => {}
        }
    }

    fn pick(&self, which: u16) -> Option<RecoveryPoint> {
        let place = usize::from(which).checked_rem(self.points.len())?;
        self.points.values().nth(place).cloned()
    }

    fn capture(&mut self, rule: &str, scheduled_time: Timestamp, works: bool) {
        let subject = Subject::Tenant("acme".parse().expect("a tenant"));
        let slot = Slot { rule: rule.into(), scheduled_time, subject, kind: Kind::Database };
        let id = slot.recovery_point_id();
        let run = RunId::from_uuid(Uuid::from_u128(1));
        let begun = match self.points.get(&id) {
            None => RecoveryPoint::begin(&slot, run, self.true_now),
            // A slot that has its recovery point refuses another.
            Some(point) => match point.clone().retry(run, self.true_now) {
                Ok(point) => point,
                Err(_) => return,
            },
        };
        let ended = if works {
            let content = json!({
                "content": "export", "vault_tenant": "vt_00000000-0000-0000-0000-000000000001", "sequence": 1, "link_sha256": "",
                "rows": 0, "plaintext_bytes": 0, "stored_bytes": 0
            });
            begun.publish(serde_json::from_value(content).expect("content"), self.true_now)
        } else {
            begun.fail(&ErrorReport::new(ErrorCode::DeadlineNear, "m"), self.true_now)
        };
        self.points.insert(id, ended.expect("a run ends"));
    }
}
