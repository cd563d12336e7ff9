//! The audit trail: of one UTC day or of several, whole or only what concerns one person, thing, act or request. Nothing here changes anything.

use catalog::audit::AuditEntry;
use domain::{ErasureId, ErrorCode, ErrorReport, RecoveryId, RequestId, RunId, caps};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::look::cut;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// An instant of the one day that is wanted.
    day: Option<Timestamp>,
    /// Nothing before this.
    since: Option<Timestamp>,
    /// Nothing after this.
    until: Option<Timestamp>,
    /// Only what names this: a part of the subject or detail.
    about: Option<String>,
    /// Only what these did: a part of the actor.
    actor: Option<String>,
    /// Only this act, such as `restore.execute`, or its kind, such as `restore`.
    act: Option<String>,
    /// Only what names this id of a request, recovery or run, from when it was given.
    story: Option<String>,
}

/// The entries that were asked for, in order.
pub(crate) async fn audit(services: &Services, asked: Asked) -> Result<Value, ErrorReport> {
    let (since, until) = asked.span(services.clock.now())?;
    let (mut found, mut left) = (Vec::new(), caps::AUDIT_READ_MAX);
    let mut truncated = false;
    for day in days(since, until) {
        let entries = services.catalog.audit_of(day, left + 1).await?;
        truncated |= entries.len() > left;
        left = left.saturating_sub(entries.len());
        found.extend(entries.into_iter().filter(|entry| (since..=until).contains(&entry.at) && asked.wants(entry)));
        if truncated {
            break;
        }
    }
    truncated |= cut(&mut found, caps::AUDIT_LISTED_MAX);
    Ok(json!({ "entries": found, "since": since, "until": until, "truncated": truncated }))
}

impl Asked {
    /// The span that is wanted: a day, or from an instant on; a request's story begins when its id was given.
    fn span(&self, now: Timestamp) -> Result<(Timestamp, Timestamp), ErrorReport> {
        let malformed = |message: String| ErrorReport::new(ErrorCode::MalformedEvent, message);
        if self.day.is_some() && (self.since.is_some() || self.until.is_some()) {
            return Err(malformed("name either a day or a span, not both".to_owned()));
        }
        let given = self.story.as_deref().map(given_at).transpose().map_err(malformed)?.flatten();
        let day_of = self.day.or(self.until).unwrap_or(now);
        let (begin, end) = day(day_of);
        let since = self.since.or(given.filter(|_| self.day.is_none())).unwrap_or(begin);
        let until = self.until.unwrap_or(if self.day.is_some() { end } else { now.max(since) });
        if until < since {
            return Err(malformed(format!("the span ends at {until}, before it begins at {since}")));
        }
        // A story of long ago is told from its beginning, and the answer says where it stops.
        let bound = SignedDuration::from_hours(24 * i64::try_from(caps::AUDIT_DAYS_MAX - 1).unwrap_or(0));
        let latest = since.saturating_add(bound).map_err(|error| malformed(error.to_string()))?;
        if until > latest && given.is_none() {
            let message = format!(
                "the span from {since} to {until} is too long for one answer: ask for at most {} days",
                caps::AUDIT_DAYS_MAX - 1
            );
            return Err(malformed(message));
        }
        Ok((since, until.min(latest)))
    }

    fn wants(&self, entry: &AuditEntry) -> bool {
        let names = |wanted: &String| entry.subject.contains(wanted.as_str()) || entry.detail.contains(wanted.as_str());
        let is_act = |wanted: &String| {
            entry.act.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.about.as_ref().is_none_or(names)
            && self.story.as_ref().is_none_or(names)
            && self.actor.as_ref().is_none_or(|wanted| entry.actor.contains(wanted.as_str()))
            && self.act.as_ref().is_none_or(is_act)
    }
}

/// When an id was given, as far as it says: ids that sort by age begin with their time.
fn given_at(id: &str) -> Result<Option<Timestamp>, String> {
    let given = (id.parse::<RequestId>().map(RequestId::drawn_at).ok())
        .or_else(|| id.parse::<RecoveryId>().map(RecoveryId::drawn_at).ok())
        .or_else(|| id.parse::<ErasureId>().map(ErasureId::drawn_at).ok())
        .or_else(|| id.parse::<RunId>().map(RunId::drawn_at).ok());
    given.ok_or_else(|| format!("`{id}` is no request: expected an id that begins with rq_, rc_, er_ or run_"))
}

/// The beginning and the last instant of a UTC day.
fn day(at: Timestamp) -> (Timestamp, Timestamp) {
    let zoned = at.to_zoned(TimeZone::UTC);
    let begin = zoned.start_of_day().map_or(at, |begin| begin.timestamp());
    let end = zoned.end_of_day().map_or(at, |end| end.timestamp());
    (begin, end)
}

/// An instant of each UTC day of a span.
fn days(since: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let mut days = vec![since];
    while let Some(next) = days.last().and_then(|last| day(*last).1.checked_add(SignedDuration::from_nanos(1)).ok()) {
        if next > until || days.len() >= caps::AUDIT_DAYS_MAX {
            break;
        }
        days.push(next);
    }
    days
}

#[cfg(test)]
mod tests {
    use catalog::audit::Phase;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const NOW: &str = "2026-11-23T12:00:00Z";
    /// Given on 2024-10-18.
    const REQUEST: &str = "rq_0192a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b";

    fn span(asked: Asked) -> (String, String) {
        let (since, until) = asked.span(at(NOW)).unwrap();
        (since.to_string(), until.to_string())
    }

    #[test]
    fn a_day_is_whole_a_span_is_what_it_says_and_a_request_begins_with_its_id() {
        let (since, until) = span(Asked { day: Some(at("2026-11-20T08:00:00Z")), ..Asked::default() });
        assert!(since == "2026-11-20T00:00:00Z" && until.starts_with("2026-11-20T23:59:59"), "{since} {until}");
        assert_eq!(span(Asked::default()), ("2026-11-23T00:00:00Z".to_owned(), NOW.to_owned()));
        let since = Some(at("2026-11-21T08:00:00Z"));
        assert_eq!(span(Asked { since, ..Asked::default() }), ("2026-11-21T08:00:00Z".to_owned(), NOW.to_owned()));
        let (since, until) = span(Asked { story: Some(REQUEST.into()), ..Asked::default() });
        assert!(since.starts_with("2024-10-18T") && until.starts_with("2024-11-17T"), "{since} {until}");
    }

    #[test]
    fn a_span_that_is_backwards_too_long_or_of_nothing_is_refused() {
        let refused = |asked: Asked| asked.span(at(NOW)).unwrap_err().message;
        let backwards = Asked { since: Some(at(NOW)), until: Some(at("2026-11-01T00:00:00Z")), ..Asked::default() };
        assert!(refused(backwards).contains("before it begins"));
        assert!(refused(Asked { since: Some(at("2026-01-01T00:00:00Z")), ..Asked::default() }).contains("at most 30 days"));
        assert!(refused(Asked { story: Some("acme".into()), ..Asked::default() }).contains("rq_"));
        assert!(refused(Asked { day: Some(at(NOW)), since: Some(at(NOW)), ..Asked::default() }).contains("not both"));
    }

    #[test]
    fn every_day_of_a_span_is_looked_through_once() {
        let looked = |since: &str, until: &str| days(at(since), at(until)).len();
        assert_eq!(looked("2026-11-20T23:59:59Z", "2026-11-20T23:59:59Z"), 1);
        assert_eq!(looked("2026-11-20T23:59:59Z", "2026-11-22T00:00:00Z"), 3);
        assert_eq!(looked("2026-01-01T00:00:00Z", NOW), caps::AUDIT_DAYS_MAX);
    }

    #[test]
    fn entries_are_chosen_by_all_that_was_asked() {
        let entry = AuditEntry {
            id: "run_00000000-0000-0000-0000-000000000001".parse().unwrap(),
            at: at(NOW),
            actor: "arn:aws:iam::1:user/ana".into(),
            act: "restore.request".into(),
            subject: "acme".into(),
            phase: Phase::Intent,
            detail: format!("{REQUEST} from rp_1"),
        };
        let text = |text: &str| Some(text.to_owned());
        for (asked, wanted) in [
            (Asked::default(), true),
            (Asked { story: text(REQUEST), ..Asked::default() }, true),
            (Asked { act: text("restore"), actor: text("user/ana"), ..Asked::default() }, true),
            (Asked { act: text("restore.req"), ..Asked::default() }, false),
            (Asked { act: text("restore"), actor: text("user/ben"), ..Asked::default() }, false),
            (Asked { about: text("borealis"), ..Asked::default() }, false),
        ] {
            assert_eq!(asked.wants(&entry), wanted, "{asked:?}");
        }
    }
}
