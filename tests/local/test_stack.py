"""The local stack does what it says: rules of AWS, real databases, and nothing left behind."""

import datetime
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import ClientError

import certs
import guard
import paths
import pghost
import probes
from slots import an_instant
from stack import FunctionError, Stack
from wait import wait_until

WAIT_SECONDS = 60

OWNER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from stack import Stack
stack = Stack().start()
stack.create_instance("orphan", "app")
print(stack.root, stack.endpoint, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("name", [probe.name for probe in probes.load()])
def test_rule_of_aws_holds(rows, name):
    assert rows[name].corrected is None


@pytest.mark.parametrize("name", [probe.name for probe in probes.load()])
def test_correction_is_still_needed(rows, name):
    assert not (rows[name].is_gap and rows[name].bare is None), f"{name}: the emulator keeps this rule now, delete the gap"


@pytest.fixture(scope="module")
def instance(databases):
    databases.create_instance("first", "app", BackupRetentionPeriod=1)
    with _connect(databases, "first") as connection:
        connection.execute("CREATE TABLE kept (number int PRIMARY KEY)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 5000)")
    return databases


def test_instance_shows_the_states_of_a_creation(databases):
    rds, seen = databases.client("rds"), []
    rds.create_db_instance(
        DBInstanceIdentifier="watched", Engine="postgres", DBInstanceClass="db.t4g.micro", AllocatedStorage=20,
        MasterUsername="somebody", MasterUserPassword="a-password-of-nobody", BackupRetentionPeriod=0,
    )

    def look():
        found = _instance(databases, "watched")
        seen.append((found["DBInstanceStatus"], "Endpoint" in found))
        return found["DBInstanceStatus"] == "available"

    wait_until("the instance is available", look, WAIT_SECONDS)
    assert seen[0] == ("creating", False)
    assert seen[-1] == ("available", True)
    rds.delete_db_instance(DBInstanceIdentifier="watched", SkipFinalSnapshot=True)
    assert _instance(databases, "watched")["DBInstanceStatus"] == "deleting"
    wait_until("the instance is gone", lambda: _instance(databases, "watched") is None, WAIT_SECONDS)


def test_master_user_is_no_superuser_but_may_make_roles_and_databases(instance):
    with _connect(instance, "first") as connection:
        row = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, pg_has_role('rds_superuser', 'member')"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == (False, True, True, True)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT pg_read_file('/etc/passwd')")


@pytest.mark.parametrize("mode", ["disable", "verify-full with another authority"])
def test_connection_without_verified_tls_is_refused(instance, mode, tmp_path):
    dsn = instance.dsn("first", "app")
    if mode == "disable":
        dsn = dsn.replace("sslmode=verify-full", "sslmode=disable")
    else:
        dsn = dsn.replace(str(instance.ca_file).replace("/", "%2F"), str(certs.create(tmp_path).authority))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)


def test_snapshot_restores_as_a_new_cluster_with_the_passwords_of_its_data(instance):
    _take_snapshot(instance, "first", "whole")
    with _connect(instance, "first") as connection:
        connection.execute("DELETE FROM kept WHERE number > 100")
    rds = instance.client("rds")
    rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="clone", DBSnapshotIdentifier="whole")
    instance.wait_for_instance("clone")
    assert _servers_of(instance, "clone")
    user, password = "holdfast_master", instance.password("first")
    with psycopg.connect(instance.dsn("clone", "app", user, password)) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (5000,)
    with _connect(instance, "first") as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (100,)
        connection.execute("INSERT INTO kept SELECT generate_series(101, 5000)")
    rds.delete_db_instance(DBInstanceIdentifier="clone", SkipFinalSnapshot=True)
    wait_until("the clone is gone", lambda: _instance(instance, "clone") is None, WAIT_SECONDS)
    assert not _servers_of(instance, "clone")


def test_point_in_time_is_exact(instance):
    with _connect(instance, "first") as connection:
        connection.execute("CREATE TABLE moments (number int)")
        connection.execute("INSERT INTO moments VALUES (1)")
        # The API takes whole seconds: put one between the two inserts.
        connection.execute("SELECT pg_sleep(1.1)")
        between = connection.execute("SELECT clock_timestamp()").fetchone()[0].replace(microsecond=0)
        connection.execute("INSERT INTO moments VALUES (2)")
    assert wait_until("the moment can be restored", lambda: _restore_window(instance, "first")["LatestTime"] >= between, WAIT_SECONDS)
    instance.client("rds").restore_db_instance_to_point_in_time(
        SourceDBInstanceIdentifier="first", TargetDBInstanceIdentifier="earlier", RestoreTime=between
    )
    instance.wait_for_instance("earlier")
    restored = instance.dsn("earlier", "app", "holdfast_master", instance.password("first"))
    with psycopg.connect(restored) as connection:
        assert connection.execute("SELECT number FROM moments").fetchall() == [(1,)]


def test_a_moment_outside_the_window_is_refused_and_nothing_made(instance):
    rds, window = instance.client("rds"), _restore_window(instance, "first")
    for moment in (window["EarliestTime"] - datetime.timedelta(seconds=1), window["LatestTime"] + datetime.timedelta(hours=1)):
        with pytest.raises(ClientError, match="cannot be restored to a time"):
            rds.restore_db_instance_to_point_in_time(
                SourceDBInstanceIdentifier="first", TargetDBInstanceIdentifier="never", RestoreTime=moment
            )
    assert "never" not in {one["DBInstanceIdentifier"] for one in rds.describe_db_instances()["DBInstances"]}
    assert _instance(instance, "first")["LatestRestorableTime"] >= window["LatestTime"]
    instance.create_instance("without-backups", BackupRetentionPeriod=0)
    with pytest.raises(ClientError, match="PointInTimeRestoreNotEnabled"):
        rds.restore_db_instance_to_point_in_time(
            SourceDBInstanceIdentifier="without-backups", TargetDBInstanceIdentifier="never", UseLatestRestorableTime=True
        )
    assert rds.describe_db_instance_automated_backups(DBInstanceIdentifier="without-backups")["DBInstanceAutomatedBackups"] == []


def test_the_backups_of_a_deleted_instance_are_kept_if_that_is_asked_for(instance):
    rds = instance.client("rds")
    instance.create_instance("short-lived", "app", BackupRetentionPeriod=1)
    with _connect(instance, "short-lived") as connection:
        connection.execute("CREATE TABLE moments (number int)")
        connection.execute("INSERT INTO moments VALUES (1)")
        between = an_instant(instance, "short-lived")
        connection.execute("INSERT INTO moments VALUES (2)")
    resource = _instance(instance, "short-lived")["DbiResourceId"]
    rds.delete_db_instance(DBInstanceIdentifier="short-lived", SkipFinalSnapshot=True, DeleteAutomatedBackups=False)
    wait_until("it is gone", lambda: _instance(instance, "short-lived") is None, WAIT_SECONDS)
    (kept,) = [one for one in rds.describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"] if one["Status"] == "retained"]
    assert (kept["DBInstanceIdentifier"], kept["DbiResourceId"]) == ("short-lived", resource)
    with pytest.raises(ClientError, match="DBInstanceNotFound"):
        rds.restore_db_instance_to_point_in_time(
            SourceDBInstanceIdentifier="short-lived", TargetDBInstanceIdentifier="never", RestoreTime=between
        )
    rds.restore_db_instance_to_point_in_time(SourceDbiResourceId=resource, TargetDBInstanceIdentifier="again", RestoreTime=between)
    instance.wait_for_instance("again")
    restored = instance.dsn("again", "app", "holdfast_master", instance.password("short-lived"))
    with psycopg.connect(restored) as connection:
        assert connection.execute("SELECT number FROM moments").fetchall() == [(1,)]
    rds.delete_db_instance_automated_backup(DbiResourceId=resource)
    with pytest.raises(ClientError, match="DBInstanceAutomatedBackupNotFound"):
        rds.restore_db_instance_to_point_in_time(SourceDbiResourceId=resource, TargetDBInstanceIdentifier="never", RestoreTime=between)


def test_damaged_snapshot_is_noticed_when_read(instance):
    with _connect(instance, "first") as connection:
        file = connection.execute("SELECT pg_relation_filepath('kept')").fetchone()[0]
    _take_snapshot(instance, "first", "damaged")
    pghost.damage(instance.snapshot_files("damaged") / file)
    instance.client("rds").restore_db_instance_from_db_snapshot(
        DBInstanceIdentifier="from-damaged", DBSnapshotIdentifier="damaged"
    )
    instance.wait_for_instance("from-damaged")
    restored = instance.dsn("from-damaged", "app", "holdfast_master", instance.password("first"))
    with psycopg.connect(restored) as connection, pytest.raises(psycopg.errors.DataCorrupted):
        connection.execute("SELECT count(*) FROM kept")


def test_rds_tells_eventbridge_when_an_instance_is_ready(instance):
    before = len(instance.invocations())
    instance.create_instance("announced", BackupRetentionPeriod=0)

    def told():
        return [
            one["event"] for one in instance.invocations("operator", after=before)
            if one["event"].get("source") == "aws.rds" and one["event"]["detail"]["SourceIdentifier"] == "announced"
        ]

    event = wait_until("it is told", told, WAIT_SECONDS)[0]
    assert event["detail-type"] == "RDS DB Instance Event"
    assert event["detail"]["EventID"] == "RDS-EVENT-0005"
    assert event["resources"] == [_instance(instance, "announced")["DBInstanceArn"]]


def test_unknown_snapshot_is_named(instance):
    with pytest.raises(ClientError, match="DBSnapshotNotFound"):
        instance.client("rds").restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier="nothing", DBSnapshotIdentifier="nowhere"
        )


def test_schedule_is_fired_with_its_own_input_and_time(databases):
    moment = datetime.datetime(2026, 3, 29, 0, 15, tzinfo=datetime.timezone.utc)
    invocation = databases.fire_schedule("nightly", moment)
    assert invocation["event"] == {"tick": {"rule": "nightly", "scheduled_time": "2026-03-29T00:15:00Z"}}
    assert invocation["error"] is None


@pytest.mark.parametrize(
    ("after", "fires"),
    [
        ("2026-01-10T00:00:00+00:00", "2026-01-10T01:15:00+00:00"),  # winter: one hour ahead of UTC
        ("2026-07-10T00:00:00+00:00", "2026-07-10T00:15:00+00:00"),  # summer: two
        ("2026-07-10T00:15:00+00:00", "2026-07-11T00:15:00+00:00"),
    ],
)
def test_cron_is_read_in_its_zone(after, fires):
    from gaps import schedules
    from ministack.services import eventbridge, scheduler

    known = scheduler._tick_schedules, scheduler._at_time_epoch, eventbridge._parse_cron_fields, eventbridge._cron_next_fire
    schedules.time_zone()
    try:
        fields = eventbridge._parse_cron_fields(schedules.ZonedExpression("cron(15 2 * * ? *)", "Europe/Berlin"))
        found = eventbridge._cron_next_fire(fields, datetime.datetime.fromisoformat(after))
    finally:
        (
            scheduler._tick_schedules, scheduler._at_time_epoch, eventbridge._parse_cron_fields,
            eventbridge._cron_next_fire,
        ) = known
    assert found == datetime.datetime.fromisoformat(fires)


def test_killed_function_fails_the_invocation_and_the_next_one_works(databases):
    with ThreadPoolExecutor(1) as background:
        running = background.submit(databases.invoke, "operator", {"do": "sleep", "seconds": 1.5})
        wait_until("the function is at work", lambda: databases.kill("operator"), WAIT_SECONDS)
        with pytest.raises(FunctionError, match="Runtime.ExitError"):
            running.result()
    assert databases.invoke("operator", {"again": True}) == {"again": True}


def test_alerts_reach_the_inbox(databases):
    databases.client("sns").publish(
        TopicArn=databases.outputs["AlertTopicArn"], Subject="Subject", Message='{"what": "happened"}',
        MessageAttributes={"severity": {"DataType": "String", "StringValue": "page"}},
    )
    assert databases.alerts() == [
        {"subject": "Subject", "message": {"what": "happened"}, "attributes": {"severity": "page"}}
    ]
    assert databases.alerts() == []


def test_everything_listens_on_loopback_only(databases):
    sockets = set()
    for pid in guard.processes_of(databases.root):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(os.readlink(handle))
            except OSError:
                continue
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                listening.append(fields[1].split(":")[0])
    assert listening
    assert set(listening) == {"0100007F"}


def test_nothing_is_left_when_the_owner_is_killed():
    owner = subprocess.Popen([sys.executable, "-c", OWNER, paths.HERE], stdout=subprocess.PIPE, text=True)
    root = Path(owner.stdout.readline().split()[0])
    assert guard.processes_of(root)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    wait_until("the stack's folder is gone", lambda: not root.exists(), WAIT_SECONDS)
    assert guard.processes_of(root) == []


def test_nothing_is_left_after_stop():
    stack = Stack(databases=False).start()
    root = stack.root
    stack.stop()
    stack.stop()
    assert not root.exists()
    assert guard.processes_of(root) == []


def _connect(stack: Stack, instance: str):
    return psycopg.connect(stack.dsn(instance, "app"), autocommit=True)


def _restore_window(stack, name):
    backups = stack.client("rds").describe_db_instance_automated_backups(DBInstanceIdentifier=name)
    return backups["DBInstanceAutomatedBackups"][0]["RestoreWindow"]


def _instance(stack: Stack, identifier: str) -> dict | None:
    rds = stack.client("rds")
    try:
        return rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
    except rds.exceptions.DBInstanceNotFoundFault:
        return None


def _take_snapshot(stack: Stack, instance: str, snapshot: str) -> None:
    rds = stack.client("rds")
    rds.create_db_snapshot(DBInstanceIdentifier=instance, DBSnapshotIdentifier=snapshot)
    wait_until(
        f"snapshot {snapshot} is available",
        lambda: rds.describe_db_snapshots(DBSnapshotIdentifier=snapshot)["DBSnapshots"][0]["Status"] == "available", WAIT_SECONDS,
    )


def _servers_of(stack: Stack, identifier: str) -> list[int]:
    """The database servers of an instance. Judged by its folder alone: the checkout may be called like the instance."""
    found = []
    for pid in guard.processes_of(stack.root):
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except FileNotFoundError:
            continue  # ended since
        folders = [Path(one).relative_to(stack.root / "pg") for one in arguments if one.startswith(f"{stack.root}/pg/")]
        found += [pid for folder in folders if identifier in str(folder)]
    return found
