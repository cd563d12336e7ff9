"""What the tests judge by: copies taken by psql before anything happened, and the alerts a subscriber received."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import compare
import psql
import saas
from stack import Stack
from wait import wait_until


@dataclass
class Saved:
    """Copies of every tenant, taken by `psql`, and comparisons with them."""

    platform: saas.Platform
    folder: Path
    _count: int = 0

    def __post_init__(self):
        with ThreadPoolExecutor(2) as workers:
            list(workers.map(lambda tenant: self._save(tenant, "before"), self.platform.tenants))
        compare.save_shared(self.platform, self._pooled, self.folder / "before" / "(shared)")

    def lost(self, tenant) -> bool:
        """Whether the tenant's database is gone."""
        exists = f"SELECT count(*) FROM pg_database WHERE datname = {psql.literal(tenant.database)}"
        return psql.value(self.platform.stack.dsn(tenant.instance, "postgres"), exists) == "0"

    def now(self, tenant) -> Path:
        """A new copy of the tenant as it is at this moment."""
        self._count += 1
        return self._save(tenant, f"copy-{self._count}")

    def differences(self, tenant) -> list[compare.Difference]:
        """What about the tenant is not as it was before the first test."""
        return compare.differences(self.folder / "before" / tenant.id, self.now(tenant))

    def is_back(self, tenant) -> bool:
        """Whether the tenant is what it was. One whose database, schema or tables are gone cannot be read, and is not."""
        try:
            return not self.differences(tenant)
        except psql.PsqlError:
            return False

    def assert_back(self, tenant) -> None:
        """The tenant is what it was, row by row, schema and sequences included."""
        found = self.differences(tenant)
        assert not found, f"{tenant.id} is not what it was:\n" + "\n".join(map(str, found))

    def assert_others_untouched(self, *but) -> None:
        """Every other tenant, and what the pool's tenants share, is what it was."""
        others = [tenant for tenant in self.platform.others(*but) if (self.folder / "before" / tenant.id).exists()]
        with ThreadPoolExecutor(2) as workers:
            found = dict(zip((tenant.id for tenant in others), workers.map(self.differences, others)))
        changed = {tenant_id: list(map(str, differences)) for tenant_id, differences in found.items() if differences}
        assert not changed, f"other tenants were changed: {changed}"
        self._count += 1
        shared = self.folder / f"shared-{self._count}"
        compare.save_shared(self.platform, self._pooled, shared)
        assert not compare.differences(self.folder / "before" / "(shared)", shared), "the pool's shared tables were changed"

    @property
    def _pooled(self):
        return self.platform.in_layout("pool")[0]

    def _save(self, tenant, when: str) -> Path:
        folder = self.folder / when / tenant.id
        compare.save(self.platform, tenant, folder)
        return folder


@dataclass
class Inbox:
    """The queue that is subscribed to the alert topic."""

    stack: Stack
    all: list[dict] = field(default_factory=list)

    def new(self) -> list[dict]:
        """The alerts that came since the last look."""
        came = self.stack.alerts()
        self.all.extend(came)
        return came

    def wait_for(self, about: str, seconds: float = 60) -> dict:
        """The first alert, from now on, that mentions a text."""

        def look():
            return [alert for alert in self.new() if about in str(alert["subject"]) + str(alert["message"])]

        return wait_until(f"an alert about {about!r} is there", look, seconds)[0]
