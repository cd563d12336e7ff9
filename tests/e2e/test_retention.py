"""Retention carries its decisions out when the plan says so, and cannot let the last good recovery point go."""

from deliver import tick
from planned import replanned
from slots import last_slots

RULE = "exports-critical"
KEEP_AS_LITTLE_AS_POSSIBLE = {"keep_all_days": 0, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "min_proven": 1}
YEARS_LATER = "2031-03-01T05:00:00Z"


def test_what_no_rule_keeps_expires_once_and_the_newest_of_every_tenant_stays(stack, backed_up, console):
    stack.invoke("export", tick(RULE, last_slots(backed_up.plan, RULE, 2)[1]))
    before = available(console)
    with replanned(stack, backed_up.plan, retention={**KEEP_AS_LITTLE_AS_POSSIBLE, "max_expire_per_run": 1000, "apply": True}):
        answer = stack.invoke("retention", tick("retention-daily", YEARS_LATER))
        again = stack.invoke("retention", tick("retention-daily", YEARS_LATER))
    assert answer["applied"] and answer["expired"] == answer["due"] > 0, answer
    assert again["expired"] == 0, "a second delivery finds nothing left to expire"
    after = available(console)
    assert after < before and len(before - after) == answer["expired"]
    assert all(console.available(tenant.id) for tenant in backed_up.tenants), "the newest that would serve a restore stays"
    acts = [entry for entry in console.run("audit")["entries"] if entry["act"] == "point.expire"]
    assert [entry["phase"] for entry in acts].count("intent") == [entry["phase"] for entry in acts].count("outcome") == answer["expired"]


def test_a_run_that_would_expire_more_than_it_may_stops_at_its_cap_and_says_so(stack, backed_up, console):
    stack.invoke("export", tick(RULE, last_slots(backed_up.plan, RULE, 30)[-1]))
    with replanned(stack, backed_up.plan, retention={**KEEP_AS_LITTLE_AS_POSSIBLE, "max_expire_per_run": 1, "apply": True}):
        answer = stack.invoke("retention", tick("retention-daily", "2031-03-02T05:00:00Z"))
    assert answer["expired"] == 1 and answer["capped"] > 0, answer
    alerts = [alert for alert in console.run("alerts")["alerts"] if alert["class"] == "retention_capped"]
    assert len(alerts) == 1 and alerts[0]["closed_at"] is None


def available(console) -> set[str]:
    """Every recovery point of a tenant that a restore could start from."""
    tenants = {tenant["tenant"] for tenant in console.run("tenants")["tenants"]}
    return {point["id"] for tenant in tenants for point in console.points(tenant) if point["state"] == "available"}
