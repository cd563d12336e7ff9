"""A game day: the platform is backed up, every database instance is lost, and the environment is recovered and measured.

What is claimed is checked by `psql` and `pg_dump` alone (see `compare.py`). Anything that does not match ends it with a non-zero status.
"""

import shutil
import tempfile
import time
from pathlib import Path

import psql
from console import APPROVES, ASKS, Refused
from disaster import SNAPSHOT_ONLY, Disaster
from narrate import Narrator


class NotRecovered(Exception):
    """Something that the game day claims did not hold."""


def run_game_day(stack) -> int:
    """Tells the whole story on a running stack; returns the exit status."""
    tell, folder = Narrator(), Path(tempfile.mkdtemp(prefix="holdfast-game-day-"))
    try:
        _play(Disaster(stack, folder), tell)
    except (NotRecovered, Refused, TimeoutError, psql.PsqlError) as failure:
        tell.bad(str(failure))
        tell.finish("The game day FAILED")
        tell.say(f"The saved copies are in {folder}; compare them with `diff -r`.")
        return 1
    tell.finish("The environment is back, and psql finds in it what was backed up")
    shutil.rmtree(folder)
    return 0


def _play(disaster: Disaster, tell: Narrator) -> None:
    tell.step("A SaaS platform on real PostgreSQL: 13 tenants in all four layouts")
    disaster.build(tell.say)

    tell.step("It is backed up: a snapshot of every instance, later an export of all but a few tenants")
    disaster.back_up()
    tell.good(f"backed up; {', '.join(SNAPSHOT_ONLY)} have nothing newer than their instance's snapshot")
    tell.say("business goes on after the last backup: these changes will be lost")

    tell.step("Disaster: every database instance is deleted, automated backups included")
    lost, lost_at = disaster.lose_everything(), time.monotonic()
    tell.bad(f"gone: {', '.join(sorted(lost))}")
    if disaster.instances():
        raise NotRecovered(f"there are instances left: {disaster.instances()}")

    tell.step("One person asks for the recovery; the plan says what comes from where")
    recovery = disaster.request("game day: the databases are gone")
    plan = disaster.preview(recovery)
    tell.typed(f"[{ASKS}] holdfast recover preview {recovery}", disaster.console.table("recover", "preview", recovery))
    digest = plan["preview"]["digest"]
    try:
        disaster.approve(recovery, digest, user=ASKS)
        raise NotRecovered(f"{ASKS} could approve a recovery of their own")
    except Refused as refused:
        tell.typed(f"[{ASKS}] holdfast recover approve {recovery}", refused.said)

    tell.step("Another person agrees, and the runbook does the rest")
    disaster.approve(recovery, digest)
    tell.typed(f"[{APPROVES}] holdfast recover approve {recovery} --digest {digest[:12]}…", "approved")
    status, report, seen = disaster.watch(recovery)
    tell.typed(f"[{ASKS}] holdfast recover watch {recovery}", seen)
    since_loss = time.monotonic() - lost_at
    if status:
        raise NotRecovered(f"the recovery ended as {report.get('outcome') or report['state']}")

    tell.step("The independent proof: psql and pg_dump, row by row, on the new instances")
    wrong = disaster.differences(report, disaster.everybody)
    for tenant in disaster.everybody:
        if tenant.id in wrong:
            tell.bad(f"{tenant.id}: " + "\n".join(map(str, wrong[tenant.id])))
        else:
            tell.good(f"{tenant.id:<12} {'as of its snapshot' if tenant.id in SNAPSHOT_ONLY else 'as of its export':<18} identical")
    if wrong:
        raise NotRecovered(f"not what was backed up: {', '.join(wrong)}")

    tell.step("What it took, measured")
    measured = report["report"]
    for name, field in (("instances", "instances_ms"), ("platform and register", "platform_ms"), ("tenants", "tenants_ms"), ("RTO from the approval", "rto_ms"),
                        ("from the request", "since_request_ms"), ("RPO, the most that is lost", "rpo_ms")):  # fmt: skip
        tell.say(f"{name:<28} {measured[field] / 1000:8.1f} s")
    tell.say(f"{'from the loss to the report':<28} {since_loss:8.1f} s")
