"""What is measured in which order: every situation in every round, its contenders in turn, on the same pages each round."""

import json
from collections import defaultdict
from pathlib import Path

import bootstrap
from dataset import DATABASE, counts, mutate
from jobs import JobFailed, Jobs
from meter import Measurement, measure
from peers import RESTORED, Copy1

# The situations of a round, in order: what is done to the data before them.
SITUATIONS = {
    "full": None, "unchanged": None, "clustered": "clustered", "random": "random", "restore": None, "digest": None,
}

Results = dict[str, dict[str, list[Measurement]]]
"""Per situation and contender one measurement per round."""


def run_rounds(world, contenders: list, runs: int, size_mb: int, keep_in: Path) -> Results:
    """Measures everything `runs` times."""
    results: Results = defaultdict(lambda: defaultdict(list))
    for number in range(1, runs + 1):
        world.fresh()
        _warm_up(world)
        for contender in contenders:
            contender.reset()
        for situation, change in SITUATIONS.items():
            if change and any(hasattr(contender, situation) for contender in contenders):
                mutate(world, change, size_mb)
            for contender in contenders:
                if hasattr(contender, situation):
                    taken = _measure(world, contender, situation)
                    results[situation][contender.name].append(taken)
                    _tell(f"round {number}: {situation} {contender.name}", taken)
        # A run takes long: what is measured so far is kept.
        keep_in.write_text(json.dumps(as_json(results), indent=1))
    return results


def as_json(results: Results) -> dict:
    """The results without types."""
    return {
        situation: {name: [each.as_json() for each in taken] for name, taken in contenders.items()}
        for situation, contenders in results.items()
    }


def _measure(world, contender, situation: str) -> Measurement:
    taken = measure(world, getattr(contender, situation), contender.stored_bytes)
    if situation == "restore":
        expected, found = counts(world, DATABASE), counts(world, RESTORED)
        if expected != found:
            raise JobFailed(f"{contender.name} restored {found} where {expected} was")
        world.drop(RESTORED)
    return taken


def _warm_up(world) -> None:
    """Reads everything once, so that the first contender finds what the others find."""
    Copy1(world).full(Jobs(world.root / "log"))


def _tell(what: str, taken: Measurement) -> None:
    bootstrap.say(
        f"{what}: {taken.wall_s:.2f} s, processor {taken.client_cpu_s:.1f} + {taken.postgres_cpu_s:.1f} + {taken.store_cpu_s:.1f} "
        f"(others {taken.other_cpu_s:.1f}) s, {taken.peak_rss_bytes / 1e6:.0f} MB, stored {taken.stored_bytes / 1e6:.2f} MB, "
        f"{sum(taken.requests.values())} requests"
    )
