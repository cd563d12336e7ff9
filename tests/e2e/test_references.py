"""Rows that name files are compared with the files, from the vault alone; keys of files are told nowhere."""

import contextlib
import json

import psql
import pytest
from saas.configuration import PLAN_PARAMETER
from wait import wait_until

GONE = "uploads/gone-canary.txt"
REFERENCES = [{"table": "holdfast_files", "column": "path", "before": "tenants/{tenant}/"}]


@pytest.fixture
def tenant(stack, backed_up):
    """A tenant with a table of files, and a plan that says so, for a while."""
    tenant = backed_up.in_layout("schema")[0]
    table = f"{psql.identifier(tenant.table_schema)}.holdfast_files"
    dsn = backed_up.dsn(tenant)
    values = ", ".join(f"('{value}')" for value in (f"tenants/{tenant.id}/uploads/010.txt", f"tenants/{tenant.id}/{GONE}", "elsewhere"))
    psql.execute(
        dsn, f"CREATE TABLE {table} (path text)", f"ALTER TABLE {table} OWNER TO app_owner", f"INSERT INTO {table} VALUES {values}, (NULL)"
    )
    plan = backed_up.plan
    with contextlib.ExitStack() as after:
        after.callback(psql.execute, dsn, f"DROP TABLE {table}")
        after.callback(write, stack, plan)
        write(stack, {**plan, "media": {**plan["media"], "references": REFERENCES}})
        yield tenant


def write(stack, plan: dict) -> None:
    """Puts a plan in place."""
    stack.client("ssm").put_parameter(Name=PLAN_PARAMETER, Type="String", Value=json.dumps(plan), Overwrite=True)


def run(console, tenant) -> None:
    """A manual run, to its end."""
    before = {point["id"] for point in console.points(tenant.id)}
    console.run("run", "--tenant", tenant.id)

    def done():
        points = [point for point in console.points(tenant.id) if point["id"] not in before]
        return len(points) == 3 and all(point["state"] == "available" for point in points)

    wait_until("the run is done", done, 120)


def test_what_dangles_is_counted_told_and_over_when_it_is_mended(stack, backed_up, tenant, console, inbox):
    # Two runs: files are listed anew after the rows of the first were read.
    run(console, tenant)
    run(console, tenant)
    inbox.new()
    done = stack.cli("--output", "json", "references", "--tenant", tenant.id, user="ops-ana", timeout=600)
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    (column,) = answer["reconciled"]["columns"]
    assert (column["references"], column["dangling"], column["foreign"], column["early"]) == (3, 2, 1, 0), column
    objects = answer["reconciled"]["objects"]
    assert objects["orphans"] == objects["objects"] - 1 and objects["newer"] == 0, objects
    (alert,) = [alert for alert in console.open_alerts(tenant.id) if alert["class"] == "dangling_reference"]
    told = f"{done.stdout}{alert}{inbox.wait_for(tenant.id)}"
    assert GONE not in told and "010.txt" not in told, "keys are the tenant's data"

    table = f"{psql.identifier(tenant.table_schema)}.holdfast_files"
    psql.execute(backed_up.dsn(tenant), f"DELETE FROM {table} WHERE path NOT LIKE '%010.txt'")
    run(console, tenant)
    run(console, tenant)
    assert console.run("references", "--tenant", tenant.id)["dangling"] == 0
    assert "dangling_reference" not in {alert["class"] for alert in console.open_alerts(tenant.id)}
