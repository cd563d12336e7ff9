"""A rule may read a clone made from the newest snapshot: production is not read, and nothing is left of the clone."""

import datetime

import pytest
from deliver import tick
from planned import replanned
from saas import DATABASES
from slots import last_slots
from wait import wait_until

RULE = "exports-quiet"


@pytest.fixture
def quiet_plan(stack, with_snapshots, backed_up):
    """The plan with one more rule, which reads clones."""
    rule = {
        "id": RULE, "kind": "export", "classes": ["standard"], "schedule": {"hourly_at_minute": 5}, "rpo_minutes": 1500,
        "read_from": "clone",
    }  # fmt: skip
    with replanned(stack, backed_up.plan, rules=[*backed_up.plan["rules"], rule]) as plan:
        yield plan


def test_exports_read_the_clone_and_not_production_and_the_clone_goes(stack, quiet_plan, backed_up, console, saved, may_lose):
    production = instances(stack)
    slot = last_slots(quiet_plan, RULE)[0]
    standard = [tenant for tenant in backed_up.tenants if tenant.criticality == "standard" and tenant.status != "deleted"]
    tenant = next(tenant for tenant in standard if tenant.layout == "schema")
    with may_lose(tenant):
        # After the snapshot: what reads production would count them.
        backed_up.destroy(tenant)
        seen, began = set(), datetime.datetime.now(datetime.timezone.utc).isoformat()
        # Twice, as at-least-once delivery may.
        for _ in range(2):
            stack.invoke("export", tick(RULE, slot))
            seen.update(instances(stack) - production)

        def all_there():
            stack.invoke("export", tick("exports-follow", slot))
            return all(of_slot(console, one.id) for one in standard) and not instances(stack) - production

        wait_until("every standard tenant has its recovery point, and the clones are gone", all_there, 300)
        assert seen and all(name.startswith("holdfast-export-") for name in seen), seen
        sources = {one.instance for one in standard}
        assert len(seen) == len(sources), "one clone of each instance, though the tick came twice"
        proven = {point["instance"]: point for point in console.points() if point.get("proven_at", "") > began and "instance" in point}
        assert {DATABASES[database].instance for database in proven} == sources, "a clone that answers proves its snapshot"
        assert all(0 < point["rto_ms"] < 300_000 for point in proven.values()), proven
        (point,) = of_slot(console, tenant.id)
        assert point["rows"] == rows_saved(saved, tenant), "the clone's rows, not production's"
        assert point["read"]["from"] == point["read"]["until"], "the instant of the snapshot"
        console.restore(tenant.id, "from what was read from a clone", point=point["id"])
        saved.assert_back(tenant)
        saved.assert_others_untouched(tenant)


def test_a_later_delivery_finds_everything_done_and_makes_no_clone(stack, quiet_plan, backed_up, console):
    slot = last_slots(quiet_plan, RULE)[0]
    before = instances(stack)
    points = {point["id"] for point in console.points()}
    stack.invoke("export", tick(RULE, slot))
    assert instances(stack) == before
    assert {point["id"] for point in console.points()} == points


def instances(stack) -> set[str]:
    """The database instances there are."""
    return {found["DBInstanceIdentifier"] for found in stack.client("rds").describe_db_instances()["DBInstances"]}


def of_slot(console, tenant: str) -> list[dict]:
    """What the rule gave of the tenant's database."""
    return [point for point in console.available(tenant) if point["rule"] == RULE]


def rows_saved(saved, tenant) -> int:
    """Rows of the tenant as psql counted them before the first test."""
    return sum(file.read_bytes().count(b"\n") for file in (saved.folder / "before" / tenant.id).glob("*.copy"))
