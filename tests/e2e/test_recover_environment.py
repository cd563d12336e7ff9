"""The whole environment is lost and comes back on new instances, from vault and snapshots alone. Judged by psql.

It has a stack of its own: nothing of its platform is left for other tests.
"""

import json
from datetime import datetime, timezone

import pytest
from console import APPROVES, ASKS, Refused
from disaster import CENTRAL, SNAPSHOT_ONLY, Disaster
from saas import DATABASES
from slots import an_instant, as_text
from stack import FunctionError, Stack

DAMAGED = "delta-foods"
UNKNOWN = "opalmedia"
KEPT = tuple(DATABASES[database].instance for database in ("central", "pool"))
"""Instances whose automated backups outlive them."""
LET_GO = DATABASES["silo-b"].instance
"""One whose automated backups go after a recovery from them was planned."""


@pytest.fixture(scope="module")
def disaster(tmp_path_factory):
    """A platform that was backed up and then lost whole."""
    with Stack() as stack:
        stack.deploy()
        stack.silence_schedules()
        disaster = Disaster(stack, tmp_path_factory.mktemp("disaster"))
        disaster.build()
        disaster.back_up()
        # No backup has this: only the log does.
        disaster.then = an_instant(stack, CENTRAL.instance)
        disaster.save([tenant for tenant in disaster.everybody if tenant.instance in KEPT], "then")
        disaster.live_on(disaster.everybody, "after the instant")
        disaster.lost = disaster.lose_everything(but_keeps_backups_of=(*KEPT, LET_GO))
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


def test_a_recovery_to_a_time_brings_back_nothing_newer_and_a_start_that_was_lost_is_made_up_for(disaster):
    recovery = disaster.request("to before the exports", as_text(disaster.snapshots_taken))
    plan = disaster.preview(recovery)
    assert {made["source"] for made in plan["instances"]} == {"snapshot"} and not plan["native"]
    # Every export is younger than that.
    assert {tenant["source"] for tenant in plan["tenants"]} == {"snapshot"}
    assert all(datetime.fromisoformat(row["as_of"]) <= disaster.snapshots_taken for row in [*plan["instances"], *plan["tenants"]])
    with pytest.raises(Refused, match="awaiting_approval and not approved yet"):
        disaster.console.run("recover", "run", recovery)
    agree_and_lose_the_start(disaster.stack, recovery, plan["preview"]["digest"])
    assert disaster.console.run("recover", "preview", recovery)["state"] == "approved"
    assert disaster.console.run("recover", "run", recovery)["under_way"] is True
    status, report, seen = disaster.watch(recovery)
    assert status == 0 and report["report"]["tally"]["as_of_snapshot"] == len(disaster.everybody), seen
    again = disaster.console.run("recover", "run", recovery)
    assert (again["state"], again["under_way"]) == ("done", False), "and changes nothing"
    only = [tenant for tenant in disaster.everybody if tenant.id in SNAPSHOT_ONLY]
    assert disaster.differences(report, only) == {}


def test_instances_come_back_of_the_very_instant_where_rds_has_their_log_and_the_plan_says_which_do_not(disaster):
    stack, then = disaster.stack, as_text(disaster.then)
    recovery = disaster.request("to the second before the attack", then, native=True)
    plan = disaster.preview(recovery)
    sources = {made["replaces"]: made["source"] for made in plan["instances"]}
    assert sources == {instance: "instant" if instance in (*KEPT, LET_GO) else "snapshot" for instance in disaster.lost}
    for made in plan["instances"]:
        of = [tenant for tenant in plan["tenants"] if tenant["database"] == made["database"]]
        if made["source"] == "instant":
            assert made["as_of"] == then and {(tenant["source"], tenant["as_of"]) for tenant in of} == {("instant", then)}
        else:
            assert {tenant["source"] for tenant in of} <= {"snapshot", "export"}
            told = f"instance {made['database']}: RDS keeps no automated backups of {made['replaces']}; it is made from its snapshot of {made['as_of']} instead"
            assert told in plan["preview"]["notes"], plan["preview"]["notes"]

    # What was agreed to of one instance cannot be had any more, and nothing else is made in its stead.
    backups = stack.client("rds").describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"]
    (gone,) = [backup["DbiResourceId"] for backup in backups if backup["DBInstanceIdentifier"] == LET_GO]
    stack.client("rds").delete_db_instance_automated_backup(DbiResourceId=gone)
    disaster.approve(recovery, plan["preview"]["digest"])
    status, report, seen = disaster.watch(recovery)
    assert status == 1 and report["outcome"] == "failed in part", seen
    (failed,) = [made for made in report["instances"] if made["stage"] == "failed"]
    assert failed["replaces"] == LET_GO and f"instance {LET_GO} cannot be made as of {then} any more" in failed["message"]
    assert failed["instance"] not in disaster.instances()

    now = {tenant["tenant"]: tenant for tenant in report["tenants"]}
    for tenant in disaster.everybody:
        progress, rpo_ms = now[tenant.id]["progress"], now[tenant.id]["rpo_ms"]
        if tenant.instance in KEPT:
            assert (progress, rpo_ms) == ("as_of_instant", 0), seen
        elif tenant.instance == LET_GO:
            assert progress == "failed", seen
        else:
            assert progress == ("as_of_snapshot" if tenant.id in SNAPSHOT_ONLY else "proven"), seen
    found = disaster.differences(report, [tenant for tenant in disaster.everybody if tenant.instance in KEPT], "then")
    assert not [difference for of in found.values() for difference in of if not runs_ahead(difference)], found
    assert "as of the instant" in seen and "exactly, where RDS has the log" in seen
    asked = [entry for entry in disaster.console.run("audit", "--request", recovery)["entries"] if entry["act"] == "recover.instance"]
    assert sum("at " + then in entry["detail"] for entry in asked if entry["phase"] == "intent") == len(KEPT), asked


def test_an_instant_that_no_database_can_be_restored_to_is_refused_by_name(disaster):
    before = disaster.console.run("recover", "list")
    for when, refused in ((["--time", "2026-01-01T00:00:00.5Z"], "leave the fraction out"), (["--time", "2031-01-01T00:00:00Z"], "in the future"), ([], "--time")):
        with pytest.raises(Refused, match=refused):
            disaster.console.run("recover", "request", *when, "--native", "--reason", "an instant that cannot be had")
    assert disaster.console.run("recover", "list") == before


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


def runs_ahead(difference) -> bool:
    """A log that is replayed leaves a sequence up to 32 values ahead, as after any crash of PostgreSQL: a gap, and no value twice."""
    if difference.file != "sequences.txt" or (difference.lost, difference.gained) != (1, 1):
        return False
    then, now = (int(line.split("|")[1]) for line in difference.first)
    return then < now <= then + 32


def agree_and_lose_the_start(stack, recovery: str, digest: str) -> None:
    """Records another person's agreement as the operator does before it wakes the runbook, which it then did not live to do."""
    table, dynamodb = stack.outputs["TableName"], stack.client("dynamodb")
    item = dynamodb.get_item(TableName=table, Key={"pk": {"S": f"RECOVERY#{recovery}"}, "sk": {"S": "RECOVERY"}})["Item"]
    body = json.loads(item["body"]["S"])
    by = {**body["requested_by"], "arn": body["requested_by"]["arn"].replace(ASKS, APPROVES), "principal": "AIDAANOTHERPERSON"}
    approval = {"by": by, "at": as_text(datetime.now(timezone.utc)), "preview_digest": digest}
    body |= {"state": "approved", "approvals": [approval]}
    generation = {"N": str(int(item["generation"]["N"]) + 1)}
    dynamodb.put_item(TableName=table, Item={**item, "body": {"S": json.dumps(body)}, "generation": generation})


def remember(stack, tenant: str) -> None:
    """A tenant that signed up after the register was last saved: the catalog has seen it, no backup has."""
    table, dynamodb = stack.outputs["TableName"], stack.client("dynamodb")
    item = dynamodb.get_item(TableName=table, Key={"pk": {"S": "TENANTS"}, "sk": {"S": "irisclinic"}})["Item"]
    renamed = {name: {"S": value["S"].replace("irisclinic", tenant)} if "S" in value else value for name, value in item.items()}
    dynamodb.put_item(TableName=table, Item=renamed)
