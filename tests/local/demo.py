"""The demo: a platform is backed up, two tenants are lost, restored and proven, and a gap in coverage is noticed.

What is claimed is checked twice: by Holdfast's own proof, and by `psql` and `pg_dump` (see `compare.py`), which share
no code with it. Any difference ends the demo with a non-zero status.
"""

import datetime
import json
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import compare
import psql
import saas
from console import APPROVES, ASKS, Console, Refused
from narrate import Narrator
from slots import as_text, last_slots
from wait import wait_until

POOL_VICTIM = "kestrelair"
DATABASE_VICTIM = "delta-foods"
EXPORT_RULES = ("exports-critical", "exports-standard")
METADATA = {"media", "configuration"}
SNAPSHOT_SECONDS = 120
DRILL_SECONDS = 240
ALERT_SECONDS = 60
POLL_SECONDS = 1.0


class DemoFailed(Exception):
    """Something that the demo claims did not hold."""


def run_demo(stack, keep: bool) -> int:
    """Tells the whole story on a running stack; returns the exit status."""
    demo = Demo(stack, Narrator())
    try:
        demo.run()
    except (DemoFailed, Refused, TimeoutError, psql.PsqlError) as failure:
        demo.tell.bad(str(failure))
        demo.tell.finish("The demo FAILED")
        demo.tell.say(f"The saved copies are in {demo.copies}; compare them with `diff -r`.")
        return 1
    demo.tell.finish("Both tenants are back, proven twice, and nobody else was touched")
    if keep:
        demo.tell.say(f"Copies taken by psql: {demo.copies}/before and {demo.copies}/after; compare them with `diff -r`.")
    else:
        shutil.rmtree(demo.copies)
    return 0


class Demo:
    """The steps of the story, in order, and what they leave for each other."""

    def __init__(self, stack, tell: Narrator):
        self.stack, self.tell = stack, tell
        self.console = Console(stack)
        self.copies = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))

    def run(self) -> None:
        """All steps; the first thing that does not hold raises DemoFailed."""
        self.build_platform()
        self.fire_schedules()
        self.list_points()
        self.lose_two_tenants()
        for tenant in self.victims:
            self.restore(tenant)
        self.prove_independently()
        self.restore_test()
        self.notice_a_gap()

    def build_platform(self) -> None:
        """Builds what is to be protected, and saves what it holds by independent means."""
        self.tell.step("A SaaS platform on real PostgreSQL: 13 tenants in all four layouts")
        self.platform = saas.build(self.stack, self.tell.say)
        self.victims = [self.platform.tenant(POOL_VICTIM), self.platform.tenant(DATABASE_VICTIM)]
        for tenant, saved in self._save_all("before"):
            self.tell.say(f"{tenant.id:<12} {tenant.layout:<9} {tenant.criticality:<9} {saved}")

    def fire_schedules(self) -> None:
        """Lets EventBridge Scheduler deliver its ticks to the functions."""
        self.tell.step("The schedules fire: a snapshot of every instance, an export of every tenant")
        for rule in ("snapshots-daily", *EXPORT_RULES):
            started = time.monotonic()
            slot = last_slots(self.platform.plan, rule)[0]
            self._fire(rule, slot)
            self.tell.say(f"{rule:<17} slot {as_text(slot)} delivered and done ({time.monotonic() - started:.1f} s)")
        self._until("every snapshot is available", self._snapshots_available, SNAPSHOT_SECONDS, "snapshots-follow")
        self.tell.good("every instance's snapshot is available")

    def list_points(self) -> None:
        """Every tenant must now have a recovery point."""
        self.tell.step("The recovery points")
        lines = self.console.table("points").splitlines()
        metadata = [line for line in lines if METADATA & set(line.split())]
        shown = [line for line in lines if line not in metadata]
        self.tell.typed("holdfast points", "\n".join([*shown, f"… and {len(metadata)} points of media and configuration"]))
        without = [tenant.id for tenant in self.platform.tenants if not self.console.available(tenant.id)]
        if without:
            raise DemoFailed(f"no recovery point for {', '.join(without)}")
        self.tell.good(f"all {len(self.platform.tenants)} tenants have an available recovery point")

    def lose_two_tenants(self) -> None:
        """The accident."""
        pooled, dropped = self.victims
        self.tell.step(f"An accident: {pooled.id}'s rows are deleted from the pool, {dropped.id}'s database is dropped")
        count = f"SELECT count(*) FROM app.customers WHERE tenant_id = {psql.literal(pooled.id)}"
        before = psql.value(self.platform.dsn(pooled), count)
        self.platform.destroy(pooled)
        self.tell.typed(f'psql pool -c "{count}"', f"{psql.value(self.platform.dsn(pooled), count)}    (it was {before})")
        self.platform.destroy(dropped)
        server = self.stack.dsn(dropped.instance, "postgres")
        gone = f"SELECT count(*) FROM pg_database WHERE datname = {psql.literal(dropped.database)}"
        self.tell.typed(f'psql shared -c "{gone}"', psql.value(server, gone))

    def restore(self, tenant) -> None:
        """Two people bring one tenant back; one alone cannot."""
        self.tell.step(f"The restore of {tenant.id}: requested, previewed, approved by a second person, carried out")
        reason = f"rows lost in an accident ({tenant.layout})"
        request = self.console.request(tenant.id, reason)
        self.tell.typed(f"[{ASKS}] holdfast restore request --tenant {tenant.id} --reason '{reason}'", request)
        digest = self.console.preview(request)["digest"]
        self.tell.typed(f"[{ASKS}] holdfast restore preview {request}", self.console.table("restore", "preview", request))
        command = f"holdfast restore approve {request} --digest {digest[:12]}…"
        self.tell.typed(f"[{ASKS}] {command}", self._refused_self_approval(request, digest))
        approved = self.console.approve(request, digest)
        self.tell.typed(f"[{APPROVES}] {command}", f"approved by {approved['approvals'][0]['by']}")
        self.tell.typed(f"[{ASKS}] holdfast restore watch {request}", self.console.table("restore", "watch", request))
        self.tell.good("Holdfast's own proof: what is there now has the digests of the recovery point")

    def prove_independently(self) -> None:
        """Row by row, with psql and pg_dump: the lost tenants are back, and nobody else changed."""
        self.tell.step("The independent proof: psql and pg_dump, row by row, against the copies saved before")
        saved = self._save_all("after")
        differences = {tenant.id: self._differences(tenant.id) for tenant, _ in saved}
        for tenant, after in saved:
            if not differences[tenant.id]:
                what = "restored, identical" if tenant in self.victims else "not touched, unchanged"
                self.tell.good(f"{tenant.id:<12} {what:<23} {after}")
        for tenant_id, found in differences.items():
            for difference in found:
                self.tell.bad(f"{tenant_id}: {difference}")
        shared = self._differences("(shared tables of the pool)")
        if shared or any(differences.values()):
            wrong = [tenant_id for tenant_id, found in differences.items() if found] + ["the pool's shared tables"] * bool(shared)
            raise DemoFailed(f"not what it was before: {', '.join(wrong)}")
        self.tell.good("the pool's shared tables are unchanged")

    def restore_test(self) -> None:
        """Lets `verify` restore the newest recovery points into one isolated instance for each of production's, and compare."""
        self.tell.step("The restore tests: a clone of each instance takes its tenants' recovery points, which are compared; then it is torn down")
        before, production = self._proven(), self._instances()
        self._fire("verify-daily")
        # A small tenant's test may be over, and its instance gone, before anybody looks.
        for instance in sorted(self._instances() - production):
            self.tell.say(f"isolated instance: {instance}")
        self._until("every isolated instance is gone", lambda: self._instances() <= production, DRILL_SECONDS, "verify-follow")
        proven = [point for key, point in self._proven().items() if key not in before]
        if not proven:
            raise DemoFailed("no recovery point was proven")
        for point in proven:
            if "tenant" in point:
                self.tell.good(f"{point['tenant']}: {point['id']} proven, {point['rows']:,} rows compared in isolation")
            else:
                self.tell.good(f"instance {point['instance']}: snapshot {point['id']} proven, by a clone that answered")
        self.tell.good("the isolated instances are gone")

    def notice_a_gap(self) -> None:
        """A tenant without a backup is an alarm, without anybody having configured it."""
        self.tell.step("A new tenant signs up and is not backed up: silence is a failure")
        two_days_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)
        newcomer = saas.pooled("opalmedia", "Opalmedia Verlag", percent=5, created_at=two_days_ago.isoformat(timespec="seconds"))
        self.platform.add_tenant(newcomer)
        self.tell.say(f"{newcomer.id} has been in the register for two days")
        self._fire("reconcile")
        about = self._until(
            f"an alert about {newcomer.id} reaches its subscriber",
            lambda: [alert for alert in self.stack.alerts() if newcomer.id in str(alert["message"])], ALERT_SECONDS,
        )
        self.tell.typed("aws sqs receive-message   # a queue subscribed to the alert topic", as_lines(about[0]))
        self.tell.good("the gap was noticed and told")

    def _fire(self, rule: str, slot: datetime.datetime | None = None) -> None:
        invocation = self.stack.fire_schedule(rule, slot)
        if invocation["error"]:
            raise DemoFailed(f"the function behind {rule} failed: {invocation['error']}")

    def _refused_self_approval(self, request: str, digest: str) -> str:
        try:
            self.console.approve(request, digest, user=ASKS)
        except Refused as refused:
            return refused.said
        raise DemoFailed(f"{ASKS} could approve a request of their own")

    def _until(self, what: str, look, seconds: float, follow: str | None = None):
        """Waits for a truth, firing the schedule that moves things on."""

        def look_again():
            found = look()
            if not found and follow:
                self._fire(follow)
            return found

        return wait_until(what, look_again, seconds, POLL_SECONDS)

    def _proven(self) -> dict[str, dict]:
        return {point["id"]: point for point in self.console.points() if point["proof"] == "proven"}

    def _instances(self) -> set[str]:
        return {found["DBInstanceIdentifier"] for found in self.stack.client("rds").describe_db_instances()["DBInstances"]}

    def _snapshots_available(self) -> bool:
        snapshots = [point for point in self.console.points() if point["kind"] == "snapshot"]
        return len(snapshots) >= len(self._instances()) and all(point["state"] == "available" for point in snapshots)

    def _save_all(self, when: str) -> list:
        with ThreadPoolExecutor(2) as workers:
            tenants = self.platform.tenants
            saved = workers.map(lambda tenant: compare.save(self.platform, tenant, self.copies / when / tenant.id), tenants)
            compare.save_shared(self.platform, self.victims[0], self.copies / when / "(shared tables of the pool)")
            return list(zip(tenants, saved))

    def _differences(self, name: str) -> list[compare.Difference]:
        return compare.differences(self.copies / "before" / name, self.copies / "after" / name)


def as_lines(alert: dict) -> str:
    """An alert as its subscriber received it."""
    message = alert["message"]
    body = message if isinstance(message, str) else json.dumps(message, indent=2, ensure_ascii=False)
    return f"{alert['subject'] or ''}\n{body}".strip()
