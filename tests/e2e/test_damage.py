"""A damaged recovery point is found, told of, and no restore starts from it; a restore test that matches takes it back."""

import pytest
from console import Refused
from deliver import export_item, refusal, tick
from wait import wait_until

TENANT = "fjordline"


@pytest.mark.parametrize(("part", "asked_at"), [("points", "2026-10-01T08:00:00Z"), ("packs", "2026-10-02T08:00:00Z")], ids=["manifest", "pack"])
def test_an_object_that_is_gone_refutes_its_recovery_point_until_a_restore_test_matches(
    part, asked_at, stack, backed_up, with_snapshots, console, inbox
):
    s3, bucket = stack.client("s3"), stack.outputs["VaultBucketName"]
    before = stored(stack)
    stack.invoke("export", export_item(TENANT, asked_at))
    point = next(p for p in console.available(TENANT) if p["scheduled_time"] == asked_at)
    made = {key: size for key, size in stored(stack).items() if key not in before and f"/{part}/" in key}
    # Of the three recovery points of a run the database's has its id in the manifest's name, and the largest pack.
    victim = next((key for key in made if point["id"] in key), None) or max(made, key=made.get)
    item = {"item": {"tenant": TENANT, "recovery_point": point["id"]}}

    inbox.new()
    marker = s3.delete_object(Bucket=bucket, Key=victim)["VersionId"]
    error = refusal(stack, "verify", item)
    assert error.error_type == "NotAuthentic" and point["id"] in error.error_message
    told = inbox.wait_for(point["id"])
    assert "backup_bad" in told["subject"] and f"holdfast run --tenant {TENANT}" in str(told["message"])
    assert proof_of(console, point) == "refuted"
    with pytest.raises(Refused) as refused:
        console.request(TENANT, "from a bad point", point["id"])
    assert refused.value.status == 4 and "refuted" in refused.value.said

    s3.delete_object(Bucket=bucket, Key=victim, VersionId=marker)
    stack.invoke("verify", item)

    def proven():
        stack.invoke("verify", tick("verify-follow", "2026-11-23T03:30:00Z"))
        return proof_of(console, point) == "proven"

    wait_until(f"{point['id']} is proven", proven, 240)
    assert not console.open_alerts(point["id"]), "the verdict is taken back"


def proof_of(console, point: dict) -> str:
    """What is known of a recovery point now."""
    return next(found["proof"] for found in console.points(TENANT) if found["id"] == point["id"])


def stored(stack) -> dict[str, int]:
    """The objects of the vault with their sizes."""
    pages = stack.client("s3").get_paginator("list_objects_v2").paginate(Bucket=stack.outputs["VaultBucketName"])
    return {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", ())}
