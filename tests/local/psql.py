"""PostgreSQL's own `psql` and `pg_dump`, run as programs: how the platform is loaded and how restores are judged.

Nothing here shares code with Holdfast, so a fault in Holdfast's reading of a database cannot hide itself.
"""

import os
import subprocess
from pathlib import Path

from paths import postgres_bin

STATEMENT_SECONDS = 300


class PsqlError(Exception):
    """A client program failed; carries the end of what it said."""


def run_file(dsn: str, file: Path, **variables) -> None:
    """Runs one SQL file, its psql variables set, stopping at the first error."""
    settings = [f"--set={name}={value}" for name, value in variables.items()]
    _run("psql", *_QUIET, *settings, "--dbname", dsn, "--file", str(file))


def run_script(dsn: str, script: str) -> str:
    """Feeds a script (which may hold psql's own commands) to psql and returns what it printed."""
    return _run("psql", *_QUIET, *_BARE, "--dbname", dsn, "--file", "-", stdin=script)


def execute(dsn: str, *statements: str) -> None:
    """Runs statements one by one, each in its own transaction."""
    _run("psql", *_QUIET, "--dbname", dsn, *(f"--command={statement}" for statement in statements))


def value(dsn: str, query: str) -> str:
    """The text of a query's single value; empty for NULL."""
    return _run("psql", *_QUIET, *_BARE, "--dbname", dsn, f"--command={query}").rstrip("\n")


def lines(dsn: str, query: str) -> list[str]:
    """The text of a query's single column, a row an element. For values without line ends."""
    return value(dsn, query).splitlines()


def schema_dump(dsn: str, schema: str | None = None) -> str:
    """What `pg_dump --schema-only` writes about a database or about one of its schemas."""
    scope = [f'--schema="{schema}"'] if schema else []
    return _run("pg_dump", "--schema-only", *scope, "--dbname", dsn)


def literal(text: str) -> str:
    """A text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


_QUIET = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")
_BARE = ("--no-align", "--tuples-only")


def _run(program: str, *arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        [str(postgres_bin() / program), *arguments],
        input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True, text=True, encoding="utf-8", timeout=STATEMENT_SECONDS,
        env={**os.environ, "PGCLIENTENCODING": "UTF8", "PGOPTIONS": "-c client_min_messages=warning", "PGAPPNAME": "platform"},
    )
    if done.returncode:
        raise PsqlError(f"{program} ended with {done.returncode}: {done.stderr.strip()[-1500:]}")
    return done.stdout
