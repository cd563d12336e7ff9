"""What is stored is looked for, read and restored; each way in which that fails has its own words, and is told once until it is mended."""

import contextlib
import datetime
import json

import pytest
import saas
from deliver import tick
from planned import replanned
from stack import FunctionError
from tampered import deleted, read, replaced
from wait import wait_until

TENANT = "delta-foods"
INSTANCE = "platform-shared"
"""Where it lives."""
DRILL_SECONDS = 400


@pytest.fixture(scope="module")
def round_(stack, backed_up, with_snapshots) -> dict:
    """The tick of one day's round, after every restore test that it began."""
    made = tick("verify-daily", now())
    begun = stack.invoke("verify", made)["drills"]
    assert len(begun) == len({database.instance for database in saas.DATABASES.values()}), "one clone of each instance"
    settle(stack)
    assert stack.invoke("verify", made)["drills"] == [], "none is begun again if the tick comes again"
    assert not clones(stack)
    return made


def test_one_clone_of_each_instance_proves_its_snapshot_and_the_newest_export_of_all_its_tenants(round_, backed_up, console):
    for tenant in [tenant.id for tenant in backed_up.tenants] + ["@central"]:
        # What a restore of another test had made for itself is no rule's.
        of_rules = [point for point in console.available(tenant) if point["rule"] != "point-in-time"]
        assert max(of_rules, key=lambda point: point["scheduled_time"])["proof"] == "proven", tenant
    newest = {}
    for point in sorted(snapshots(console), key=lambda point: point["scheduled_time"]):
        newest[point["instance"]] = point
    assert newest and {point["proof"] for point in newest.values()} == {"proven"}, newest


def test_a_flipped_byte_a_missing_pack_and_a_key_record_of_another_run_are_told_apart_and_told_once(stack, round_, console, inbox):
    flipped, lost, locked = (made(console) for _ in range(3))
    torn, gone, own = largest_pack(console, flipped), largest_pack(console, lost), key_record(console, locked)
    content = bytearray(read(stack, torn))
    content[len(content) // 2] ^= 1
    inbox.new()
    with contextlib.ExitStack() as damage:
        damage.enter_context(replaced(stack, torn, bytes(content)))
        damage.enter_context(deleted(stack, gone))
        damage.enter_context(replaced(stack, own, read(stack, key_record(console, flipped))))
        for _ in range(3):
            assert stack.invoke("verify", round_)["bad"] == 3
        told = of_class("backup_bad", inbox)
        expected = {
            flipped["id"]: (torn, "its authentication tag differs"),
            lost["id"]: (gone, "it is missing"),
            locked["id"]: (own, "it belongs to another key context"),
        }
        for point, (damaged, defect) in expected.items():
            (said,) = [said for said in told if point in said]
            assert damaged in said and defect in said, said
            assert len(console.open_alerts(point)) == 1 and proof(console, point) == "refuted"
        assert len(told) == 3, "each is told once, however often the round comes"
        assert not console.open_alerts("checks of what is stored") and not console.open_alerts("keys of the vault")
    assert stack.invoke("verify", round_)["bad"] == 0
    assert {proof(console, point) for point in expected} == {"refuted"}, "only a restore test takes that back"
    for point in expected:
        stack.invoke("verify", item(point))
        settle(stack)
        assert proof(console, point) == "proven" and not console.open_alerts(point)


def test_a_key_that_is_disabled_refutes_nothing_and_is_told_once_until_it_is_enabled(stack, round_, console, inbox):
    point = made(console)
    kms, key = stack.client("kms"), stack.outputs["VaultKeyArn"]
    inbox.new()
    kms.disable_key(KeyId=key)
    try:
        for _ in range(2):
            with pytest.raises(FunctionError) as failed:
                stack.invoke("verify", round_)
            assert failed.value.error_type == "KeyUnusable", failed.value
    finally:
        kms.enable_key(KeyId=key)
    told = of_class("environment_bad", inbox)
    assert len(told) == 1 and "keys of the vault" in told[0] and "enable the key" in told[0], told
    assert not of_class("backup_bad", inbox, told_before=True) and proof(console, point["id"]) == "unproven"
    assert len(console.open_alerts("keys of the vault")) == 1
    stack.invoke("verify", round_)
    assert not console.open_alerts("keys of the vault")


def test_a_clone_that_is_refused_says_nothing_about_any_backup_and_leaves_nothing_behind(stack, round_, console, inbox):
    point, iam = console.newest(TENANT), stack.client("iam")
    before, about = proof(console, point["id"]), f"restore tests of instance {INSTANCE}"
    denied = {"Effect": "Deny", "Action": "rds:RestoreDBInstanceFromDBSnapshot", "Resource": "*"}
    policy = {"RoleName": role_of(stack, "verify"), "PolicyName": "denied"}
    inbox.new()
    iam.put_role_policy(**policy, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    try:
        for _ in range(2):
            with pytest.raises(FunctionError) as failed:
                stack.invoke("verify", item(point["id"]))
            assert failed.value.error_type == "NotPermitted", failed.value
    finally:
        iam.delete_role_policy(**policy)
    (said,) = of_class("environment_bad", inbox)
    assert about in said and "neither proven nor refuted" in said
    assert proof(console, point["id"]) == before and len(console.open_alerts(about)) == 1
    assert not clones(stack)
    stack.invoke("verify", item(point["id"]))
    settle(stack)
    assert proof(console, point["id"]) == "proven" and not console.open_alerts(about), "the next test that ends closes it"


def test_a_wrong_answer_to_an_assertion_refutes_and_a_question_that_cannot_be_asked_does_not(
    stack, round_, backed_up, console, inbox
):
    point = made(console)["id"]

    def tested(name, sql, **expected):
        inbox.new()
        assertion = {"name": name, "classes": ["standard"], "sql": sql, "expected": expected}
        with replanned(stack, backed_up.plan, assertions=[assertion]):
            stack.invoke("verify", item(point))
            settle(stack)
        return proof(console, point)

    assert tested("has no such table", "SELECT count(*) FROM nowhere", min=1) == "unproven"
    (said,) = of_class("environment_bad", inbox)
    assert "assertion `has no such table` could not be asked" in said

    assert tested("is empty", "SELECT count(*) FROM orders", max=0) == "refuted"
    (said,) = of_class("backup_bad", inbox)
    assert "assertion `is empty` expects at most 0 and found `" in said and point in said

    assert tested("names its tenant", "SELECT {tenant} FROM orders LIMIT 1", equals=TENANT) == "proven"
    assert not console.open_alerts(point) and not console.open_alerts(f"instance {INSTANCE}")


def test_a_snapshot_that_is_gone_is_bad_and_is_proven_by_the_next_round_once_it_is_back(stack, round_, console, inbox):
    rds, point = stack.client("rds"), console.newest(TENANT)["id"]
    snapshot = max((one for one in snapshots(console) if one["instance"] == "shared"), key=lambda one: one["scheduled_time"])
    name, kept = snapshot["snapshot"], "kept-for-a-test"
    copy(rds, name, kept)
    rds.delete_db_snapshot(DBSnapshotIdentifier=name)
    inbox.new()
    try:
        for _ in range(2):
            with pytest.raises(FunctionError) as failed:
                stack.invoke("verify", item(point))
            assert name in failed.value.error_message, failed.value
        (said,) = of_class("backup_bad", inbox)
        assert snapshot["id"] in said and f"RDS has no snapshot {name} any more" in said
        assert of_id(console, snapshot["id"])["proof"] == "refuted"
    finally:
        copy(rds, kept, name)
        rds.delete_db_snapshot(DBSnapshotIdentifier=kept)
    # A round behind the refutation, which may be of this very minute.
    stack.invoke("verify", tick("verify-daily", now(minutes=1)))
    settle(stack)
    assert of_id(console, snapshot["id"])["proof"] == "proven"
    assert not console.open_alerts(snapshot["id"]) and proof(console, point) == "proven"


def now(minutes: int = 0) -> str:
    """This minute, or one so many later."""
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    return later.strftime("%Y-%m-%dT%H:%M:00Z")


def item(point: str) -> dict:
    """What asks for the test of one recovery point."""
    return {"item": {"tenant": TENANT, "recovery_point": point}}


def settle(stack) -> None:
    """Moves every restore test on until no clone is left."""

    def torn_down():
        stack.invoke("verify", tick("verify-follow", now()))
        return not clones(stack)

    wait_until("every restore test is over", torn_down, DRILL_SECONDS)


def clones(stack) -> list[str]:
    """The isolated instances there are."""
    names = [found["DBInstanceIdentifier"] for found in stack.client("rds").describe_db_instances()["DBInstances"]]
    return [name for name in names if name.startswith("holdfast-drill-")]


def made(console) -> dict:
    """The database's recovery point of a manual run that shares nothing, once all of the run are available."""
    before = {point["id"] for point in console.points(TENANT)}
    console.run("run", "--tenant", TENANT, "--full")

    def new():
        points = [point for point in console.points(TENANT) if point["id"] not in before]
        return points if len(points) == 3 and all(point["state"] == "available" for point in points) else None

    return next(point for point in wait_until("the run is done", new, 120) if point["kind"] == "database")


def snapshots(console) -> list[dict]:
    """The recovery points that hold snapshots."""
    return [point for point in console.points() if point["kind"] == "snapshot"]


def of_id(console, id: str) -> dict:
    """A recovery point among the newest."""
    return next(point for point in console.points() if point["id"] == id)


def proof(console, id: str) -> str:
    """What is known of a recovery point of the tenant now."""
    return next(point["proof"] for point in console.points(TENANT) if point["id"] == id)


def shown(console, point: dict) -> dict:
    """What the vault says of a recovery point."""
    return console.run("vault", "show", "--tenant", TENANT, "--point", point["id"])


def largest_pack(console, point: dict) -> str:
    """Where the largest pack of a recovery point lies."""
    of_point = shown(console, point)
    largest = max(of_point["link"]["packs"], key=lambda pack: pack["stored_bytes"])
    return f"v1/t/{of_point['vault_tenant']}/packs/{largest['pack']}"


def key_record(console, point: dict) -> str:
    """Where the key record of a recovery point's run lies."""
    of_point = shown(console, point)
    return f"v1/t/{of_point['vault_tenant']}/keys/{of_point['link']['run']}"


def of_class(name: str, inbox, told_before: bool = False) -> list[str]:
    """The texts of the alerts of a class since the last look, the last invocation's among them."""
    if not told_before:
        _seen[:] = inbox.new()
    return [str(alert["message"]) for alert in _seen if name in alert["subject"]]


_seen: list[dict] = []


def role_of(stack, function: str) -> str:
    """The name of a function's role."""
    return stack.client("lambda").get_function_configuration(FunctionName=f"holdfast-{function}")["Role"].rsplit("/", 1)[-1]


def copy(rds, source: str, name: str) -> None:
    """Copies a snapshot with its tags, under its key, and waits for it."""
    (found,) = rds.describe_db_snapshots(DBSnapshotIdentifier=source)["DBSnapshots"]
    rds.copy_db_snapshot(
        SourceDBSnapshotIdentifier=source, TargetDBSnapshotIdentifier=name, KmsKeyId=found["KmsKeyId"], Tags=found["TagList"],
    )

    def available():
        return rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0]["Status"] == "available"

    wait_until(f"snapshot {name} is available", available, 60)
