"""The data that is backed up: how many rows each table gets, and how it is loaded, changed and read whole."""

from pathlib import Path

from jobs import Command

HERE = Path(__file__).resolve().parent
DATABASE = "tenant"

# Per table: the variable of dataset.sql, the part of the whole it takes, and what one of its rows is as COPY text.
TABLES = {
    "customer": ("customers", 0.04, 135),
    "reading": ("readings", 0.24, 49.8),
    "message": ("messages", 0.28, 189.4),
    "document": ("documents", 0.28, 1131.6),
    "session": ("sessions", 0.07, 110.8),
    "audit_line": ("audit_lines", 0.05, 111.8),
    "stock": ("stock", 0.04, 35),
}
# Reading the small ones in halves would cost more than it evens out.
SPLIT = ("reading", "message", "document")
# What a backup that finds its chunks again must read by; the table left out has no key.
KEYS = {
    "customer": "id", "reading": "id", "message": "id", "document": "id", "session": "id", "stock": "warehouse_id, article, day",
}


def rows(size_mb: int) -> dict[str, int]:
    """Rows of each table of a dataset of this size, by the name of its variable."""
    return {name: int(size_mb * 1e6 * share / row_bytes) for name, share, row_bytes in TABLES.values()}


def script(name: str, size_mb: int) -> list[str]:
    """Arguments of psql that run one of the SQL files here."""
    variables = [part for table, count in rows(size_mb).items() for part in ("-v", f"{table}={count}")]
    return ["-q", "-o", "/dev/null", *variables, "-f", str(HERE / f"{name}.sql")]


def load(world, size_mb: int) -> None:
    """Makes the database and fills it."""
    world.cluster.query(f"CREATE DATABASE {DATABASE} OWNER {world.user}")
    world.run(Command(world.psql(DATABASE, *script("dataset", size_mb)), world.pg_env))


def mutate(world, kind: str, size_mb: int) -> None:
    """Changes 1 % of the rows: `clustered` or `random`."""
    world.run(Command(world.psql(DATABASE, *script(f"mutate_{kind}", size_mb)), world.pg_env))


def copy_statements(world) -> list[list[str]]:
    """All rows as COPY statements for two connections, balanced.

    Halves are ranges of pages: the cheapest way PostgreSQL has to read a part of a table, and so the hardest limit.
    """
    pages = _pages(world)
    middles = {table: f"'({pages[table] // 2},0)'::tid" for table in SPLIT}
    halves = [[f"COPY (SELECT * FROM {table} WHERE ctid {half} {middles[table]}) TO STDOUT" for table in SPLIT] for half in ("<", ">=")]
    return _balanced(halves, {table: f"COPY {table} TO STDOUT" for table in TABLES}, pages)


def ordered_copy_statements(world) -> list[list[str]]:
    """The same rows by their keys."""
    middles = {table: world.cluster.query(f"SELECT max(id) / 2 FROM {table}", DATABASE)[0][0] for table in SPLIT}
    halves = [
        [f"COPY (SELECT * FROM {table} WHERE id {half} {middles[table]} ORDER BY id) TO STDOUT" for table in SPLIT]
        for half in ("<", ">=")
    ]
    whole = {
        table: f"COPY (SELECT * FROM {table} ORDER BY {KEYS[table]}) TO STDOUT" if table in KEYS else f"COPY {table} TO STDOUT"
        for table in TABLES
    }
    return _balanced(halves, whole, _pages(world))


def _pages(world) -> dict[str, int]:
    return dict(world.cluster.query("SELECT relname, relpages FROM pg_class WHERE relkind = 'r'", DATABASE))


def _balanced(halves: list[list[str]], whole: dict[str, str], pages: dict[str, int]) -> list[list[str]]:
    """Adds the tables that are not split, each to the connection that has less to do."""
    taken = [0, 0]
    for table in sorted(set(TABLES) - set(SPLIT), key=pages.get, reverse=True):
        lighter = taken.index(min(taken))
        taken[lighter] += pages[table]
        halves[lighter].append(whole[table])
    return halves


def copy_bytes(world) -> dict[str, int]:
    """What each table really is as COPY text."""
    found = {}
    with world.connect(DATABASE) as connection:
        for table in TABLES:
            with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
                found[table] = sum(len(block) for block in copy)
    return found


def counts(world, database: str) -> dict[str, int]:
    """Rows per table and the number of indexes and constraints, to see that a restore brought everything."""
    found = {table: world.cluster.query(f"SELECT count(*) FROM {table}", database)[0][0] for table in TABLES}
    for what, query in (
        ("indexes", "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'public'::regnamespace"),
        ("constraints", "SELECT count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace"),
    ):
        found[what] = world.cluster.query(query, database)[0][0]
    return found
