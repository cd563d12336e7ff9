"""What was promised of a tenant's backups is measured: what is not kept raises one alert, is shown, and is over when it is kept again."""

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from deliver import tick
from forged import Row
from planned import replanned
from slots import as_text

NOW = datetime.now(timezone.utc)
TENANT = "kestrelair"
UNKEPT = {"proof_old", "rto_exceeded"}


@pytest.fixture
def newest(stack, backed_up, console) -> Row:
    """The record of the tenant's newest recovery point, which is afterwards what it was."""
    point = console.newest(TENANT)
    time = datetime.fromisoformat(point["scheduled_time"]).astimezone(timezone.utc)
    row = Row(stack, point["id"], f"POINTS#tenant#{TENANT}", f"database#{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond * 1000:09}Z#{point['id']}")
    before = row.read()
    yield row
    row.write(before)


def promised(console) -> dict:
    """What `holdfast status` says of the tenant."""
    (found,) = [one for one in console.run("status")["objectives"] if one["tenant"] == TENANT]
    return found


def proven(at: datetime, minutes: int) -> dict:
    """A proof of that time, of a restore that took so long."""
    return {"verdict": "proven", "at": as_text(at), "rto_ms": minutes * 60_000}


def classes(console) -> set[str]:
    return {alert["class"] for alert in console.open_alerts(f"tenant {TENANT}")}


def test_a_stale_proof_and_a_slow_restore_are_told_once_shown_and_closed(stack, backed_up, newest, console, inbox):
    rules = [{**rule, "rto_minutes": 30} if rule["kind"] == "export" else rule for rule in backed_up.plan["rules"]]
    with replanned(stack, backed_up.plan, rules=rules):
        newest.change(proof=proven(NOW - timedelta(hours=49), 31))
        inbox.new()
        for _ in range(2):
            assert stack.invoke("reconcile", tick("reconcile", NOW))["unkept"] == 2
        told = [alert for alert in inbox.new() if f"tenant {TENANT}" in str(alert["message"])]
        assert {alert["message"]["class"] for alert in told} == UNKEPT and len(told) == 2, told
        assert classes(console) == UNKEPT
        found = promised(console)
        assert (found["proof"]["met"], found["rto"]) == (False, {"minutes": 31, "at_most_minutes": 30, "met": False})
        assert found["rpo"]["met"] and found["rpo"]["minutes"] < found["rpo"]["at_most_minutes"], found
        table = console.table("status")
        (line,) = [line for line in table.splitlines() if line.startswith(TENANT)]
        assert line.count("NOT KEPT") == 2 and table.splitlines().index(line) < len(table.splitlines()) - 5, "the unkept come first"

        newest.change(proof=proven(NOW, 29))
        assert stack.invoke("reconcile", tick("reconcile", NOW))["unkept"] == 0
        assert not classes(console)
        assert {promised(console)[name]["met"] for name in ("rpo", "proof", "rto")} == {True}


def test_a_byte_that_nobody_read_for_too_long_is_told_once_shown_and_over_when_it_is_read(stack, backed_up, console, inbox):
    inbox.new()
    with left_unread(stack, NOW - timedelta(days=8, minutes=1)) as row:
        for _ in range(2):
            assert stack.invoke("reconcile", tick("reconcile", NOW))["unkept"] == 1
        (told,) = [alert for alert in inbox.new() if f"tenant {TENANT}" in str(alert["message"])]
        assert told["message"]["class"] == "reading_old" and classes(console) == {"reading_old"}
        reading = promised(console)["reading"]
        assert not reading["met"] and reading["minutes"] > reading["at_most_minutes"] == 8 * 24 * 60, reading
        (line,) = [line for line in console.table("status").splitlines() if line.startswith(TENANT)]
        assert line.count("NOT KEPT") == 1, line

        row.change(unread_since=as_text(NOW - timedelta(days=6)))
        assert stack.invoke("reconcile", tick("reconcile", NOW))["unkept"] == 0
        assert not classes(console) and promised(console)["reading"]["met"]


@contextlib.contextmanager
def left_unread(stack, since: datetime) -> Iterator[Row]:
    """What a round of checks would have recorded of the tenant; afterwards it is what it was."""
    row = Row(stack, "", f"READING#tenant#{TENANT}", "reading")
    with row.forged({"subject": {"tenant": TENANT}, "unread_since": as_text(since)}):
        yield row


def test_a_tenant_that_is_new_is_not_alarmed_about(backed_up, console):
    others = [one for one in console.run("status")["objectives"] if one["tenant"] != TENANT]
    assert len(others) > 10
    # Everything is fresh: a proof is not asked for yet, or was made a moment ago.
    assert not [one for one in others if one["proof"]["met"] is False]
