"""What the figures are compared with: every comparison, and the target it has if it has one."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Comparison:
    """The quotient of one figure of two contenders, taken in each round."""

    text: str
    over: tuple[str, str]
    """Situation and contender whose figure is divided."""
    under: tuple[str, str]
    figure: str = "wall_s"
    at_most: float | None = None
    at_least: float | None = None

    def ratios(self, results) -> list[float]:
        """One quotient per round; none if one side was not measured, or stored nothing to compare with."""
        over, under = (
            [getattr(each, self.figure) for each in results.get(situation, {}).get(name, [])]
            for situation, name in (self.over, self.under)
        )
        return [a / b for a, b in zip(over, under) if b]

    def verdict(self, ratio: float) -> str:
        """Whether the median meets the target."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}: {'met' if ratio <= self.at_most else '**missed**'}"
        if self.at_least is not None:
            return f"≥ {self.at_least:g}: {'met' if ratio >= self.at_least else '**missed**'}"
        return "reported"

    def row(self, results) -> tuple[str, str, str, str]:
        """The line of the report."""
        ratios = self.ratios(results)
        if not ratios:
            return self.text, "not measured", "", ""
        middle = median(ratios)
        return self.text, _ratio(middle), f"{_ratio(min(ratios))} – {_ratio(max(ratios))}", self.verdict(middle)


def _ratio(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _ours(situation: str) -> tuple[str, str]:
    return situation, "ours"


COMPARISONS = (
    Comparison("full backup / bare COPY over two connections", _ours("full"), ("full", "copy2"), at_most=2.0),
    Comparison("full backup / bare COPY in key order", _ours("full"), ("full", "copy2_in_order")),
    Comparison("full backup / `pg_dump -Fd -j2` and upload", _ours("full"), ("full", "pg_dump"), at_most=0.4),
    Comparison("full backup / the same with its fastest codec", _ours("full"), ("full", "pg_dump_fast")),
    Comparison("full backup / restic", _ours("full"), ("full", "restic")),
    Comparison("full backup / pgBackRest", _ours("full"), ("full", "pgbackrest")),
    Comparison("full backup, stored bytes / `pg_dump`", _ours("full"), ("full", "pg_dump"), "stored_bytes"),
    Comparison("full backup, stored bytes / restic", _ours("full"), ("full", "restic"), "stored_bytes"),
    Comparison("unchanged incremental / bare COPY", _ours("unchanged"), ("unchanged", "copy2"), at_most=1.4),
    Comparison("unchanged incremental / bare COPY in key order", _ours("unchanged"), ("unchanged", "copy2_in_order")),
    Comparison("unchanged incremental / restic", _ours("unchanged"), ("unchanged", "restic")),
    Comparison("unchanged incremental / pgBackRest", _ours("unchanged"), ("unchanged", "pgbackrest")),
    Comparison("unchanged incremental, stored bytes / full", _ours("unchanged"), _ours("full"), "stored_bytes", at_most=0.01),
    Comparison("1 % changed clustered / bare COPY", _ours("clustered"), ("clustered", "copy2")),
    Comparison("1 % changed clustered / restic", _ours("clustered"), ("clustered", "restic")),
    Comparison("1 % changed clustered / pgBackRest", _ours("clustered"), ("clustered", "pgbackrest")),
    Comparison("1 % changed clustered, stored bytes / full", _ours("clustered"), _ours("full"), "stored_bytes", at_most=0.03),
    Comparison("1 % changed clustered, stored bytes / restic", _ours("clustered"), ("clustered", "restic"), "stored_bytes"),
    Comparison("1 % changed at random / restic", _ours("random"), ("random", "restic")),
    Comparison("1 % changed at random, stored bytes / full", _ours("random"), _ours("full"), "stored_bytes"),
    Comparison("1 % changed at random, stored bytes / restic", _ours("random"), ("random", "restic"), "stored_bytes"),
    Comparison("`pg_restore -j2` of local files / our restore from the store", ("restore", "pg_dump"), _ours("restore"), at_least=1.2),
    Comparison("restic and pg_restore / our restore", ("restore", "restic"), _ours("restore")),
    Comparison("hash-only check of the live data / bare COPY", _ours("digest"), ("digest", "copy2")),
    Comparison("`pg_dump -Fd -j2` and upload / bare COPY", ("full", "pg_dump"), ("full", "copy2")),
    Comparison("bare COPY over one connection / two", ("full", "copy1"), ("full", "copy2")),
)
