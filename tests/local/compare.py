"""Independent evidence of what a tenant's database holds, taken by `psql` and `pg_dump` alone.

`save` writes a tenant's tables as sorted `COPY` text, one file a table, one line a row, into a folder; two such
folders can be compared here, row by row, or by anybody with `diff -r`. No code of Holdfast takes part.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psql
from saas import Tenant
from saas.plan import excluded_tables

ROWS_SHOWN = 3
ROW_CHARACTERS_SHOWN = 160

# Text that does not depend on the session, and an error instead of rows left out by row-level security.
PINNED = """
SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601'; SET TimeZone = 'UTC';
SET extra_float_digits = 3; SET bytea_output = 'hex'; SET row_security = off; SET search_path = pg_catalog;
"""

TABLES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' AND c.relname NOT IN ({excluded})
AND {scope} ORDER BY 1
"""

# Ordered by the whole row as text, which needs no key and no ordering of the column types. The alias must not be the
# name of a column, or the column is what it means.
COPY = """\\copy (SELECT * FROM {table} AS "the whole row" {only} ORDER BY "the whole row"::text COLLATE "C") TO {file}"""

SEQUENCES = """
SELECT format('SELECT %L, last_value, is_called FROM %I.%I', n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND {scope} ORDER BY 1
"""

DATABASE = """
WITH this AS (SELECT * FROM pg_database WHERE datname = current_database())
SELECT 'owner ' || pg_get_userbyid(datdba) FROM this UNION ALL SELECT 'encoding ' || pg_encoding_to_char(encoding) FROM this
UNION ALL SELECT 'collation ' || datcollate || ' ' || datctype FROM this
UNION ALL SELECT 'grant ' || acl::text FROM this, unnest(datacl) acl ORDER BY 1
"""


@dataclass(frozen=True)
class Fingerprint:
    """A saved copy in one line: its tables, its rows, and a hash over every file's hash."""

    tables: int
    rows: int
    digest: str

    def __str__(self) -> str:
        return f"{self.rows:>7,} rows in {self.tables:>2} tables, sha256 {self.digest[:16]}"


@dataclass(frozen=True)
class Difference:
    """What one saved file lost and gained against another: counts of lines, and the first of them."""

    file: str
    lost: int
    gained: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.file}: {self.lost:,} rows lost, {self.gained:,} rows gained", *self.first])


def save(platform, tenant: Tenant, folder: Path) -> Fingerprint:
    """Writes what the tenant's database holds at this moment into a folder that does not exist yet.

    For a pool that is the tenant's rows alone: the tables are everybody's. For the other layouts it is also where
    the sequences stand, the schema as `pg_dump` tells it, and the settings of a database of the tenant's own.
    """
    dsn = platform.dsn(tenant)
    folder.mkdir(parents=True)
    if tenant.layout == "pool":
        _save_rows(dsn, folder, _with_tenant_column(True), f"WHERE tenant_id = {psql.literal(tenant.id)}")
        return fingerprint(folder)
    schema = None if tenant.owns_database else tenant.table_schema
    scope = "true" if schema is None else f"n.nspname = {psql.literal(schema)}"
    _save_rows(dsn, folder, scope)
    (folder / "sequences.txt").write_text(psql.run_script(dsn, f"{PINNED}{SEQUENCES.format(scope=scope)} \\gexec\n"))
    (folder / "schema.sql").write_text(normalised(psql.schema_dump(dsn, schema)))
    if schema is None:
        (folder / "database.txt").write_text(psql.value(dsn, DATABASE) + "\n")
    return fingerprint(folder)


def save_shared(platform, pooled: Tenant, folder: Path) -> Fingerprint:
    """Writes the pool's tables without a tenant column: no restore of one tenant may change them."""
    folder.mkdir(parents=True)
    _save_rows(platform.dsn(pooled), folder, _with_tenant_column(False))
    return fingerprint(folder)


def fingerprint(folder: Path) -> Fingerprint:
    """Sums up a saved copy."""
    tables = rows = 0
    whole = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        whole.update(f"{file.name} {hashlib.sha256(content).hexdigest()}\n".encode())
        if file.suffix == ".copy":
            tables += 1
            rows += content.count(b"\n")
    return Fingerprint(tables, rows, whole.hexdigest())


def differences(before: Path, after: Path) -> list[Difference]:
    """Compares two saved copies row by row; empty when they are the same to the byte."""
    names = sorted({file.name for folder in (before, after) for file in folder.iterdir()})
    found = (_difference(name, _lines(before / name), _lines(after / name)) for name in names)
    return [difference for difference in found if difference]


def normalised(dump: str) -> str:
    """A schema dump without what changes from one `pg_dump` to the next: comments, blank lines, restriction tokens."""
    kept = (
        line for line in dump.splitlines()
        if line and not line.startswith(("--", "\\restrict ", "\\unrestrict "))
    )
    return "\n".join(kept) + "\n"


def _with_tenant_column(wanted: bool) -> str:
    has = "EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)"
    return f"n.nspname = 'app' AND {'' if wanted else 'NOT '}{has}"


def _save_rows(dsn: str, folder: Path, scope: str, only: str = "") -> None:
    excluded = ", ".join(psql.literal(table) for table in excluded_tables())
    tables = psql.lines(dsn, TABLES.format(excluded=excluded, scope=scope))
    copies = "\n".join(COPY.format(table=table, only=only, file=psql.literal(str(folder / _file_name(table)))) for table in tables)
    psql.run_script(dsn, f"{PINNED}\nBEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n{copies}\nCOMMIT;\n")


def _file_name(table: str) -> str:
    return table.replace('"', "").replace("/", "%2F") + ".copy"


def _lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True) if file.exists() else []


def _difference(name: str, before: list[bytes], after: list[bytes]) -> Difference | None:
    if before == after:
        return None
    lost, gained = Counter(before), Counter(after)
    lost, gained = lost - gained, gained - lost
    shown = [
        f"  {sign} {row.decode(errors='replace').rstrip()[:ROW_CHARACTERS_SHOWN]}"
        for sign, rows in (("-", lost), ("+", gained)) for row in list(rows)[:ROWS_SHOWN]
    ]
    return Difference(name, lost.total(), gained.total(), tuple(shown or ["  the same rows in another order"]))
