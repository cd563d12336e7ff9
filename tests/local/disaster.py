"""A platform that is backed up, lost whole, recovered, and compared by `psql` with what it was: for the game day and the end-to-end tests.

Snapshots are taken first and data changes after them, so that what comes back from snapshots alone can be told from what comes back
from exports.
"""

import datetime
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import compare
import psql
import saas
from console import APPROVES, ASKS, Console
from saas.build import MASTER_USER
from slots import an_instant, as_text, last_slots
from wait import wait_until

SNAPSHOT_SECONDS = 180
DELETE_SECONDS = 120
CENTRAL = saas.Tenant("@central", "the platform's own database", "silo", "central", "central", None, criticality="critical")
SNAPSHOT_ONLY = ("emberlight", "harborside", "lumenlabs")
"""Tenants, one of each layout on shared instances, that were not exported after the snapshots."""


class Disaster:
    """One platform on one stack, from its backups to its loss and back."""

    def __init__(self, stack, folder: Path):
        self.stack, self.folder = stack, folder
        self.console = Console(stack)

    # Before ------------------------------------------------------------------

    def build(self, say=lambda _: None) -> None:
        """The platform, with nothing of it backed up."""
        self.platform = saas.build(self.stack, say)

    @property
    def everybody(self) -> list:
        """Every tenant, and the platform's own database."""
        return [CENTRAL, *self.platform.tenants]

    @property
    def exported(self) -> list:
        """Those with an export that is newer than their instance's snapshot."""
        return [tenant for tenant in self.everybody if tenant.id not in SNAPSHOT_ONLY]

    def take_snapshots(self) -> list[dict]:
        """A snapshot of every instance, followed until it can be restored."""
        slot = as_text(last_slots(self.platform.plan, "snapshots-daily")[0])
        self.stack.invoke("snapshot", {"tick": {"rule": "snapshots-daily", "scheduled_time": slot}})

        def all_available():
            self.stack.invoke("snapshot", {"tick": {"rule": "snapshots-follow", "scheduled_time": slot}})
            points = [point for point in self.console.points() if point["kind"] == "snapshot"]
            return points if points and all(point["state"] == "available" for point in points) else None

        return wait_until("every snapshot is available", all_available, SNAPSHOT_SECONDS)

    def live_on(self, tenants, word: str) -> None:
        """Business goes on: every one of these tenants changes a row and adds one."""
        for tenant in tenants:
            dsn = self.platform.dsn(tenant)
            if tenant is CENTRAL:
                psql.execute(dsn, f"UPDATE register.tenants SET display_name = display_name || ' ({word})' WHERE tenant_id = 'acme'")
                continue
            table, pooled = f"{psql.identifier(tenant.table_schema)}.settings", tenant.layout == "pool"
            mine = f"tenant_id = {psql.literal(tenant.id)}" if pooled else "true"
            columns, values = ("tenant_id, key, value", f"{psql.literal(tenant.id)}, ") if pooled else ("key, value", "")
            psql.execute(
                dsn, f"UPDATE {table} SET value = to_jsonb({psql.literal(word)}::text) WHERE {mine}",
                f"INSERT INTO {table} ({columns}) VALUES ({values}{psql.literal(word)}, 'true')",
            )

    def export(self, tenants) -> None:
        """An export of each, asked for by hand so that it is of this moment."""
        now = as_text(datetime.datetime.now(datetime.timezone.utc))
        with ThreadPoolExecutor(2) as workers:
            events = [{"item": {"tenant": tenant.id, "requested_at": now}} for tenant in tenants]
            list(workers.map(lambda event: self.stack.invoke("export", event), events))

    def back_up(self) -> None:
        """Snapshots, then some life, then exports of all but a few; and copies by `psql` of what each backup holds."""
        self.take_snapshots()
        self.snapshots_taken = an_instant(self.stack, CENTRAL.instance)
        self.save([tenant for tenant in self.everybody if tenant.id in SNAPSHOT_ONLY])
        self.live_on(self.everybody, "after the snapshot")
        self.export(self.exported)
        self.save(self.exported)
        compare.save_shared(self.platform, self.platform.in_layout("pool")[0], self.folder / "before" / "(shared)")
        self.live_on(self.everybody, "after the last backup")

    def save(self, tenants, kept: str = "before") -> None:
        """Copies of tenants as they are now, by `psql`, under a word for when that is."""
        with ThreadPoolExecutor(2) as workers:
            list(workers.map(lambda tenant: compare.save(self.platform, tenant, self.folder / kept / tenant.id), tenants))

    # The loss ----------------------------------------------------------------

    def instances(self) -> set[str]:
        """The database instances there are."""
        return {found["DBInstanceIdentifier"] for found in self.stack.client("rds").describe_db_instances()["DBInstances"]}

    def lose_everything(self, but_keeps_backups_of: tuple[str, ...] = ()) -> set[str]:
        """Deletes every database instance of the platform, with its automated backups but for these instances'."""
        rds, production = self.stack.client("rds"), {database.instance for database in saas.DATABASES.values()}
        self.passwords = {instance: self.stack.password(instance) for instance in production}
        for instance in production:
            keeps = instance in but_keeps_backups_of
            rds.delete_db_instance(DBInstanceIdentifier=instance, SkipFinalSnapshot=True, DeleteAutomatedBackups=not keeps)
        wait_until("production is gone", lambda: not self.instances() & production, DELETE_SECONDS)
        return production

    # The recovery ------------------------------------------------------------

    def request(self, reason: str, time: str | None = None, native: bool = False) -> str:
        """Asks for the recovery; returns its id."""
        when = [*(["--time", time] if time else []), *(["--native"] if native else [])]
        return self.console.run("recover", "request", "--reason", reason, *when)["recovery"]

    def preview(self, recovery: str) -> dict:
        """What it would do, once it waits for approval."""
        return self.console.run("recover", "preview", recovery)

    def approve(self, recovery: str, digest: str, user: str = APPROVES) -> dict:
        """Agrees to a plan, as another operator unless told otherwise."""
        return self.console.run("recover", "approve", recovery, "--digest", digest, user=user)

    def watch(self, recovery: str) -> tuple[int, dict, str]:
        """Follows it to its end: the command's exit status, the answer, and what a person sees."""
        seen = self.stack.cli("recover", "watch", recovery, timeout=600)
        answer = self.stack.cli("--output", "json", "recover", "watch", recovery, user=ASKS, timeout=600)
        return seen.returncode, json.loads(answer.stdout), seen.stdout

    # After -------------------------------------------------------------------

    def differences(self, report: dict, tenants, kept: str = "before") -> dict[str, list]:
        """What about these tenants, on the new instances, is not what was saved under that word: read by `psql` alone."""
        recovered = Recovered(self, report)
        after = self.folder / "after" / report["recovery"]
        count = len(list(after.iterdir())) if after.exists() else 0
        found = {}
        for tenant in tenants:
            copy = after / f"{count}-{tenant.id}"
            compare.save(recovered, tenant, copy)
            if difference := compare.differences(self.folder / kept / tenant.id, copy):
                found[tenant.id] = difference
        return found


class Recovered:
    """The platform on the instances of a recovery: where `psql` finds a tenant now."""

    def __init__(self, disaster: Disaster, report: dict):
        self._disaster = disaster
        self._moved = {made["replaces"]: made["instance"] for made in report["instances"]}

    def dsn(self, tenant) -> str:
        """How to connect to the tenant's database as the master user, whose password came with the snapshot."""
        stack, password = self._disaster.stack, self._disaster.passwords[tenant.instance]
        return stack.dsn(self._moved[tenant.instance], tenant.database, MASTER_USER, password)
