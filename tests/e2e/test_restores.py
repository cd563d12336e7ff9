"""The main job: what is lost comes back to the byte, and nobody else notices. Judged by psql and pg_dump."""

import psql
import pytest
import saas
from console import Refused
from saas.load import APP_PASSWORD
from stack import FunctionError

LOST = {"pool": "mosaicpay", "database": "emberlight", "schema": "grovebank", "silo": "borealis"}

EVERY_DATABASE = "SELECT datname FROM pg_database ORDER BY 1"
EVERY_SCHEMA = "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_temp%' AND nspname NOT LIKE 'pg\\_toast%' ORDER BY 1"
EVERY_ROLE = "SELECT rolname FROM pg_roles ORDER BY 1"


@pytest.mark.parametrize("layout", saas.LAYOUTS)
def test_a_lost_tenant_comes_back_to_the_byte_and_no_other_is_touched(layout, backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(LOST[layout])
    before = _inventory(backed_up)
    with may_lose(tenant):
        backed_up.destroy(tenant)
        outcome = console.restore(tenant.id, f"everything of a {layout} tenant was destroyed")["outcome"]
        saved.assert_back(tenant)
        saved.assert_others_untouched(tenant)
    added = {(place, name) for place, names in _inventory(backed_up).items() for name in names if name not in before[place]}
    assert {name for _, name in added} <= {outcome["undo_copy"]}, "only the copy of what was replaced is left, and it is told"


def test_in_a_pool_rows_that_were_changed_added_and_deleted_are_put_right_in_place(backed_up, console, saved, may_lose):
    tenant = backed_up.tenant("kestrelair")
    with may_lose(tenant):
        damage(backed_up, tenant)
        damaged = saved.differences(tenant)
        tables = {difference.file.split(".")[1] for difference in damaged}
        assert tables >= {"customers", "orders", "notes", "settings", "type_gallery"}

        request = console.request(tenant.id, "a script went over the pool")
        preview = console.preview(request)
        counts = {table["table"].split(".")[-1].strip('"'): table for table in preview["tables"]}
        assert _count(counts, "notes") == (5, 0, 0), "deleted rows are returned"
        assert _count(counts, "settings") == (0, 0, 3), "added rows are destroyed"
        assert _count(counts, "type_gallery") == (0, 2, 0), "values that are equal but written otherwise are overwritten"
        assert _count(counts, "products") == (0, 0, 0), "what nobody touched is left alone"
        assert saved.differences(tenant) == damaged, "a preview writes nothing"

        console.approve(request)
        console.watch(request)
        saved.assert_back(tenant)
        saved.assert_others_untouched(tenant)


def test_unique_names_that_rows_have_swapped_go_back(backed_up, console, saved, may_lose):
    tenant = backed_up.tenant("mosaicpay")
    with may_lose(tenant):
        mine = f"tenant_id = {psql.literal(tenant.id)}"
        # Every department takes another one's unique name: no order of single changes leads back, one that steps aside does.
        psql.execute(
            backed_up.dsn(tenant),
            f"DELETE FROM app.attachments WHERE {mine}",
            f"UPDATE app.departments SET name = 'on the way ' || department_id WHERE {mine}",
            f"UPDATE app.departments SET name = 'Dept. ' || (13 - department_id) WHERE {mine}",
        )
        console.restore(tenant.id, "names were swapped")
        saved.assert_back(tenant)
        saved.assert_others_untouched(tenant)


def test_the_application_works_on_what_was_restored(backed_up, console, saved, may_lose):
    pooled, separate = backed_up.tenant("irisclinic"), backed_up.tenant("cedarworks")
    with may_lose(pooled, separate):
        for tenant in (pooled, separate):
            backed_up.destroy(tenant)
            console.restore(tenant.id, "the application must work again")
        saved.assert_back(pooled)
        saved.assert_back(separate)

        as_app = backed_up.stack.dsn(pooled.instance, pooled.database, "app_user", APP_PASSWORD)
        own = f"SET app.tenant_id = {psql.literal(pooled.id)}; SELECT count(DISTINCT tenant_id) FROM app.customers"
        assert psql.value(as_app, own) == "1", "row-level security still shows a tenant its own rows and no others"
        # A number from before the backup must not be handed out again. Rolled back, so nothing stays.
        as_app = backed_up.stack.dsn(separate.instance, separate.database, "app_user", APP_PASSWORD)
        number = "INSERT INTO app.tickets (subject, opened_at) VALUES ('new', now()) RETURNING ticket_number > 77777"
        assert psql.run_script(as_app, f"BEGIN; {number}; ROLLBACK;").strip() == "t"
        # Sequences do not roll back.
        set_back = "SELECT setval('app.ticket_numbers', 77777), setval('app.tickets_ticket_id_seq', 9000, false)"
        psql.execute(backed_up.dsn(separate), set_back)
        saved.assert_back(separate)


def test_carrying_out_a_finished_restore_again_changes_nothing(stack, backed_up, console, saved, may_lose):
    tenant = backed_up.tenant("juniper-law")
    with may_lose(tenant):
        psql.execute(backed_up.dsn(tenant), f"DELETE FROM app.attachments WHERE tenant_id = {psql.literal(tenant.id)}")
        request = console.request(tenant.id, "to be carried out twice")
        console.preview(request)
        console.approve(request)
        console.watch(request)
        saved.assert_back(tenant)

        first_note = f"tenant_id = {psql.literal(tenant.id)} AND note_id = 1"
        psql.execute(backed_up.dsn(tenant), f"UPDATE app.notes SET body = 'written after the restore' WHERE {first_note}")
        newer = saved.differences(tenant)
        with_errors_allowed(stack.invoke, "restore", {"item": {"request": request, "step": "execute"}})
        assert saved.differences(tenant) == newer, "a redelivered step must not overwrite what was written since"
        psql.execute(backed_up.dsn(tenant), f"UPDATE app.notes SET body = E'a\\tb\\t\\tc\\t' WHERE {first_note}")
        saved.assert_back(tenant)
        saved.assert_others_untouched(tenant)


@pytest.mark.parametrize(("column", "value", "code"), [
    ("database_name", "tenant_elsewhere", "RestoreRefused"),
    ("database_id", "nowhere", "UnknownTenant"),
], ids=["moved", "lost from sight"])
def test_a_tenant_that_is_not_where_it_was_is_not_restored_there(column, value, code, stack, backed_up, console):
    central, tenant = stack.dsn("platform-central", "central"), backed_up.tenant("emberlight")
    before = {"database_name": tenant.database, "database_id": tenant.database_id}[column]
    psql.execute(central, f"UPDATE register.tenants SET {column} = '{value}' WHERE tenant_id = '{tenant.id}'")
    try:
        with pytest.raises(Refused, match=code):
            console.preview(console.request(tenant.id, "its old place may be somebody else's"))
    finally:
        psql.execute(central, f"UPDATE register.tenants SET {column} = '{before}' WHERE tenant_id = '{tenant.id}'")


def damage(platform, tenant) -> None:
    """Changes, adds and deletes rows of a pool tenant, some in ways that PostgreSQL's `=` does not see."""
    mine = f"tenant_id = {psql.literal(tenant.id)}"
    psql.execute(
        platform.dsn(tenant),
        f"UPDATE app.customers SET name = name || ' (changed)', nickname = nullif(nickname, '') WHERE {mine} AND email LIKE '%.1%'",
        f"UPDATE app.type_gallery SET n = 1.00 WHERE {mine} AND specimen = 'number: one, one digit'",
        f"UPDATE app.type_gallery SET js = '{{\"a\":1,\"a\":2}}' WHERE {mine} AND specimen = 'json: duplicates and blanks'",
        f"DELETE FROM app.notes WHERE {mine} AND note_id BETWEEN 1001 AND 1005",
        "INSERT INTO app.settings (tenant_id, key, value) "
        f"SELECT {psql.literal(tenant.id)}, 'added ' || i, 'true' FROM generate_series(1, 3) i",
        f"""DELETE FROM app."Order Lines" WHERE {mine} AND order_id < 20""",
        f"DELETE FROM app.orders WHERE {mine} AND order_id < 20",
        f"DELETE FROM app.audit_log WHERE {mine} AND entry_id % 100 = 7",
        f"UPDATE app.audit_log SET actor = NULL WHERE {mine} AND entry_id % 100 = 8",
        f"UPDATE app.departments SET head_id = 1013 - (head_id - 1000), name = name || ' renamed' WHERE {mine}",
    )


def with_errors_allowed(call, *arguments):
    """Calls something whose refusal is as good as its success."""
    try:
        return call(*arguments)
    except FunctionError as refused:
        return refused


def _count(tables: dict, name: str) -> tuple:
    found = tables.get(name, {"returned": 0, "overwritten": 0, "destroyed": 0})
    return found["returned"], found["overwritten"], found["destroyed"]


def _inventory(platform) -> dict:
    found = {}
    for instance, database in sorted({(tenant.instance, tenant.database) for tenant in platform.tenants}):
        server = platform.stack.dsn(instance, "postgres")
        found[instance, "databases"] = psql.lines(server, EVERY_DATABASE)
        found[instance, "roles"] = psql.lines(server, EVERY_ROLE)
        found[instance, f"schemas of {database}"] = psql.lines(platform.stack.dsn(instance, database), EVERY_SCHEMA)
    return found
