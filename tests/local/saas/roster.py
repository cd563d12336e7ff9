"""Who the platform's tenants are, and where each one's rows live."""

from dataclasses import dataclass

from .plan import plan

LAYOUTS = ("silo", "database", "schema", "pool")


@dataclass(frozen=True)
class Database:
    """One entry of the plan's `databases`: a database on an instance, with the secret that opens it."""

    id: str
    instance: str
    name: str
    secret: str


DATABASES = {
    entry["id"]: Database(entry["id"], entry["instance"], entry["database"], entry["secret"])
    for entry in plan()["databases"]
}


@dataclass(frozen=True)
class Tenant:
    """A row of the tenant register, and how much data the tenant has (in per cent of about 46,000 rows)."""

    id: str
    display_name: str
    layout: str
    database_id: str
    database: str
    schema: str | None
    criticality: str = "standard"
    time_zone: str = "Europe/Berlin"
    status: str = "active"
    percent: int = 100
    created_at: str = "2024-02-29T23:30:00Z"

    @property
    def instance(self) -> str:
        """The RDS instance the rows are on."""
        return DATABASES[self.database_id].instance

    @property
    def owns_database(self) -> bool:
        """Whether the whole database is this tenant's."""
        return self.layout in ("silo", "database")

    @property
    def table_schema(self) -> str:
        """The schema of the application's tables."""
        return self.schema or "app"

    @property
    def row_canary(self) -> str:
        """A text that stands in one of the tenant's rows and must never be readable in a sink."""
        return f"holdfast-canary-row-{self.id}-5f0c1e"

    @property
    def secret_canary(self) -> str:
        """A text that stands in the tenant's secret values and must never leave them."""
        return f"holdfast-canary-secret-{self.id}-9d27ab"


def silo(id: str, display_name: str, database_id: str, **rest) -> Tenant:
    """A tenant with an instance of its own."""
    return Tenant(id, display_name, "silo", database_id, "app", None, **rest)


def own_database(id: str, display_name: str, database: str, **rest) -> Tenant:
    """A tenant with a database on the shared instance."""
    return Tenant(id, display_name, "database", "shared", database, None, **rest)


def own_schema(id: str, display_name: str, schema: str, **rest) -> Tenant:
    """A tenant with a schema in the shared database."""
    return Tenant(id, display_name, "schema", "shared", "app", schema, **rest)


def pooled(id: str, display_name: str, **rest) -> Tenant:
    """A tenant whose rows lie among others' in the pool."""
    return Tenant(id, display_name, "pool", "pool", "app", "app", **rest)


TENANTS = (
    silo("acme", "Acme Rocket Works GmbH", "silo-a", criticality="critical", percent=150),
    silo("borealis", "Borealis Reinsurance AG", "silo-b", time_zone="Europe/Oslo"),
    own_database("cedarworks", "Cedarworks Möbel & Söhne", "tenant_cedarworks", criticality="critical"),
    own_database("delta-foods", "Delta Foods \"Fresh\" Ltd", "tenant_delta_foods", time_zone="America/New_York"),
    own_database("emberlight", "Emberlight O'Hara Energy", "tenant_Emberlight", time_zone="Asia/Kathmandu", percent=80),
    own_schema("fjordline", "Fjordline Rederi AS", "tenant_fjordline"),
    own_schema("grovebank", "Grovebank Private Trust", "tenant_Grove Bank", criticality="critical", time_zone="Europe/Zurich"),
    own_schema("harborside", "Harborside Terminals 港", "tenant_harborside", time_zone="Asia/Tokyo", percent=80),
    pooled("irisclinic", "Irisclinic Augenzentrum", percent=90),
    pooled("juniper-law", "Juniper & Partner Rechtsanwälte", time_zone="Pacific/Auckland", percent=90),
    pooled("kestrelair", "Kestrelair Charter", criticality="critical", percent=80),
    pooled("lumenlabs", "Lumenlabs Photonics", status="suspended", percent=80),
    pooled("mosaicpay", "Mosaicpay Settlements", time_zone="America/Sao_Paulo", percent=90),
)

# Signed off long ago: its rows are gone, and its missing backups are nobody's alarm.
DELETED = pooled("nimbusware", "Nimbusware (closed)", status="deleted", percent=0)
