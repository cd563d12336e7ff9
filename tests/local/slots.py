"""Instants: those that a rule of the plan stands for, worked out without Holdfast's code, and those that data can be of."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import psql
from wait import wait_until

# One moment for the whole session: a slot that comes due between two tests is neither's newest.
BEGAN = datetime.now(timezone.utc)
_given: set[str] = set()


def last_slots(plan: dict, rule_id: str, count: int = 1) -> list[datetime]:
    """The newest `count` scheduled instants of a rule that had passed when this began, the newest first, in UTC."""
    rule = next(rule for rule in plan["rules"] if rule["id"] == rule_id)
    zone = ZoneInfo(plan["time_zone"])
    local_now = BEGAN.astimezone(zone)
    schedule = rule["schedule"]
    if "hourly_at_minute" in schedule:
        latest = local_now.replace(minute=schedule["hourly_at_minute"], second=0, microsecond=0)
        candidates = (latest.astimezone(timezone.utc) - timedelta(hours=hours) for hours in range(count + 1))
    else:
        hour, minute = map(int, schedule["daily_at"].split(":"))
        today = local_now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        # Subtracting days from a zoned time keeps the wall clock, as the schedule does.
        candidates = ((today - timedelta(days=days)).astimezone(timezone.utc) for days in range(count + 1))
    return [slot for slot in candidates if slot <= local_now][:count]


def as_text(moment: datetime) -> str:
    """An instant as events spell it."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def an_instant(stack, instance: str) -> datetime:
    """A whole second, by the server's clock, after everything written so far and before everything to come."""
    server = stack.dsn(instance, "postgres")
    then = int(psql.value(server, "SELECT ceil(extract(epoch FROM clock_timestamp()))::bigint"))
    wait_until("that second has passed", lambda: psql.value(server, f"SELECT extract(epoch FROM clock_timestamp()) > {then} + 0.1") == "t", 10)
    return datetime.fromtimestamp(then, timezone.utc)


def unused_second() -> str:
    """The present second, which is later than every slot that was filled, so that what is made of it is the newest.

    None is given twice: an export can be done within the second in which it was asked for.
    """
    def unused() -> str | None:
        second = as_text(datetime.now(timezone.utc))
        return None if second in _given else second

    second = wait_until("a second has begun that no slot has", unused, 5)
    _given.add(second)
    return second
