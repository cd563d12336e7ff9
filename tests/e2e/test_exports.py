"""A slot becomes one recovery point, whatever is delivered twice or dies half-way."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from deliver import tick
from slots import last_slots
from stack import FunctionError
from wait import wait_until


RULE = "exports-critical"
REDELIVERIES = 3


def test_every_live_tenant_has_a_recovery_point_and_the_deleted_one_has_none(backed_up, console):
    by_tenant = {tenant.id: console.available(tenant.id) for tenant in backed_up.tenants}
    assert all(by_tenant.values()), by_tenant
    assert console.available("@central"), "the platform's own database is protected too"
    assert not any(point.get("tenant") == "nimbusware" for point in console.points()), "a tenant that left has no new backups"


def test_what_was_taken_of_a_tenant_together_is_a_set_around_its_databases_view(backed_up, console):
    for tenant in backed_up.tenants:
        # What people asked for may be of one kind only.
        newest = next(found for found in console.sets(tenant.id) if found["rule"].startswith("exports-"))
        assert (newest["label"], newest["missing"]) == ("complete", []), newest
        spans = {member["kind"]: member["read"] for member in newest["members"]}
        assert sorted(spans) == ["configuration", "database", "media"]
        instants = [datetime.fromisoformat(spans["database"]["from"])]
        for kind in ["media", "configuration"]:
            instants += [datetime.fromisoformat(spans[kind][end]) for end in ["from", "until"]]
        assert instants == sorted(instants), "the files are listed after the rows, the settings after the files"
        skew = round((instants[-1] - instants[0]).total_seconds() * 1000)
        assert abs(newest["skew_ms"] - skew) <= 1, newest
    everyones = {entry["tenant"] for entry in console.sets()}
    assert everyones >= {tenant.id for tenant in backed_up.tenants} | {"@central"}


def test_a_recovery_point_counts_the_rows_that_psql_counts(backed_up, console, saved):
    for tenant in backed_up.tenants:
        files = (saved.folder / "before" / tenant.id).glob("*.copy")
        counted = sum(file.read_bytes().count(b"\n") for file in files)
        assert console.newest(tenant.id)["rows"] == counted, tenant.id


def test_the_same_tick_delivered_twice_gives_one_recovery_point(stack, backed_up, console):
    slot = last_slots(backed_up.plan, RULE, 2)[1]
    for _ in range(2):
        stack.invoke("export", tick(RULE, slot))
    assert_one_point_each(backed_up, console, slot)


def test_the_same_tick_delivered_twice_at_once_gives_one_recovery_point(stack, backed_up, console):
    slot = last_slots(backed_up.plan, RULE, 3)[2]
    with ThreadPoolExecutor(2) as both:
        for result in [both.submit(stack.invoke, "export", tick(RULE, slot)) for _ in range(2)]:
            try:
                result.result()
            except FunctionError as error:
                assert error.error_type == "Fenced", "the one that came second may only say that it was second"
    deliver(stack, slot)
    assert_one_point_each(backed_up, console, slot)


@pytest.mark.parametrize("objects", [1, 6], ids=["after its first object", "after its sixth object"])
def test_an_export_that_is_killed_is_completed_by_the_next_delivery(objects, stack, backed_up, console):
    slot = last_slots(backed_up.plan, RULE, 3 + 2 * objects)[-1]
    before = stored_objects(stack)
    outcome: list = []

    def deliver_once():
        try:
            outcome.append(stack.invoke("export", tick(RULE, slot)))
        except FunctionError as error:
            outcome.append(error)

    delivery = threading.Thread(target=deliver_once)
    delivery.start()
    wait_until("the export has written something", lambda: stored_objects(stack) >= before + objects or outcome, 120)
    killed = stack.kill("export")
    delivery.join(120)
    assert killed and isinstance(outcome[0], FunctionError), "the export was over before it could be killed"
    assert "Exit" in outcome[0].error_type or "Unknown" in outcome[0].error_type, outcome[0]
    critical = [tenant for tenant in backed_up.tenants if tenant.criticality == "critical"]
    half_done = [point for tenant in critical for point in points_of(console, tenant.id, slot) if point["state"] != "available"]
    assert half_done, "nothing was interrupted"

    deliver(stack, slot)
    assert_one_point_each(backed_up, console, slot)


def test_a_manual_run_of_one_tenant_is_another_recovery_point_of_that_tenant_alone(backed_up, console):
    before = {point["id"] for point in console.points()}
    console.run("run", "--tenant", "harborside")
    new = wait_until(
        "the manual run is available",
        lambda: [
            point for point in console.points()
            if point["id"] not in before and point["kind"] == "database" and point["state"] == "available"
        ], 120,
    )
    assert {point["tenant"] for point in new} == {"harborside"}


def test_the_due_tenants_of_a_pool_are_read_by_one_sweep_and_each_has_its_set(stack, backed_up, console):
    rule = "exports-standard"
    slot = last_slots(backed_up.plan, rule, 3)[2]
    pooled = [tenant.id for tenant in backed_up.tenants if tenant.layout == "pool" and tenant.criticality == "standard"]
    assert len(pooled) >= 2
    stack.invoke("export", tick(rule, slot))
    swept = [line for line in stack.logs("export").splitlines() if '"swept"' in line and f'"tenants":{len(pooled)},' in line]
    assert swept, "the pool was not swept"
    for tenant in pooled:
        found = [one for one in console.sets(tenant) if datetime.fromisoformat(one["scheduled_time"]) == slot and one["rule"] == rule]
        assert [one["label"] for one in found] == ["complete"], (tenant, found)


def deliver(stack, slot: datetime) -> None:
    """Delivers a tick until it succeeds, as the scheduler would: a few times."""
    for attempt in range(REDELIVERIES):
        try:
            stack.invoke("export", tick(RULE, slot))
            return
        except FunctionError:
            if attempt + 1 == REDELIVERIES:
                raise


def assert_one_point_each(platform, console, slot: datetime) -> None:
    """Each critical tenant has exactly one recovery point of the slot and kind, and it is available."""
    for tenant in platform.tenants:
        if tenant.criticality == "critical":
            found = points_of(console, tenant.id, slot)
            assert sorted(point["kind"] for point in found) == ["configuration", "database", "media"], (tenant.id, found)
            assert {point["state"] for point in found} == {"available"}, (tenant.id, found)


def points_of(console, tenant: str, slot: datetime) -> list[dict]:
    """The tenant's recovery points of one slot, of every kind and state."""
    return [point for point in console.points(tenant) if datetime.fromisoformat(point["scheduled_time"]) == slot]


def stored_objects(stack) -> int:
    """How many object versions the vault holds."""
    pages = stack.client("s3").get_paginator("list_object_versions").paginate(Bucket=stack.outputs["VaultBucketName"])
    return sum(len(page.get("Versions", ())) for page in pages)
