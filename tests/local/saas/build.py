"""Builds the whole platform on a running stack, and changes it as a platform changes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import psql

from . import configuration, load, media
from .plan import plan
from .roster import DATABASES, DELETED, TENANTS, Database, Tenant

MASTER_USER = "holdfast_master"


@dataclass
class Platform:
    """The protected product: its tenants, where they are, and the plan that protects them."""

    stack: object
    tenants: list[Tenant] = field(default_factory=lambda: list(TENANTS))
    plan: dict = field(default_factory=plan)

    def tenant(self, tenant_id: str) -> Tenant:
        """The tenant of that id, or KeyError."""
        for tenant in self.tenants:
            if tenant.id == tenant_id:
                return tenant
        raise KeyError(f"no tenant {tenant_id!r}; there are {', '.join(t.id for t in self.tenants)}")

    def in_layout(self, layout: str) -> list[Tenant]:
        """The tenants of one layout."""
        return [tenant for tenant in self.tenants if tenant.layout == layout]

    def others(self, *but: Tenant) -> list[Tenant]:
        """All tenants except those named."""
        return [tenant for tenant in self.tenants if tenant not in but]

    def dsn(self, tenant: Tenant) -> str:
        """How to connect to the tenant's database as the instance's master user."""
        return self.stack.dsn(tenant.instance, tenant.database)

    def destroy(self, tenant: Tenant) -> None:
        """Loses everything a tenant has in its database: rows, schema or database, as its layout goes."""
        load.drop_tenant(self.stack, tenant)

    def rebuild(self, tenant: Tenant) -> None:
        """Puts a tenant's rows back as `build` made them, to the byte, without any backup."""
        if tenant.owns_database:
            load.drop_database(self.stack, tenant.instance, tenant.database)
            load.create_database(self.stack, tenant.instance, tenant.database)
        else:
            self.destroy(tenant)
        load.load_tenant(self.stack, tenant)

    def add_tenant(self, tenant: Tenant) -> Tenant:
        """Signs up a further tenant: its rows, its settings, its files, and its line in the register."""
        if tenant.layout == "database":
            load.create_database(self.stack, tenant.instance, tenant.database)
        load.load_tenant(self.stack, tenant)
        configuration.put_tenant(self.stack, tenant)
        media.upload(self.stack, tenant)
        load.register(self.stack, [tenant])
        self.tenants.append(tenant)
        return tenant

    def remove_tenant(self, tenant: Tenant) -> None:
        """Undoes `add_tenant`, but for the files."""
        load.unregister(self.stack, tenant)
        load.drop_tenant(self.stack, tenant)
        configuration.delete_tenant(self.stack, tenant)
        self.tenants.remove(tenant)

    def row_count(self) -> int:
        """The rows in all protected databases, counted by the servers."""
        targets = {(t.instance, t.database) for t in self.tenants} | {(d.instance, d.name) for d in DATABASES.values()}
        return sum(int(psql.value(self.stack.dsn(*target), _COUNT_ROWS)) for target in targets)


# The counts come back as XML because a plain query cannot count tables it does not name.
_COUNT_ROWS = """
SELECT coalesce(sum((xpath('/row/n/text()', query_to_xml(
    format('SELECT count(*) AS n FROM %I.%I', nspname, relname), false, true, '')))[1]::text::bigint), 0)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')
"""


def build(stack, say: Callable[[str], None] = print) -> Platform:
    """Creates instances, data, files, settings and the plan; the parts run side by side."""
    platform = Platform(stack)
    with ThreadPoolExecutor(load.workers()) as pool, ThreadPoolExecutor(4) as uploads:
        media.create_bucket(stack)
        files = [uploads.submit(media.upload, stack, tenant) for tenant in platform.tenants]
        settings = [uploads.submit(configuration.put_tenant, stack, tenant) for tenant in platform.tenants]
        for _ in pool.map(lambda instance: _create_instance(stack, instance), _by_instance()):
            pass
        say(f"{len(_by_instance())} database instances available")

        load.create_register(stack)
        load.create_pool(stack)
        load.register(stack, [*platform.tenants, DELETED])
        billing = pool.submit(load.bill, stack)
        # The largest first, so that the last worker to finish is not the one with the most to do.
        largest_first = sorted(platform.tenants, key=lambda tenant: -tenant.percent)
        for _ in pool.map(lambda tenant: load.load_tenant(stack, tenant), largest_first):
            pass
        billing.result()
        say(f"{len(platform.tenants)} tenants loaded, {platform.row_count():,} rows")

        configuration.put_plan(stack)
        versions = sum(upload.result() for upload in files)
        for done in settings:
            done.result()
        say(f"{versions:,} versions of files in the media bucket; settings and secrets of every tenant in place")
    return platform


def attach(stack) -> Platform:
    """The platform on a stack where it was built before."""
    return Platform(stack)


def _by_instance() -> dict[str, list[Database]]:
    found: dict[str, list[Database]] = {}
    for database in DATABASES.values():
        found.setdefault(database.instance, []).append(database)
    return found


def _create_instance(stack, instance: str) -> None:
    databases = _by_instance()[instance]
    stack.create_instance(instance, user=MASTER_USER, BackupRetentionPeriod=1)
    tenants_own = [t.database for t in TENANTS if t.instance == instance and t.layout == "database"]
    load.prepare_instance(stack, instance, [*(d.name for d in databases), *tenants_own])
    for database in databases:
        configuration.put_database_secret(stack, database.id, MASTER_USER, stack.password(instance))
