"""Restores that are taken back, and those that change nothing live. Judged by psql and plain S3 calls."""

import compare
import psql
import pytest
from console import BEFORE_RESTORE, Refused
from test_media_restore import Files, newest_of_files

DAMAGE = {
    "pool": [
        "DELETE FROM app.attachments WHERE {mine}",
        "UPDATE app.tickets SET subject = 'lost ' || ticket_id WHERE {mine} AND ticket_id % 3 = 0",
        "INSERT INTO app.settings (tenant_id, key, value) SELECT {tenant}, 'added ' || i, 'true' FROM generate_series(1, 3) i",
    ],
    "database": [
        "DELETE FROM app.attachments",
        "UPDATE app.tickets SET subject = 'lost ' || ticket_id WHERE ticket_id % 3 = 0",
        "COMMENT ON TABLE app.tickets IS 'of the time before the restore'",
    ],
}
UNDONE = {"pool": "kestrelair", "database": "emberlight"}


@pytest.mark.parametrize("layout", UNDONE)
def test_a_restore_is_taken_back_to_the_byte_and_that_again(layout, backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(UNDONE[layout])
    with may_lose(tenant):
        _damage(backed_up, tenant, layout)
        damaged = saved.now(tenant)
        request = _carried_out(console, console.request(tenant.id, "the wrong one"))
        saved.assert_back(tenant)
        before = console.watch(request)["outcome"]["before"]
        (kept,) = [point for point in console.points(tenant.id) if point["id"] == before]
        assert (kept["rule"], kept["kind"], kept["state"]) == (BEFORE_RESTORE, "database", "available")

        taken_back = console.undo(request)
        preview = console.preview(taken_back)
        assert sum(table["overwritten"] + table["destroyed"] for table in preview["tables"]) > 0
        saved.assert_back(tenant)  # a preview writes nothing
        with pytest.raises(Refused):
            console.approve(taken_back, user="ops-ana")  # who asked
        console.approve(taken_back)
        outcome = console.watch(taken_back)["outcome"]
        assert not compare.differences(damaged, saved.now(tenant)), "it is not what it was before the restore"
        saved.assert_others_untouched(tenant)
        assert outcome["undo_copy"] and outcome["undo_copy"] != console.watch(request)["outcome"]["undo_copy"]

        # What the undo replaced was kept as well. The newest recovery point is still the one of the schedule.
        _carried_out(console, console.undo(taken_back))
        saved.assert_back(tenant)
        assert console.preview(console.request(tenant.id, "nothing to do"))["tables"]
        assert console.newest(tenant.id)["rule"] != BEFORE_RESTORE
        saved.assert_others_untouched(tenant)


def test_a_tenant_whose_database_is_gone_is_restored_though_nothing_could_be_kept(backed_up, console, saved, may_lose):
    tenant = backed_up.tenant("emberlight")
    with may_lose(tenant):
        backed_up.destroy(tenant)
        request = _carried_out(console, console.request(tenant.id, "all of it is gone"))
        outcome = console.watch(request)["outcome"]
        assert "before" not in outcome and any("no recovery point could be made" in note for note in outcome["notes"])
        _carried_out(console, console.undo(request))
        assert saved.lost(tenant), "nothing was there before, and nothing is again"


@pytest.mark.parametrize("layout", UNDONE)
def test_a_recovery_point_beside_the_live_data_changes_nothing_and_is_dropped_by_its_undo(layout, backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(UNDONE[layout])
    with may_lose(tenant):
        _damage(backed_up, tenant, layout)
        damaged = saved.now(tenant)
        asked = console.run("restore", "request", "--tenant", tenant.id, "--mode", "side-by-side", "--reason", "to look")["request"]
        preview = console.preview(asked)
        assert all(table["overwritten"] + table["destroyed"] == 0 for table in preview["tables"])
        outcome = console.watch(_carried_out(console, asked))["outcome"]
        side = outcome["undo_copy"]
        assert side.startswith("hf_side_") and "before" not in outcome
        assert _exists(backed_up, tenant, side) and not compare.differences(damaged, saved.now(tenant))
        _carried_out(console, console.undo(asked))
        assert not _exists(backed_up, tenant, side) and not compare.differences(damaged, saved.now(tenant))
        saved.assert_others_untouched(tenant)


def test_files_go_back_to_what_they_were_before_a_restore(stack, backed_up, console):
    tenant, files = backed_up.tenant("grovebank"), Files(stack, "grovebank")
    recorded = files.live()
    gone, changed = sorted(recorded)[:2]
    files.delete(gone)
    files.put(changed, b"of the time before the restore")
    damaged = files.live()
    try:
        request = _carried_out(console, console.request(tenant.id, "the wrong one", point=newest_of_files(console, tenant)))
        assert files.live() == recorded
        assert console.watch(request)["outcome"]["before"]
        others = files.versions_of_others()
        _carried_out(console, console.undo(request))
        assert files.live() == damaged and files.versions_of_others() == others
    finally:
        console.restore(tenant.id, "back to the start", point=newest_of_files(console, tenant))
    assert files.live() == recorded


def _carried_out(console, request: str) -> str:
    console.preview(request)
    console.approve(request)
    console.watch(request)
    return request


def _damage(platform, tenant, layout: str) -> None:
    own = {"tenant": psql.literal(tenant.id), "mine": f"tenant_id = {psql.literal(tenant.id)}"}
    psql.execute(platform.dsn(tenant), *(statement.format(**own) for statement in DAMAGE[layout]))


def _exists(platform, tenant, name: str) -> bool:
    of_database = f"SELECT count(*) FROM pg_database WHERE datname = {psql.literal(name)}"
    of_schema = f"SELECT count(*) FROM pg_namespace WHERE nspname = {psql.literal(name)}"
    return "1" in (
        psql.value(platform.stack.dsn(tenant.instance, "postgres"), of_database),
        psql.value(platform.dsn(tenant), of_schema),
    )
