"""Data that no recovery point has is told of, place by place, until it is gone."""

import contextlib
import json

import psql
from saas.roster import DATABASES

SCAN = {"item": {"coverage": True}}
GHOST = "ghost-tenant-canary"
ALWAYS = {("app", "countries"), ("app", "plans")}
"""Tables of the platform's pool without a tenant column: its plan protects them by snapshots alone, which is worth an alert."""


def report(stack, console) -> dict:
    """The report of a scan made now."""
    stack.invoke("reconcile", SCAN)
    done = stack.cli("--output", "json", "coverage", user="ops-ana", timeout=60)
    # It succeeds only if there is nothing to tell; the report comes either way.
    return json.loads(done.stdout)


def uncovered(found: dict) -> list[dict]:
    """What is in no recovery point, but for what the platform always has."""
    places = [entry for entry in found["findings"] if "only_with" not in entry]
    return [entry for entry in places if (entry["place"].get("schema"), entry["place"].get("table")) not in ALWAYS]


def open_alerts(console) -> list[dict]:
    """Open alerts of uncovered places, but for what the platform always has."""
    alerts = [alert for alert in console.run("alerts")["alerts"] if alert["class"] == "uncovered" and not alert["closed_at"]]
    return [alert for alert in alerts if '."countries"' not in alert["subject"] and '."plans"' not in alert["subject"]]


@contextlib.contextmanager
def planted(dsn: str, plant: list[str], remove: list[str]):
    """Statements run for a while."""
    psql.execute(dsn, *plant)
    try:
        yield
    finally:
        psql.execute(dsn, *remove)


def test_what_is_nobodys_is_found_told_and_over_when_it_is_gone(stack, backed_up, console, inbox):
    clean = report(stack, console)
    assert (uncovered(clean), clean["unseen"]) == ([], [])
    found = {(entry["place"]["schema"], entry["place"]["table"]) for entry in clean["findings"]}
    assert found == ALWAYS and {entry["gap"] for entry in clean["findings"]} == {"shared_table"}
    assert "sessions" in {entry["place"].get("table") for entry in clean["left_out"]}, "exclusions are told with their reasons"

    pool, shared = (stack.dsn(DATABASES[name].instance, DATABASES[name].name) for name in ("pool", "shared"))
    ghosts = f"INSERT INTO app.planted VALUES (NULL), (NULL), ('{GHOST}'), ('{backed_up.in_layout('pool')[0].id}')"
    with (
        planted(pool, ["CREATE TABLE app.planted (tenant_id text)", ghosts], ["DROP TABLE app.planted"]),
        planted(shared, ['CREATE SCHEMA "Left ""Over"', 'CREATE TABLE "Left ""Over".t (id int)'], ['DROP SCHEMA "Left ""Over" CASCADE']),
    ):
        inbox.new()
        spoilt = report(stack, console)
        by_gap = {entry["gap"]: entry for entry in uncovered(spoilt)}
        assert spoilt["unseen"] == []
        assert by_gap["no_tenant"]["rows"] == 2
        assert by_gap["unknown_tenants"]["first"] == [{"tenant": GHOST, "rows": 1}]
        assert by_gap["schema"]["place"]["schema"] == 'Left "Over' and by_gap["schema"]["tables"] == 1
        subjects = {alert["subject"] for alert in open_alerts(console)}
        assert len(subjects) == 2 and any("planted" in subject for subject in subjects), subjects
        message = str(inbox.wait_for("planted")["message"])
        assert GHOST not in message, "an alert counts; the report names"
    assert uncovered(report(stack, console)) == []
    assert open_alerts(console) == []
