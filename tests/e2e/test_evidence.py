"""The evidence itself: a comparison that saw no difference anywhere would pass every other test."""

import compare
import psql
import pytest
import saas

CHANGES = {
    "a number equal but written otherwise": "UPDATE type_gallery SET n = 1.00 WHERE specimen = 'number: one, one digit'",
    "minus zero": "UPDATE type_gallery SET f8 = 0 WHERE specimen = 'number: minus zero'",
    "blanks inside json": "UPDATE type_gallery SET js = '{\"a\":1,\"a\":2}' WHERE specimen = 'json: duplicates and blanks'",
    "empty instead of absent": "UPDATE notes SET body = '' WHERE body IS NULL",
    "another normal form": "UPDATE notes SET body = normalize(body, NFC) WHERE label = 'combining'",
    "one of three equal rows":
        "DELETE FROM audit_log WHERE ctid = (SELECT min(ctid) FROM audit_log GROUP BY happened_at HAVING count(*) > 2 LIMIT 1)",
    "a microsecond": "UPDATE tickets SET opened_at = opened_at + interval '1 microsecond' WHERE ticket_id = 7",
    "one byte": "UPDATE attachments SET content = set_byte(content, 9000, 255 - get_byte(content, 9000)) WHERE ticket_id = 3",
    "where a sequence stands": "SELECT setval('ticket_numbers', 77778)",
    "a grant": "REVOKE UPDATE ON notes FROM app_user",
    "an index": "DROP INDEX customers_on_hold",
    "a trigger": "ALTER TABLE customers DISABLE TRIGGER touch",
    "an owner": "ALTER TABLE settings OWNER TO CURRENT_USER",
}


@pytest.fixture(scope="module")
def small(platform):
    """A tenant of a few thousand rows."""
    tenant = platform.add_tenant(saas.own_schema("quartzlab", "Quartzlab Kristalle", "tenant_quartzlab", percent=5))
    yield tenant
    platform.remove_tenant(tenant)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_comparison_sees(change, platform, small, tmp_path):
    compare.save(platform, small, tmp_path / "before")
    psql.run_script(platform.dsn(small), f"SET search_path = {psql.identifier(small.table_schema)}; {change};")
    compare.save(platform, small, tmp_path / "after")
    assert compare.differences(tmp_path / "before", tmp_path / "after")


@pytest.mark.parametrize("tenant_id", ["borealis", "emberlight", "harborside", "mosaicpay"], ids=saas.LAYOUTS)
def test_building_a_tenant_again_gives_the_same_bytes(tenant_id, platform, saved):
    tenant = platform.tenant(tenant_id)
    platform.rebuild(tenant)
    saved.assert_back(tenant)


def test_the_platform_is_as_large_and_as_varied_as_it_claims(platform):
    assert platform.row_count() >= 500_000
    assert len(platform.tenants) >= 12
    assert {tenant.layout for tenant in platform.tenants} == set(saas.LAYOUTS)
    assert {tenant.database_id for tenant in platform.tenants} <= saas.DATABASES.keys()
