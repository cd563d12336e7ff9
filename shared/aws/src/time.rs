//! Instants, from the SDK's type to ours and back.

use aws_smithy_types::DateTime;
use jiff::Timestamp;

/// The instant, or nothing if it lies outside the range of timestamps.
pub(crate) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

/// The instant as the SDK has it.
pub(crate) fn date_time(time: Timestamp) -> DateTime {
    DateTime::from_nanos(time.as_nanosecond()).expect("ours span less than theirs")
}
