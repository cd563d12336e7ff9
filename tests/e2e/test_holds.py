"""A legal hold keeps a recovery point whatever the policy says, until it is released; the audit trail says who held it and why."""

import itertools
import json

import pytest
from console import APPROVES, ASKS, Refused
from deliver import export_item, tick
from planned import retained

KEEP_AS_LITTLE_AS_POSSIBLE = {"keep_all_days": 0, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "min_proven": 1,
                              "max_expire_per_run": 1000, "apply": True}
TENANT, OTHER = "acme", "borealis"
REASON = "case 4711"


# Each test has a slot of its own, far enough back that the platform's newest points stay the newest.
SLOTS = (f"2026-10-{day:02}T02:00:00Z" for day in itertools.count(1))


@pytest.fixture
def point(stack, backed_up, console) -> str:
    """A recovery point that retention would let go: an older one than the newest."""
    slot = next(SLOTS)
    stack.invoke("export", export_item(TENANT, slot))
    return next(found["id"] for found in console.available(TENANT) if found["scheduled_time"] == slot)


def run_retention(stack, backed_up, console, at: str) -> dict:
    with retained(stack, backed_up.plan, console, **KEEP_AS_LITTLE_AS_POSSIBLE):
        return stack.invoke("retention", tick("retention-daily", at))


def state(console, point: str) -> str:
    return next(found["state"] for found in console.points(TENANT) if found["id"] == point)


def test_a_held_recovery_point_outlives_retention_and_a_released_one_does_not(stack, backed_up, console, point):
    placed = console.run("hold", "place", "--tenant", TENANT, "--point", point, "--reason", REASON)
    assert (placed["changed"], placed["points"]) == (1, [point])
    again = console.run("hold", "place", "--tenant", TENANT, "--point", point, "--reason", REASON, user=APPROVES)
    assert (again["changed"], again["already"]) == (0, 1), "the same hold twice is one"

    run_retention(stack, backed_up, console, "2032-03-01T05:00:00Z")
    assert state(console, point) == "available"
    decided = console.run("retention", "plan", "--tenant", TENANT, "--explain")["decided"]
    reasons = [decision["reasons"] for record in decided for decision in record["decisions"] if decision["point"] == point]
    assert reasons and all("held" in why for why in reasons), reasons
    (hold,) = [hold for hold in console.run("hold", "list")["holds"] if point in hold["points"]]
    assert (hold["tenant"], hold["reason"], hold["until"], hold["over"]) == (TENANT, REASON, None, False)
    assert hold["owner"].endswith(f"user/{ASKS}"), "who placed it comes from the signature"

    console.run("hold", "release", "--tenant", TENANT, "--hold", REASON, "--reason", "the case is closed", user=APPROVES)
    run_retention(stack, backed_up, console, "2032-03-02T05:00:00Z")
    assert state(console, point) == "expired"

    with pytest.raises(Refused) as refused:
        console.run("hold", "place", "--tenant", TENANT, "--point", point, "--reason", REASON)
    assert refused.value.status == 4 and "is expired, so it cannot be held" in refused.value.said

    story = console.run("audit", "--act", "hold", "--about", point)["entries"]
    assert [entry["phase"] for entry in story].count("intent") == [entry["phase"] for entry in story].count("outcome")
    assert REASON in story[0]["detail"] and story[0]["actor"].endswith(f"user/{ASKS}")
    released = console.run("audit", "--act", "hold.release", "--actor", APPROVES)["entries"]
    assert any("the case is closed" in entry["detail"] for entry in released)


def test_a_hold_until_an_instant_ends_by_itself_but_not_because_a_tick_says_so(stack, backed_up, console, point):
    until = "2031-01-01T00:00:00Z"
    console.run("hold", "place", "--tenant", TENANT, "--point", point, "--reason", "audit", "--until", until)
    run_retention(stack, backed_up, console, "2033-03-01T05:00:00Z")
    assert state(console, point) == "available", "by the clock it is not over"
    with pytest.raises(Refused, match="for longer"):
        console.run("hold", "place", "--tenant", TENANT, "--point", point, "--reason", "audit", "--until", "2030-01-01T00:00:00Z")
    with pytest.raises(Refused, match="is past"):
        console.run("hold", "place", "--tenant", TENANT, "--point", point, "--reason", "late", "--until", "2020-01-01T00:00:00Z")
    console.run("hold", "release", "--tenant", TENANT, "--point", point, "--reason", "enough")
    with pytest.raises(Refused) as refused:
        console.run("hold", "release", "--tenant", TENANT, "--point", point, "--reason", "enough")
    assert refused.value.status == 4 and "no hold" in refused.value.said


def test_a_tenant_is_held_whole_and_only_its_own_recovery_points_are(stack, backed_up, console, point):
    available = {found["id"] for found in console.points(TENANT) if found["state"] == "available"}
    placed = console.run("hold", "place", "--tenant", TENANT, "--reason", "everything")
    assert placed["changed"] == len(available) and placed["left"] == placed["refused"] == 0
    assert {found["id"] for found in console.points(TENANT) if found["held"]} == available
    assert not any(found["held"] for found in console.points(OTHER))
    with pytest.raises(Refused) as anothers:
        console.run("hold", "place", "--tenant", OTHER, "--point", point, "--reason", "not its own")
    assert anothers.value.status == 4 and point in anothers.value.said
    with pytest.raises(Refused) as unnamed:
        console.run("hold", "release", "--tenant", TENANT, "--reason", "which one?")
    assert unnamed.value.status == 2
    released = console.run("hold", "release", "--tenant", TENANT, "--hold", "everything", "--reason", "done")
    assert released["changed"] == len(available)
    assert not [hold for hold in console.run("hold", "list", "--tenant", TENANT)["holds"] if hold["reason"] == "everything"]
    with pytest.raises(Refused) as gone:
        console.run("hold", "release", "--tenant", TENANT, "--hold", "everything", "--reason", "done")
    assert json.loads(gone.value.said)["error"]["code"] == "UnknownHold"
