"""The whole environment is lost and comes back on new instances, from vault and snapshots alone. Judged by psql.

It has a stack of its own: nothing of its platform is left for other tests.
"""

import pytest
from console import ASKS, Refused
from disaster import CENTRAL, SNAPSHOT_ONLY, Disaster
from stack import FunctionError, Stack

DAMAGED = "delta-foods"
UNKNOWN = "opalmedia"


@pytest.fixture(scope="module")
def disaster(tmp_path_factory):
    """A platform that was backed up and then lost whole."""
    with Stack() as stack:
        stack.deploy()
        stack.silence_schedules()
        disaster = Disaster(stack, tmp_path_factory.mktemp("disaster"))
        disaster.build()
        disaster.back_up()
        disaster.lost = disaster.lose_everything()
        stack.alerts()
        yield disaster


@pytest.fixture(scope="module")
def recovered(disaster) -> dict:
    """The report of a recovery that was asked for by one person and approved by another."""
    recovery = disaster.request("the region's databases are gone")
    plan = disaster.preview(recovery)
    assert plan["state"] == "awaiting_approval" and not disaster.instances(), "nothing is made before people agree"
    with pytest.raises(Refused, match="ApprovalInvalid") as refused:
        disaster.approve(recovery, plan["preview"]["digest"], user=ASKS)
    assert ASKS in refused.value.said
    with pytest.raises(Refused, match="ApprovalInvalid"):
        disaster.approve(recovery, "0" * 64)
    assert not disaster.instances()
    disaster.approve(recovery, plan["preview"]["digest"])
    status, report, seen = disaster.watch(recovery)
    print(seen)
    assert status == 0, seen
    report["seen"], report["plan"] = seen, plan
    return report


def test_the_plan_says_what_comes_from_where_by_priority(disaster, recovered):
    plan = recovered["plan"]
    order = [tenant["tenant"] for tenant in plan["tenants"]]
    critical = {tenant.id for tenant in disaster.platform.tenants if tenant.criticality == "critical"}
    assert order[0] == CENTRAL.id and set(order[1 : len(critical) + 1]) == critical
    sources = {tenant["tenant"]: tenant["source"] for tenant in plan["tenants"]}
    assert sources == {tenant.id: "snapshot" if tenant.id in SNAPSHOT_ONLY else "export" for tenant in disaster.everybody}
    assert {made["replaces"] for made in plan["instances"]} == disaster.lost


def test_every_tenant_is_back_as_its_backup_has_it_and_nothing_newer(disaster, recovered):
    assert recovered["outcome"] == "proven"
    assert not disaster.instances() & disaster.lost, "production stays gone"
    assert disaster.differences(recovered, disaster.everybody) == {}
    now = {tenant["tenant"]: tenant["progress"] for tenant in recovered["tenants"]}
    assert now == {tenant.id: "as_of_snapshot" if tenant.id in SNAPSHOT_ONLY else "proven" for tenant in disaster.everybody}


def test_the_report_measures_how_long_it_took_and_how_much_is_lost(disaster, recovered):
    report = recovered["report"]
    assert report["rto_ms"] == pytest.approx(report["instances_ms"] + report["platform_ms"] + report["tenants_ms"], abs=10)
    assert 0 < report["rto_ms"] <= report["since_request_ms"]
    for row in [*recovered["instances"], *recovered["tenants"]]:
        assert row["rto_ms"] > 0 and row["rpo_ms"] >= 0, row
    assert report["rpo_ms"] == max(tenant["rpo_ms"] for tenant in recovered["tenants"])
    assert "RTO" in recovered["seen"] and "as of snapshot" in recovered["seen"]
    told = [alert for alert in disaster.stack.alerts() if recovered["recovery"] in str(alert["message"])]
    assert [alert["message"]["class"] for alert in told] == ["recovery_awaits_approval", "recovery_proven"]


def test_a_second_delivery_of_any_step_changes_nothing(disaster, recovered):
    recovery, before = recovered["recovery"], disaster.instances()
    # Business has begun again on the new instances.
    steps = ["plan", "instances", "platform", "finish"]
    tenants = {"step": "tenants", "from": 0, "to": len(recovered["tenants"])}
    for step in [*({"step": name} for name in steps), tenants]:
        disaster.stack.invoke("restore", {"item": {"recovery": recovery, **step}})
    with pytest.raises(FunctionError):
        disaster.stack.invoke("restore", {"item": {"recovery": recovery, "step": "await_approval", "task_token": "t"}})
    assert disaster.instances() == before
    shown = disaster.console.run("recover", "preview", recovery)
    assert [shown["report"], shown["tenants"]] == [recovered["report"], recovered["tenants"]]
    assert disaster.differences(recovered, disaster.everybody) == {}


def test_one_damaged_recovery_point_and_one_unlisted_tenant_fail_alone_and_by_name(disaster, recovered):
    stack, console = disaster.stack, disaster.console
    point = console.newest(DAMAGED)
    bucket, s3 = stack.outputs["VaultBucketName"], stack.client("s3")
    listed = [found["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for found in page.get("Contents", ())]
    victims = [key for key in listed if "/points/" in key and point["id"] in key]
    assert victims
    marker = s3.delete_object(Bucket=bucket, Key=victims[0])["VersionId"]
    remember(stack, UNKNOWN)
    try:
        recovery = disaster.request("once more, from what is left")
        disaster.approve(recovery, disaster.preview(recovery)["preview"]["digest"])
        status, report, seen = disaster.watch(recovery)
    finally:
        s3.delete_object(Bucket=bucket, Key=victims[0], VersionId=marker)
    assert status == 1 and report["outcome"] == "failed in part", seen
    failed = {tenant["tenant"]: tenant for tenant in report["tenants"] if tenant["progress"] == "failed"}
    assert failed.keys() == {DAMAGED, UNKNOWN}, seen
    assert failed[DAMAGED]["code"] == "NotAuthentic" and point["id"] in failed[DAMAGED]["message"]
    assert failed[UNKNOWN]["code"] == "UnknownTenant" and "recovered register" in failed[UNKNOWN]["message"]
    assert disaster.differences(report, [tenant for tenant in disaster.everybody if tenant.id != DAMAGED]) == {}
    (told,) = [alert["message"] for alert in stack.alerts() if recovery in str(alert) and alert["message"]["class"] == "recovery_failed"]
    assert DAMAGED in told["summary"] and "--mode new-environment" in told["remedy"]
    assert disaster.differences(recovered, disaster.everybody) == {}, "the first environment is untouched"


def remember(stack, tenant: str) -> None:
    """A tenant that signed up after the register was last saved: the catalog has seen it, no backup has."""
    table, dynamodb = stack.outputs["TableName"], stack.client("dynamodb")
    item = dynamodb.get_item(TableName=table, Key={"pk": {"S": "TENANTS"}, "sk": {"S": "irisclinic"}})["Item"]
    renamed = {name: {"S": value["S"].replace("irisclinic", tenant)} if "S" in value else value for name, value in item.items()}
    dynamodb.put_item(TableName=table, Item=renamed)
