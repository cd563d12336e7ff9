"""Snapshots are RDS's own and are followed to their end; a restore test happens elsewhere and leaves nothing behind."""

import pytest
import saas
from deliver import refusal, tick
from wait import wait_until


OURS = "holdfast-"


def test_a_tick_delivered_twice_takes_one_snapshot_of_every_instance_and_follows_it_to_available(stack, with_snapshots):
    found = snapshots(stack)
    taken = []
    for point in with_snapshots:
        of_point = [one for one in found if {"Key": "holdfast:point", "Value": point["id"]} in one["TagList"]]
        assert [one["DBSnapshotIdentifier"] for one in of_point] == [point["snapshot"]], "the second delivery took none"
        taken.extend(of_point)
    assert sorted(snapshot["DBInstanceIdentifier"] for snapshot in taken) == sorted({d.instance for d in saas.DATABASES.values()})
    for snapshot in taken:
        assert (snapshot["Status"], snapshot["SnapshotType"], snapshot["Encrypted"]) == ("available", "manual", True)


@pytest.mark.parametrize("tenant_id", ["harborside", "kestrelair", "emberlight"], ids=["schema", "pool", "database"])
def test_a_restore_test_proves_a_recovery_point_in_an_isolated_instance_and_tears_it_down(
    tenant_id, stack, backed_up, with_snapshots, console, saved
):
    production = identifiers(stack)
    point = console.newest(tenant_id)
    stack.invoke("verify", {"item": {"tenant": tenant_id, "recovery_point": point["id"]}})
    seen: set[str] = set()

    def proven():
        seen.update(identifiers(stack) - production)
        stack.invoke("verify", tick("verify-follow", "2026-11-23T03:30:00Z"))
        judged = next(found for found in console.points(tenant_id) if found["id"] == point["id"])
        assert judged["proof"] != "refuted", judged
        return judged["proof"] == "proven"

    wait_until(f"{point['id']} is proven", proven, 240)
    assert seen and all(name.startswith(OURS) for name in seen), "it was restored into an instance of its own"
    wait_until("the isolated instance is gone", lambda: identifiers(stack) <= production, 120)
    saved.assert_others_untouched()


def test_a_recovery_point_that_does_not_exist_cannot_be_verified(stack, backed_up):
    unknown = "rp_00000000-0000-7000-8000-000000000000"
    error = refusal(stack, "verify", {"item": {"tenant": "acme", "recovery_point": unknown}})
    assert error.error_type == "UnknownRecoveryPoint"
    assert unknown in error.error_message


def snapshots(stack) -> list[dict]:
    """Holdfast's snapshots, as RDS lists them."""
    pages = stack.client("rds").get_paginator("describe_db_snapshots").paginate()
    return [found for page in pages for found in page["DBSnapshots"] if found["DBSnapshotIdentifier"].startswith(OURS)]


def identifiers(stack) -> set[str]:
    """The database instances there are."""
    return {found["DBInstanceIdentifier"] for found in stack.client("rds").describe_db_instances()["DBInstances"]}
