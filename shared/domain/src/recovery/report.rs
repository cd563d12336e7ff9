//! How a recovery ended: measured, and judged.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Progress, RecoveredTenant, Recovery, Stage, Work, ms};

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every tenant is back: proven equal to its recovery point, or counted as its instance has it.
    Proven,
    /// An instance or a tenant is not.
    FailedInPart,
}

impl Outcome {
    /// The outcome's name, as people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::FailedInPart => "failed in part",
        }
    }
}

/// What became of the tenants, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// All of them.
    pub tenants: u32,
    /// Equal to their recovery points.
    pub proven: u32,
    /// As their instances' snapshots have them.
    pub as_of_snapshot: u32,
    /// As their instances were at the instant that was asked for.
    #[serde(default)]
    pub as_of_instant: u32,
    /// No customers any more.
    pub left_out: u32,
    /// Not back.
    pub failed: u32,
    /// Rows of all that are back.
    pub rows: u64,
}

/// How a recovery ended, with the times that it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How.
    pub outcome: Outcome,
    /// When.
    pub finished_at: Timestamp,
    /// From the beginning of the work to its end, in milliseconds.
    pub rto_ms: i64,
    /// From the request to the end, in milliseconds: people's time included.
    pub since_request_ms: i64,
    /// From the beginning until every instance was settled, in milliseconds.
    pub instances_ms: i64,
    /// From there until the platform's own databases were back and the register was read, in milliseconds.
    pub platform_ms: i64,
    /// From there until the last tenant was settled, in milliseconds.
    pub tenants_ms: i64,
    /// The most that anything which is back has lost, in milliseconds; none if nothing is back.
    pub rpo_ms: Option<i64>,
    /// What became of the tenants.
    pub tally: Tally,
}

impl Report {
    /// Judges what became of the instances and the tenants. One that has no end yet counts as not back.
    #[must_use]
    pub fn of(recovery: &Recovery, work: &Work, tenants: &[RecoveredTenant], now: Timestamp) -> Self {
        let mut tally = Tally { tenants: u32::try_from(tenants.len()).unwrap_or(u32::MAX), ..Tally::default() };
        let mut rpo_ms = None;
        for tenant in tenants {
            let (count, rows) = match &tenant.progress {
                Progress::Proven { rows, .. } => (&mut tally.proven, *rows),
                Progress::AsOfSnapshot { rows, .. } => (&mut tally.as_of_snapshot, *rows),
                Progress::AsOfInstant { rows, .. } => (&mut tally.as_of_instant, *rows),
                Progress::LeftOut { .. } => (&mut tally.left_out, 0),
                Progress::Waiting | Progress::Restoring { .. } | Progress::Failed { .. } => (&mut tally.failed, 0),
            };
            *count += 1;
            tally.rows += rows;
            if matches!(tenant.progress, Progress::Proven { .. } | Progress::AsOfSnapshot { .. } | Progress::AsOfInstant { .. }) {
                rpo_ms = rpo_ms.max(tenant.plan.from.as_of().map(|as_of| recovery.rpo_ms(as_of)));
            }
        }
        let all_made = work.instances.iter().all(|made| matches!(made.stage, Stage::Ready { .. }));
        let outcome = if tally.failed == 0 && all_made { Outcome::Proven } else { Outcome::FailedInPart };
        let instances_at = work.instances_at.unwrap_or(now);
        let platform_at = work.platform_at.unwrap_or(now);
        Self {
            outcome,
            finished_at: now,
            rto_ms: ms(now.duration_since(work.started_at)),
            since_request_ms: ms(now.duration_since(recovery.requested_at)),
            instances_ms: ms(instances_at.duration_since(work.started_at)),
            platform_ms: ms(platform_at.duration_since(instances_at)),
            tenants_ms: ms(now.duration_since(platform_at)),
            rpo_ms,
            tally,
        }
    }
}
