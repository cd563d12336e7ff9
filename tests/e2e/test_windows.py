"""A rule with an off-peak window begins each tenant in a minute of its own; the slot is the rule's all the same, and is filled once."""

from datetime import datetime, timedelta, timezone

from deliver import tick
from planned import replanned
from slots import as_text
from wait import wait_until

RULE = "exports-standard"
MINUTES = 60


def spread(plan: dict, begins: datetime, minutes: int) -> list[dict]:
    """The plan's rules, this one spread over a window that began then."""
    changed = {"schedule": {"daily_at": f"{begins:%H:%M}"}, "window": {"minutes": minutes, "at_once": 4, "minutes_each": 5}}
    return [{**rule, **changed} if rule["id"] == RULE else rule for rule in plan["rules"]]


def made_of(console, tenants, slot: str) -> dict[str, list[str]]:
    """The available recovery points of a slot, by tenant."""
    found = {tenant.id: [one["id"] for one in console.points(tenant.id) if one["scheduled_time"] == slot] for tenant in tenants}
    return {tenant: points for tenant, points in found.items() if points}


def test_tenants_begin_in_their_minutes_and_each_once(stack, backed_up, console):
    # Somebody's minute may come while the others are read.
    now = wait_until("a minute is young", lambda: (moment if (moment := datetime.now(timezone.utc)).second < 30 else None), 60)
    # In UTC, where every time of day is there every day.
    begins = (now - timedelta(minutes=MINUTES // 2)).replace(second=0, microsecond=0)
    slot, follow = as_text(begins), tick("exports-follow", now)
    standard = [tenant for tenant in backed_up.tenants if tenant.criticality == "standard"]
    assert len(standard) > 4
    with replanned(stack, backed_up.plan, time_zone="UTC", rules=spread(backed_up.plan, begins, MINUTES)):
        answer = stack.invoke("export", tick(RULE, begins))
        first = made_of(console, standard, slot)
        assert answer["items"] == len(answer["made"]) == sum(map(len, first.values())), answer
        assert 0 < len(first) < len(standard), f"in the middle of the window some have begun, and not all: {sorted(first)}"
        assert stack.invoke("export", follow)["windows"]["items"] == 0, "nobody else's minute has come, and nothing is made twice"
        pooled = {tenant.id for tenant in standard if tenant.layout == "pool"}
        assert pooled <= first.keys() or not pooled & first.keys(), "a pool is read at once"

    with replanned(stack, backed_up.plan, time_zone="UTC", rules=spread(backed_up.plan, begins, MINUTES // 2)):
        rest = stack.invoke("export", follow)["windows"]
        every = made_of(console, standard, slot)
        assert every.keys() == {tenant.id for tenant in standard}, "at its end everybody has"
        assert all(every[tenant] == points for tenant, points in first.items()), "and who had before has no other"
        assert sorted(rest["made"]) == sorted(point for tenant in every.keys() - first.keys() for point in every[tenant])
        assert stack.invoke("export", follow)["windows"]["items"] == 0
