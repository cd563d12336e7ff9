"""Compares the emulator with AWS's rules: as it comes, and with the gaps closed.

A probe named after a gap must fail on the bare emulator (else the gap can go) and hold on
the corrected one; the others guard rules our tests rely on and the emulator already keeps.
`python3 tests/local conformance` prints the table, and so does every report of the tests.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import gaps
import probes
from probes.account import Account
from stack import Stack

WORKERS = 6  # most probes wait for something


@dataclass(frozen=True)
class Row:
    """One rule: why it does not hold on the bare and on the corrected emulator, None where it does."""

    name: str
    rule: str
    bare: str | None
    corrected: str | None
    is_gap: bool

    @property
    def verdict(self) -> str:
        """What to do about the row; empty if nothing."""
        if self.corrected is not None:
            return f"BROKEN: {self.corrected}"
        return "the gap can go: the emulator keeps this rule now" if self.is_gap and self.bare is None else ""


def compare() -> list[Row]:
    """Runs every probe on a bare and on a corrected emulator."""
    bare, corrected = run("all"), run("")
    known = gaps.load()
    rows = [
        Row(
            one.name, known[one.name].rule if one.name in known else one.rule, bare[one.name], corrected[one.name],
            one.name in known,
        )
        for one in probes.load()
    ]
    without_probe = {name for name, gap in known.items() if not gap.is_pace} - {row.name for row in rows}
    assert not without_probe, f"gaps without a probe: {sorted(without_probe)}"
    return rows


def run(without_gaps: str) -> dict[str, str | None]:
    """The failure of each probe, None for those that hold."""
    with Stack(without_gaps=without_gaps, databases=False) as stack:
        account, all_probes = Account(stack), probes.load()
        with ThreadPoolExecutor(WORKERS) as workers:
            failures = workers.map(lambda one: _failure(one, account), all_probes)
            return {one.name: failure for one, failure in zip(all_probes, failures)}


def _failure(probe, account) -> str | None:
    try:
        probe.run(account)
    except Exception as problem:  # whatever a client may meet is a finding
        return f"{type(problem).__name__}: {problem}".splitlines()[0][:160]
    return None


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{'':2}{'rule':34} {'emulator':9} {'after gaps':10}  what AWS does"]
    for row in rows:
        bare, corrected = (("differs" if failure else "same") for failure in (row.bare, row.corrected))
        lines.append(f"{'✗' if row.corrected else ' ':2}{row.name:34} {bare:9} {corrected:10}  {row.rule}")
        if row.verdict:
            lines.append(f"{'':47}  → {row.verdict}")
    return "\n".join(lines)


def main() -> int:
    """Prints the table; non-zero if a rule does not hold after the corrections."""
    rows = compare()
    print(table(rows))
    return 1 if any(row.corrected for row in rows) else 0
