"""The RDS API over real PostgreSQL: moto answers the calls, `pghost` does what they ask.

moto keeps the records (instances, snapshots, tags, filters). Every state that takes time
on RDS takes visible time here, the work happens in the background, and its end is told
to EventBridge in the shape RDS uses. What moto gets wrong for this purpose is corrected
in the methods below, each with its reason.
"""

import contextvars
import datetime
import json
import math
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from moto.core.responses import ActionResult, PaginatedResult
from moto.rds import models, responses
from moto.server import create_backend_app

from pghost import PostgresHost

ENGINE = "postgres"
SAYS_FILE = "says.json"
WORK_IN_PROGRESS = ("creating", "deleting", "starting", "stopping")

Tell = Callable[[object, str], None]
"""Publishes what happened to a resource: (resource, event name of `rds_events`)."""

_origin: contextvars.ContextVar[tuple | None] = contextvars.ContextVar("origin", default=None)
"""Where the instance now being created comes from: None, ("snapshot", arn) or ("time", key of the host, seconds)."""

_gone: contextvars.ContextVar = contextvars.ContextVar("gone", default=None)
"""The deleted instance that this restore is of, which nobody else finds any more."""


class PostgresBackend(models.RDSBackend):
    """moto's RDS records with running servers behind them."""

    __module__ = models.__name__  # moto finds the URL table of a backend by its module
    host: PostgresHost
    tell: Tell
    transition_seconds: float = 1.0
    log_behind_seconds: float = 2.0
    server_version: str = "15.0"
    says_file: Path

    def __init__(self, region_name, account_id):
        super().__init__(region_name, account_id)
        self.kept: dict[str, tuple] = {}
        """By resource id: an instance that is gone, and the moments that its kept backups can be restored to."""

    # Instances ---------------------------------------------------------------

    def create_db_instance(self, db_kwargs):
        origin = _origin.get()
        if db_kwargs.get("engine") != ENGINE or db_kwargs.get("db_cluster_identifier"):
            raise models.InvalidParameterValue(f"The local stack only has plain instances of engine {ENGINE}.")
        if "master_user_password" not in db_kwargs and not origin:
            raise models.InvalidParameterValue("The parameter MasterUserPassword must be provided.")
        db_kwargs["engine_version"] = self.server_version
        instance = super().create_db_instance(db_kwargs)
        # moto gives every instance the same resource id.
        instance.dbi_resource_id = "db-" + secrets.token_hex(13).upper()
        self._run(instance, "creating", self._launcher(instance, origin, db_kwargs), _created_event(origin))
        return instance

    def restore_db_instance_from_db_snapshot(self, from_snapshot_id, overrides):
        snapshot = self.get_db_snapshot(from_snapshot_id)
        if snapshot.status != "available":
            raise models.RDSClientError(
                "InvalidDBSnapshotState", f"Snapshot {snapshot.resource_id} is in the state {snapshot.status}."
            )
        with _coming_from("snapshot", snapshot.arn):
            return super().restore_db_instance_from_db_snapshot(from_snapshot_id, _not_protected(overrides))

    def restore_db_instance_to_point_in_time(self, source_db_identifier, target_db_identifier, overrides):
        resource_id = overrides.pop("source_dbi_resource_id", None)
        kept = self.kept.get(resource_id)
        if resource_id and not kept:
            source_db_identifier = self._running(resource_id)
        source = kept[0] if kept else self.describe_db_instances(source_db_identifier)[0]
        window = kept[1] if kept else self._restore_window(source)
        if not window:
            raise models.RDSClientError(
                "PointInTimeRestoreNotEnabled", f"{source_db_identifier} keeps no automated backups."
            )
        seconds = _unix_seconds(overrides.pop("restore_time", None))
        if seconds is not None and not window[0] <= seconds <= window[1]:
            raise models.InvalidParameterValue(
                f"The specified instance cannot be restored to a time earlier than {_moment(window[0])} or later than {_moment(window[1])}."
            )
        token = _gone.set(source if kept else None)
        try:
            with _coming_from("time", source.dbi_resource_id if kept else source.arn, seconds):
                return super().restore_db_instance_to_point_in_time(
                    source.db_instance_identifier, target_db_identifier, _not_protected(overrides)
                )
        finally:
            _gone.reset(token)

    def describe_db_instances(self, db_instance_identifier=None, filters=None):
        gone = _gone.get()
        if gone and gone.db_instance_identifier == db_instance_identifier:
            return [gone]
        return super().describe_db_instances(db_instance_identifier, filters)

    def describe_db_instance_automated_backups(self, db_instance_identifier=None, **_):
        # moto derives them from automated snapshots, of which there are none here, and tells no times.
        found = [self.databases.get(db_instance_identifier)] if db_instance_identifier else list(self.databases.values())
        active = [_automated_backup(one, window) for one in found if one and (window := self._restore_window(one))]
        # RDS finds those of an instance that is gone by its resource id, or among all.
        kept = [] if db_instance_identifier else [_automated_backup(*one, "retained") for one in self.kept.values()]
        return active + kept

    def delete_db_instance_automated_backup(self, resource_id):
        """Lets go what is kept of an instance that is gone."""
        if resource_id not in self.kept:
            raise _no_such_backup(resource_id)
        return _automated_backup(*self.kept.pop(resource_id), "deleting")

    def _running(self, resource_id) -> str:
        """The name of an instance by its resource id."""
        for instance in self.databases.values():
            if instance.dbi_resource_id == resource_id:
                return instance.db_instance_identifier
        raise _no_such_backup(resource_id)

    def _restore_window(self, instance) -> tuple[float, float] | None:
        """The moments (Unix seconds, whole) that an instance can be restored to."""
        since = self.host.restorable_since(instance.arn)
        if since is None:
            return None
        # RDS ships the log every few minutes, so the last minutes cannot be restored yet.
        return math.ceil(since), max(math.ceil(since), math.floor(time.time() - self.log_behind_seconds))

    def modify_db_instance(self, db_instance_identifier, db_kwargs):
        # Every server of this machine has a port of its own, so another's cannot be had.
        db_kwargs.pop("db_port_number", None)
        instance = super().modify_db_instance(db_instance_identifier, db_kwargs)
        if password := db_kwargs.get("master_user_password"):
            self.host.submit(
                instance.arn, self.host.set_password, instance.arn, instance.master_username, password
            ).result()
        return instance

    def delete_db_instance(self, db_instance_identifier, **options):
        instance = self._ready(db_instance_identifier, "available", "stopped", "failed")
        keeps = options.get("delete_automated_backups") is False and self._restore_window(instance) is not None
        deleted = super().delete_db_instance(db_instance_identifier, **options)
        # moto forgets the record at once; RDS shows it as `deleting` until it is gone.
        self.databases[db_instance_identifier] = instance

        def remove():
            if keeps:
                window = self._restore_window(instance)[0], math.floor(time.time())
                self.host.delete(instance.arn, keep_backups_as=instance.dbi_resource_id)
                self.kept[instance.dbi_resource_id] = instance, window
            else:
                self.host.delete(instance.arn)
            self.databases.pop(db_instance_identifier, None)

        self._run(deleted, "deleting", remove, "instance deleted", then="deleted")
        return deleted

    def stop_db_instance(self, db_instance_identifier, db_snapshot_identifier=None):
        instance = super().stop_db_instance(db_instance_identifier, db_snapshot_identifier)
        self._run(instance, "stopping", lambda: self.host.stop(instance.arn), "instance stopped", then="stopped")
        return instance

    def start_db_instance(self, db_instance_identifier):
        instance = super().start_db_instance(db_instance_identifier)
        self._run(instance, "starting", lambda: self.host.start(instance.arn), "instance started")
        return instance

    # Snapshots ---------------------------------------------------------------

    def create_db_snapshot(self, db_instance_identifier, db_snapshot_identifier, **options):
        instance = self._ready(db_instance_identifier, "available")
        snapshot = super().create_db_snapshot(db_instance_identifier, db_snapshot_identifier, **options)
        snapshot.percent_progress = 0
        self._run(
            snapshot, "creating", lambda: self.host.snapshot(instance.arn, snapshot.arn), "snapshot created",
            queue=instance.arn,
        )
        return snapshot

    def copy_db_snapshot(self, source_db_snapshot_identifier, target_db_snapshot_identifier, **options):
        source = self.get_db_snapshot(source_db_snapshot_identifier)
        if source.status != "available":
            raise models.RDSClientError("InvalidDBSnapshotState", f"Snapshot {source.resource_id} is in the state {source.status}.")
        copy = super().copy_db_snapshot(source_db_snapshot_identifier, target_db_snapshot_identifier, **options)
        copy.source_db_snapshot_identifier = source.arn
        copy.percent_progress = 0
        self._run(copy, "creating", lambda: self.host.copy_snapshot(source.arn, copy.arn), "snapshot created")
        return copy

    @property
    def SNAPSHOT_QUOTA(self):
        """How many manual snapshots the account may hold."""
        return self.pretended("snapshot_quota", super().SNAPSHOT_QUOTA)

    @classmethod
    def pretended(cls, what, otherwise):
        """What a test has RDS say for a while (`Stack.rds_says`)."""
        try:
            return json.loads(cls.says_file.read_text()).get(what, otherwise)
        except FileNotFoundError:
            return otherwise

    def delete_db_snapshot(self, db_snapshot_identifier):
        snapshot = super().delete_db_snapshot(db_snapshot_identifier)
        self._run(
            snapshot, "deleting", lambda: self.host.delete_snapshot(snapshot.arn), "snapshot deleted", then="deleted"
        )
        return snapshot

    def _validate_kms_key(self, kms_key_id):
        return kms_key_id  # the keys are in the emulator's KMS, not in moto's

    # Background work ---------------------------------------------------------

    def _ready(self, identifier, *states):
        instance = self.describe_db_instances(identifier)[0]
        if instance.status not in states:
            raise models.RDSClientError(
                "InvalidDBInstanceState", f"Instance {identifier} is not in the state {' or '.join(states)}."
            )
        return instance

    def _launcher(self, instance, origin, db_kwargs):
        host = self.host

        def launch():
            match origin:
                case None:
                    instance.port = host.create(
                        instance.arn, instance.master_username, db_kwargs["master_user_password"], instance.db_name,
                        backups=bool(instance.backup_retention_period),
                    )
                case ("snapshot", snapshot):
                    instance.port = host.restore(snapshot, instance.arn)
                case ("time", source, seconds):
                    instance.port = host.restore_to_time(source, instance.arn, seconds)

        return launch

    def _run(self, resource, doing, work, event, then="available", queue=None):
        """Shows `doing` while the work runs (for a visible time), then `then` or `failed`."""
        resource.status = doing
        host, tell, least_seconds = self.host, self.tell, self.transition_seconds

        def run():
            started = time.monotonic()
            try:
                work()
            except Exception as error:
                resource.status = "failed"
                print(f"RDS: {doing} {resource.arn} failed: {error}", flush=True)
                tell(resource, "instance failed" if isinstance(resource, models.DBInstance) else "snapshot failed")
                return
            time.sleep(max(0.0, least_seconds - (time.monotonic() - started)))
            resource.status = then
            if isinstance(resource, models.DBSnapshot):
                resource.percent_progress = 100
            tell(resource, event)

        host.submit(queue or resource.arn, run)


class _coming_from:
    """Tells `create_db_instance`, which moto's restores call, what it restores."""

    def __init__(self, *origin):
        self.origin = origin

    def __enter__(self):
        self.token = _origin.set(self.origin)

    def __exit__(self, *_):
        _origin.reset(self.token)


def application(host: PostgresHost, tell: Tell, server_version: str):
    """moto's RDS as a WSGI application with the given servers behind it."""
    PostgresBackend.host = host
    PostgresBackend.tell = staticmethod(tell)
    PostgresBackend.server_version = server_version
    PostgresBackend.says_file = host.root / SAYS_FILE
    PostgresBackend.transition_seconds = float(os.environ.get("HOLDFAST_LOCAL_RDS_SECONDS", "1"))
    models.rds_backends.backend = PostgresBackend
    models.DBInstance.save_automated_backup = lambda self: None
    models.DBInstance.endpoint = property(_endpoint)
    models.DBInstance.latest_restorable_time = property(_latest_restorable_time)
    models.DBSnapshot.snapshot_create_time = property(_snapshot_create_time)
    responses.RDSResponse.delete_db_instance_automated_backup = _delete_automated_backup
    responses.RDSResponse.describe_db_snapshots = _paged(responses.RDSResponse.describe_db_snapshots)
    return create_backend_app("rds")


def _endpoint(instance):
    # RDS shows no endpoint before the instance can be reached.
    if instance.status in WORK_IN_PROGRESS or instance.status == "failed":
        return None
    return {"Address": "localhost", "Port": instance.port, "HostedZoneId": "Z1RLNUO7B9Q6NB"}


def _snapshot_create_time(snapshot):
    return snapshot.created - datetime.timedelta(seconds=PostgresBackend.pretended("snapshots_older_by_seconds", 0))


def _latest_restorable_time(instance):
    window = instance.backend._restore_window(instance)
    return _moment(window[1]) if window else None


def _automated_backup(instance, window, status="active"):
    return {
        "DBInstanceArn": instance.arn,
        "DbiResourceId": instance.dbi_resource_id,
        "DBInstanceIdentifier": instance.db_instance_identifier,
        "Status": status,
        "Engine": ENGINE,
        "BackupRetentionPeriod": instance.backup_retention_period,
        "RestoreWindow": {"EarliestTime": _moment(window[0]), "LatestTime": _moment(window[1])},
    }


def _no_such_backup(resource_id):
    return models.RDSClientError("DBInstanceAutomatedBackupNotFound", f"There is no automated backup of {resource_id}.")


def _delete_automated_backup(self):
    backup = self.backend.delete_db_instance_automated_backup(self.params.get("DbiResourceId"))
    return ActionResult({"DBInstanceAutomatedBackup": backup})


def _paged(describe):
    """moto answers all snapshots at once; RDS honours MaxRecords and Marker."""

    def paged(self):
        return PaginatedResult(describe(self).result)

    return paged


def _created_event(origin):
    return {"snapshot": "instance restored", "time": "instance restored to time"}[origin[0]] if origin else \
        "instance created"


def _not_protected(overrides):
    # moto copies the protection of the source; RDS restores without it unless asked.
    overrides.setdefault("deletion_protection", False)
    return overrides


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def _unix_seconds(when) -> float | None:
    if when is None:
        return None
    if isinstance(when, str):
        when = datetime.datetime.fromisoformat(when.replace("Z", "+00:00"))
    return (when if when.tzinfo else when.replace(tzinfo=datetime.timezone.utc)).timestamp()
