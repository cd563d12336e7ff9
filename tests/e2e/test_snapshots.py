"""Snapshots are copied under the vault's key, go when they expire, and make room for one another; what is not ours is never touched.

Judged by what RDS lists. The files of each snapshot are real (`tests/local/rds.py`).
"""

import json
import uuid
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from blake3 import blake3
from deliver import tick
from forged import Row
from planned import replanned, retained
from slots import as_text, last_slots
from test_snapshots_and_drills import snapshots
from wait import wait_until

RULE = "snapshots-daily"
FOLLOW = tick("snapshots-follow", "2026-11-23T01:30:00Z")
VAULT_TAG, POINT_TAG = "holdfast:vault", "holdfast:point"
KEEP_AS_LITTLE_AS_POSSIBLE = {"keep_all_days": 0, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "min_proven": 1}
KEEP_A_MONTH = {**KEEP_AS_LITTLE_AS_POSSIBLE, "keep_all_days": 30, "max_expire_per_run": 100, "apply": True}
KEEP_ALL = {**KEEP_A_MONTH, "keep_all_days": 3650}
ONE = "central"


@pytest.fixture
def only_one_instance(stack, with_snapshots, backed_up):
    """A plan whose snapshots are of one instance, so that a test waits for few; others keep their database entries out of it."""
    databases = [database for database in backed_up.plan["databases"] if database["id"] == ONE]
    rules = [rule for rule in backed_up.plan["rules"] if rule["kind"] == "snapshot" or "critical" in rule.get("classes", [])]
    with replanned(stack, backed_up.plan, databases=databases, rules=rules) as plan:
        yield plan


def test_every_snapshot_is_published_as_a_copy_under_the_vaults_key(stack, with_snapshots):
    key = storage_key(stack)
    by_name = {found["DBSnapshotIdentifier"]: found for found in snapshots(stack)}
    for point in with_snapshots:
        copy = by_name[point["snapshot"]]
        assert (copy["KmsKeyId"], copy["Encrypted"], copy["Status"]) == (key, True, "available")
        assert point["copied"] == {"from": point["snapshot"].removesuffix("-copy"), "kms_key": key}


def test_what_a_copy_was_made_from_is_deleted_once_the_copy_is_published(stack, with_snapshots, console):
    wait_until("only copies are left", lambda: follow(stack) and {found["DBSnapshotIdentifier"] for found in snapshots(stack)} == {
        point["snapshot"] for point in with_snapshots
    }, 60)
    deleted = [entry for entry in console.run("audit")["entries"] if entry["act"] == "snapshot.delete"]
    assert {entry["phase"] for entry in deleted} == {"intent", "outcome"}


def test_a_copy_under_another_key_is_refused_and_its_slot_fails_with_an_alert(stack, only_one_instance, inbox):
    slot = as_of(only_one_instance, 2)
    wrong = stack.client("kms").create_key()["KeyMetadata"]["Arn"]
    point, name = point_of(slot, ONE)
    planted = make_copy(stack, published(stack), f"{name}-copy", point, wrong)
    failed = failure(stack, slot)
    assert "not under the vault's key" in failed["message"] and wrong in failed["message"]
    assert wrong in str(inbox.wait_for("not under the vault's key")["message"])
    # It is tagged as ours, and the slot may be tried again: it is left alone for a day.
    assert planted in names(stack)
    delete(stack, name, planted)


def test_a_snapshot_of_our_name_without_our_tags_is_neither_published_nor_deleted(stack, only_one_instance):
    slot = as_of(only_one_instance, 3)
    _, name = point_of(slot, ONE)
    planted = make_copy(stack, published(stack), f"{name}-copy", None, storage_key(stack))
    assert "is not this recovery point's" in failure(stack, slot)["message"]
    follow(stack)
    assert planted in names(stack)
    delete(stack, name, planted)


def test_an_expired_snapshot_is_deleted_and_swept_and_nothing_else_goes(stack, only_one_instance, console):
    old = take(stack, only_one_instance, 40)
    take(stack, only_one_instance, 7)
    foreign = [make_copy(stack, old["identifier"], name, None, storage_key(stack)) for name in ("somebody-elses", "holdfast-but-not-ours")]
    before = names(stack)
    with retained(stack, only_one_instance, console, **KEEP_A_MONTH):
        assert let_go(stack) == {old["id"]}
    wait_until("what expired is swept", lambda: follow(stack) and record(stack, as_of(only_one_instance, 40))["state"] == "swept", 60)
    assert before - names(stack) == {old["identifier"]}
    assert follow(stack)["deleted"] == 0, "another tick finds nothing left to delete"
    delete(stack, *foreign)


def test_an_expired_snapshot_that_lost_its_tags_is_told_and_stays_until_it_has_them_again(stack, only_one_instance, console):
    old, rds = take(stack, only_one_instance, 41), stack.client("rds")
    take(stack, only_one_instance, 8)
    (tags,) = [one["TagList"] for one in snapshots(stack) if one["DBSnapshotIdentifier"] == old["identifier"]]
    rds.remove_tags_from_resource(ResourceName=old["arn"], TagKeys=[POINT_TAG])
    with retained(stack, only_one_instance, console, **KEEP_A_MONTH):
        assert let_go(stack) == {old["id"]}
    answer = follow(stack)
    assert (answer["deleted"], answer["swept"]) == (0, 0) and answer["unknown"] >= 1
    assert old["identifier"] in names(stack) and record(stack, as_of(only_one_instance, 41))["state"] == "expired"
    rds.add_tags_to_resource(ResourceName=old["arn"], Tags=tags)
    wait_until("what expired is swept", lambda: follow(stack) and record(stack, as_of(only_one_instance, 41))["state"] == "swept", 60)
    assert old["identifier"] not in names(stack) and follow(stack)["unknown"] == 0


def test_without_room_the_next_snapshot_waits_and_one_alert_is_sent(stack, only_one_instance, console, inbox):
    slot = as_of(only_one_instance, 5)
    with stack.rds_says(snapshot_quota=len(names(stack))):
        for _ in range(2):
            stack.invoke("snapshot", tick(RULE, slot))
            follow(stack)
        assert record(stack, slot)["state"] == "running"
        (alert,) = quota_alerts(console)
        assert "dry run" in alert["summary"]
    assert len([told for told in inbox.new() if "as many snapshots as it may" in str(told["message"])]) == 1
    wait_until("it is available once there is room", lambda: follow(stack) and record(stack, slot)["state"] == "available", 60)
    assert quota_alerts(console) == []


def test_the_least_needed_makes_room_if_enough_are_proven_without_it_and_otherwise_nothing_goes(stack, only_one_instance, console):
    newest = row(stack, as_of(only_one_instance, 0))
    newest.write({**newest.read(), "proof": {"verdict": "unproven"}})
    *spared, _ = [take(stack, only_one_instance, days_ago) for days_ago in (36, 35, 9)]
    slot, before = as_of(only_one_instance, 6), names(stack)
    with retained(stack, only_one_instance, console, **KEEP_ALL), stack.rds_says(snapshot_quota=len(before)):
        stack.invoke("snapshot", tick(RULE, slot))
        follow(stack)
        (alert,) = quota_alerts(console)
        assert "0 are proven and 1 must remain" in alert["summary"]
        assert names(stack) == before
        prove_newest(stack, only_one_instance)
        wait_until("there is room", lambda: follow(stack) and record(stack, slot)["state"] == "available", 90)
        wait_until("only its copy is left", lambda: follow(stack) and len(names(stack)) < len(before), 30)
    assert before - names(stack) == {one["identifier"] for one in spared}, "the oldest, one for the snapshot and one for its copy"
    assert quota_alerts(console) == []
    acts = [entry for entry in console.run("audit")["entries"] if entry["act"] == "point.expire" and "to make room" in entry["detail"]]
    assert len(acts) == 2


def test_what_was_left_behind_is_removed_by_its_tag_and_what_the_catalog_does_not_know_is_told_and_stays(stack, with_snapshots, inbox):
    newest = with_snapshots[0]
    # As if the function had died between publishing the copy and deleting what it was made from.
    left = make_copy(stack, newest["snapshot"], newest["copied"]["from"], newest["id"], storage_key(stack))
    wait_until("what was left is gone", lambda: follow(stack) and left not in names(stack), 30)

    unknown = "00000000-0000-8000-8000-000000000099"
    lost = make_copy(stack, newest["snapshot"], f"holdfast-{unknown}-copy", f"rp_{unknown}", storage_key(stack))
    assert follow(stack)["unknown"] == 0, "its record may just have been written"
    with stack.rds_says(snapshots_older_by_seconds=7200):
        assert [follow(stack)["unknown"] for _ in range(2)] == [1, 1]
    assert lost in str(inbox.wait_for("the catalog does not know")["message"])
    assert lost in names(stack), "a catalog that was wiped deletes no backup"
    delete(stack, lost)
    assert follow(stack)["unknown"] == 0


def test_the_newest_copy_of_an_instance_stays_whatever_the_catalog_says(stack, only_one_instance, inbox):
    true = take(stack, only_one_instance, 10)
    newest = row(stack, as_of(only_one_instance, 10))
    newest.write({**true, "state": "swept"})
    answer = follow(stack)
    assert answer["deleted"] == 0 and answer["unknown"] == 1
    assert true["identifier"] in names(stack)
    assert true["identifier"] in str(inbox.wait_for("the newest of its instance")["message"])
    newest.write(true)
    assert follow(stack)["unknown"] == 0


def test_an_archive_of_the_newest_snapshot_is_asked_for_once_a_month_and_followed_to_its_end(stack, only_one_instance, console):
    rds, newest = stack.client("rds"), record(stack, as_of(only_one_instance, 0))
    with replanned(stack, only_one_instance, archive={"bucket": "platform-archives", "prefix": "holdfast"}):
        asked, followed, again = follow(stack), follow(stack), follow(stack)
    assert (asked["archives_asked"], followed["archives_complete"]) == (1, 1)
    assert again["archives_asked"] == again["archives_complete"] == 0
    (task,) = rds.describe_export_tasks()["ExportTasks"]
    assert (task["SourceArn"], task["S3Bucket"], task["S3Prefix"]) == (newest["arn"], "platform-archives", "holdfast")
    assert task["KmsKeyId"] == storage_key(stack)
    acts = [entry for entry in console.run("audit")["entries"] if entry["act"] == "snapshot.archive"]
    assert [entry["phase"] for entry in acts].count("intent") == 1


def test_an_archive_that_failed_is_asked_for_again_a_day_later_under_a_name_of_its_own(stack, only_one_instance):
    """The local RDS completes every task, so that the failure is written into the catalog."""
    rds, now = stack.client("rds"), datetime.now(timezone.utc)
    with replanned(stack, only_one_instance, archive={"bucket": "platform-archives", "prefix": "holdfast"}):
        # The one of the month, unless the test before has asked for it.
        follow(stack), follow(stack)
        archive = Row(stack, "", f"ARCHIVES#instance {ONE}", month_of(only_one_instance))
        complete = archive.read()
        assert (complete["state"], complete["attempt"]) == ("complete", 1)
        for hours, attempt, asked in ((23, 1, 0), (25, 5, 0), (25, 1, 1)):
            failed = {"state": "failed", "at": as_text(now - timedelta(hours=hours)), "why": "the bucket was gone"}
            archive.write({**complete, **failed, "attempt": attempt})
            assert follow(stack)["archives_asked"] == asked, (hours, attempt)
        assert follow(stack)["archives_complete"] == 1
    again = archive.read()
    assert (again["state"], again["attempt"], again["task"]) == ("complete", 2, f"{complete['task']}-2")
    assert {complete["task"], again["task"]} <= {task["ExportTaskIdentifier"] for task in rds.describe_export_tasks()["ExportTasks"]}


def test_a_cluster_is_kept_as_copies_of_its_own_snapshots_which_go_when_they_expire(stack, only_one_instance, console):
    """The local RDS keeps records of clusters and no data (docs/unproven.md)."""
    rds = stack.client("rds")
    rds.create_db_cluster(
        DBClusterIdentifier="platform-aurora", Engine="aurora-postgresql", MasterUsername="master", MasterUserPassword="unused-here",
        StorageEncrypted=True,
    )
    central = {**only_one_instance["databases"][0], "cluster": "platform-aurora"}
    older, newer = as_of(only_one_instance, 50), as_of(only_one_instance, 1)
    with replanned(stack, only_one_instance, databases=[central]) as clustered, retained(stack, clustered, console, **KEEP_A_MONTH):
        for slot in (older, newer):
            stack.invoke("snapshot", tick(RULE, slot))
            wait_until(f"the snapshot of {slot} is available", lambda: follow(stack) and record(stack, slot)["state"] == "available", 30)
        expected = {point_of(slot, ONE)[1] + "-copy" for slot in (older, newer)}
        assert cluster_snapshots(stack) == dict.fromkeys(expected, storage_key(stack)), "what they were copied from is gone"
        assert let_go(stack) == {record(stack, older)["id"]}
        wait_until("what expired is swept", lambda: follow(stack) and record(stack, older)["state"] == "swept", 30)
    assert cluster_snapshots(stack) == {point_of(newer, ONE)[1] + "-copy": storage_key(stack)}
    rds.delete_db_cluster(DBClusterIdentifier="platform-aurora", SkipFinalSnapshot=True)


def test_a_copy_that_somebody_deleted_is_refuted_and_told_once(stack, only_one_instance, console, inbox):
    lost, slot = take(stack, only_one_instance, 42), as_of(only_one_instance, 42)
    proven = {"verdict": "proven", "at": "2026-11-23T01:30:00Z", "rto_ms": 1}
    row(stack, slot).write({**lost, "proof": proven})
    assert follow(stack)["lost"] == 0
    delete(stack, lost["identifier"])
    inbox.new()
    assert [follow(stack)["lost"] for _ in range(2)] == [1, 0]
    assert record(stack, slot)["proof"]["verdict"] == "refuted", "retention does not count on it"
    told = [str(one["message"]) for one in inbox.new()]
    assert len([one for one in told if f"RDS has no snapshot {lost['identifier']} any more" in one]) == 1, told
    with retained(stack, only_one_instance, console, **KEEP_A_MONTH):
        assert let_go(stack) == {lost["id"]}
    wait_until("what expired is swept", lambda: follow(stack) and record(stack, slot)["state"] == "swept", 30)
    assert not console.open_alerts(lost["id"])


def let_go(stack) -> set[str]:
    """Runs retention; the recovery points of the one instance that it let go, whatever else it did."""
    def kept() -> set[str]:
        rows = stack.client("dynamodb").query(
            TableName=stack.outputs["TableName"], KeyConditionExpression="pk = :one", ConsistentRead=True,
            ExpressionAttributeValues={":one": {"S": f"POINTS#instance#{ONE}"}},
        )
        points = [json.loads(row["body"]["S"]) for row in rows["Items"]]
        return {point["id"] for point in points if point["state"] == "available"}

    before = kept()
    stack.invoke("retention", tick("retention-daily", datetime.now(timezone.utc)))
    return before - kept()


def cluster_snapshots(stack) -> dict[str, str]:
    """The snapshots of clusters that somebody asked for, with the keys they are encrypted under."""
    found = stack.client("rds").describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]
    return {one["DBClusterSnapshotIdentifier"]: one["KmsKeyId"] for one in found}


def follow(stack) -> dict:
    """One more tick of the five-minute schedule."""
    return stack.invoke("snapshot", FOLLOW)


def storage_key(stack) -> str:
    """The vault's key for what is stored."""
    return stack.client("s3").get_bucket_encryption(Bucket=stack.outputs["VaultBucketName"])["ServerSideEncryptionConfiguration"]["Rules"][0][
        "ApplyServerSideEncryptionByDefault"
    ]["KMSMasterKeyID"]


def names(stack) -> set[str]:
    """The names of all manual snapshots, whoever made them."""
    pages = stack.client("rds").get_paginator("describe_db_snapshots").paginate()
    return {found["DBSnapshotIdentifier"] for page in pages for found in page["DBSnapshots"]}


def as_of(plan: dict, days_ago: int) -> str:
    """The slot of the snapshots of some days ago, which no other test takes."""
    return as_text(last_slots(plan, RULE, days_ago + 1)[days_ago])


def month_of(plan: dict) -> str:
    """The month of the newest slot, where the plan is."""
    return last_slots(plan, RULE)[0].astimezone(ZoneInfo(plan["time_zone"])).strftime("%Y-%m")


def point_of(slot: str, database: str) -> tuple[str, str]:
    """The recovery point that a slot gives, and the name of its snapshot: by the rule of `Slot::recovery_point_id`, computed here again."""
    hasher = blake3(derive_key_context="holdfast slot v1")
    for part in (RULE, slot, f"instance {database}", "snapshot"):
        hasher.update(len(part).to_bytes(8, "big") + part.encode())
    octets = bytearray(hasher.digest(16))
    octets[6], octets[8] = octets[6] & 0x0F | 0x80, octets[8] & 0x3F | 0x80
    identifier = uuid.UUID(bytes=bytes(octets))
    return f"rp_{identifier}", f"holdfast-{identifier}"


def make_copy(stack, source: str, name: str, point: str | None, key: str) -> str:
    """A copy made by somebody, as root of the account, with our tags if it names a recovery point."""
    tags = [{"Key": VAULT_TAG, "Value": "main"}, {"Key": POINT_TAG, "Value": point}] if point else [{"Key": "owner", "Value": "somebody"}]
    rds = stack.client("rds")
    rds.copy_db_snapshot(SourceDBSnapshotIdentifier=source, TargetDBSnapshotIdentifier=name, KmsKeyId=key, Tags=tags)
    wait_until(
        f"{name} is available",
        lambda: rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0]["Status"] == "available", 30,
    )
    return name


def published(stack) -> str:
    """The name of some snapshot that can be copied."""
    return next(found["DBSnapshotIdentifier"] for found in snapshots(stack) if found["Status"] == "available")


def delete(stack, *wanted: str) -> None:
    """Deletes what a test made, and what came of it."""
    rds = stack.client("rds")
    for name in names(stack) & set(wanted):
        rds.delete_db_snapshot(DBSnapshotIdentifier=name)


def take(stack, plan: dict, days_ago: int) -> dict:
    """The record of a further snapshot of the one instance, published."""
    slot = as_of(plan, days_ago)
    stack.invoke("snapshot", tick(RULE, slot))
    wait_until(f"the snapshot of {slot} is available", lambda: follow(stack) and record(stack, slot)["state"] == "available", 60)
    return record(stack, slot)


def failure(stack, slot: str) -> dict:
    """Fires a slot that must fail; its record."""
    stack.invoke("snapshot", tick(RULE, slot))
    wait_until(f"the slot of {slot} failed", lambda: follow(stack) and record(stack, slot)["state"] == "failed", 30)
    return record(stack, slot)


def row(stack, slot: str) -> Row:
    """The catalog's row of a slot of the one instance."""
    point, _ = point_of(slot, ONE)
    return Row(stack, "", f"POINTS#instance#{ONE}", f"snapshot#{slot.removesuffix('Z')}.000000000Z#{point}")


def record(stack, slot: str) -> dict:
    """What the catalog says of a slot of the one instance."""
    return row(stack, slot).read()


def prove_newest(stack, plan: dict) -> None:
    """Writes into the catalog that the newest snapshot came back, which takes a restore test otherwise."""
    newest = row(stack, as_of(plan, 0))
    newest.write({**newest.read(), "proof": {"verdict": "proven", "at": "2026-11-23T01:30:00Z", "rto_ms": 1}})


def quota_alerts(console) -> list[dict]:
    """The open alerts about the account's quota."""
    return [alert for alert in console.run("alerts")["alerts"] if alert["class"] == "snapshot_quota" and not alert["closed_at"]]
