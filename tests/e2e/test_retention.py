"""Retention carries its decisions out when the plan says so, and cannot let the last good recovery point go."""

import pytest
from console import APPROVES, ASKS, Refused
from deliver import tick
from planned import replanned, retained
from slots import last_slots

RULE = "exports-critical"
KEEP_AS_LITTLE_AS_POSSIBLE = {"keep_all_days": 0, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "min_proven": 1}
YEARS_LATER = "2031-03-01T05:00:00Z"


def test_what_no_rule_keeps_expires_once_and_the_newest_of_every_tenant_stays(stack, backed_up, console):
    stack.invoke("export", tick(RULE, last_slots(backed_up.plan, RULE, 2)[1]))
    before = available(console)
    with retained(stack, backed_up.plan, console, **KEEP_AS_LITTLE_AS_POSSIBLE, max_expire_per_run=1000, apply=True):
        answer = stack.invoke("retention", tick("retention-daily", YEARS_LATER))
        again = stack.invoke("retention", tick("retention-daily", YEARS_LATER))
    # What open requests of other tests name stays.
    assert answer["applied"] and answer["expired"] == answer["due"] - answer["named"] > 0, answer
    assert again["expired"] == 0, "a second delivery finds nothing left to expire"
    after = available(console)
    assert after < before and len(before - after) == answer["expired"]
    assert all(console.available(tenant.id) for tenant in backed_up.tenants), "the newest that would serve a restore stays"
    acts = [entry for entry in console.run("audit")["entries"] if entry["act"] == "point.expire"]
    for phase in ("intent", "outcome"):
        told = [entry["detail"] for entry in acts if entry["phase"] == phase]
        assert all(sum(point in detail for detail in told) == 1 for point in before - after), f"one {phase} for each"


def test_a_run_that_would_expire_more_than_it_may_stops_at_its_cap_and_says_so(stack, backed_up, console):
    stack.invoke("export", tick(RULE, last_slots(backed_up.plan, RULE, 30)[-1]))
    with retained(stack, backed_up.plan, console, **KEEP_AS_LITTLE_AS_POSSIBLE, max_expire_per_run=1, apply=True):
        answer = stack.invoke("retention", tick("retention-daily", "2031-03-02T05:00:00Z"))
    assert answer["expired"] == 1 and answer["capped"] > 0, answer
    alerts = [alert for alert in console.run("alerts")["alerts"] if alert["class"] == "retention_capped"]
    assert len(alerts) == 1 and alerts[0]["closed_at"] is None


def test_a_plan_that_lets_more_go_decides_only_once_two_people_have_agreed(stack, backed_up, console):
    def run(at: str) -> dict:
        return stack.invoke("retention", tick("retention-daily", at))

    shorter = {**backed_up.plan["retention"], "daily": 1, "apply": True}
    before = run("2034-03-01T05:00:00Z")
    assert before["waiting"] is None and before["applied"] is False
    with replanned(stack, backed_up.plan, retention=shorter):
        waits = run("2034-03-02T05:00:00Z")
        assert (waits["policy"], waits["applied"]) == (before["policy"], False), "the old policy goes on deciding"
        assert run("2034-03-02T05:00:00Z") == waits
        assert len(console.open_alerts("retention policy")) == 1, "and it is told once"
        shown = console.run("retention", "plan")["in_force"]["waiting"]
        assert shown["version"] == waits["waiting"] and len(shown["shortens"]) == 2
        console.run("retention", "approve", waits["waiting"])
        assert len(console.run("retention", "approve", waits["waiting"], user=ASKS)["waiting"]["agreed"]) == 1, "the same person"
        assert run("2034-03-03T05:00:00Z")["policy"] == before["policy"], "one is not enough"
        with pytest.raises(Refused) as refused:
            console.run("retention", "approve", before["policy"], user=APPROVES)
        assert waits["waiting"] in refused.value.said, "agreement is to what waits, by its version"
        console.run("retention", "approve", waits["waiting"], user=APPROVES)
        decides = run("2034-03-04T05:00:00Z")
        assert (decides["policy"], decides["waiting"], decides["applied"]) == (waits["waiting"], None, True)
        last = console.run("retention", "plan", "--tenant", "acme")["decided"][0]["last_run"]
        assert last["policy"] == decides["policy"], "a decision says which policy made it"
        assert last["terms"] == {"policy": shorter, "time_zone": backed_up.plan["time_zone"]}, "and what that policy said"
    assert not console.open_alerts("retention policy")
    assert run("2034-03-05T05:00:00Z")["policy"] == before["policy"], "what keeps more needs nobody"
    with pytest.raises(Refused) as nothing:
        console.run("retention", "approve", decides["policy"])
    assert "waits for" in nothing.value.said


def available(console) -> set[str]:
    """Every recovery point of a tenant that a restore could start from."""
    tenants = {tenant["tenant"] for tenant in console.run("tenants")["tenants"]}
    return {point["id"] for tenant in tenants for point in console.points(tenant) if point["state"] == "available"}
