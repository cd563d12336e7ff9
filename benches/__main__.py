"""`python3 benches`: Holdfast and its peers, the same whole jobs side by side on this machine.

Needs what `./task test` needs; restic and pgBackRest are measured if they are installed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent / "tests" / "local"))

import bootstrap  # noqa: E402  (the path above leads there)
import paths  # noqa: E402


def main() -> int:
    options = _parse()
    # The account of whoever starts this must be out of reach.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    bootstrap.keep_loopback_from_proxies()
    try:
        _enter_environment()
        bootstrap.ensure_postgres()
        bootstrap.ensure_postgres_tools()
        return _run(options)
    except bootstrap.NotReady as problem:
        print(problem, file=sys.stderr)
        return 2


def _enter_environment() -> None:
    """Continues this program inside the environment of the local stack."""
    folder = bootstrap._environment()
    if Path(sys.prefix).resolve() != folder.resolve():
        python = str(folder / "bin" / "python")
        os.execv(python, [python, "-B", str(HERE), *sys.argv[1:]])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 benches", description=__doc__.splitlines()[0])
    parser.add_argument("--size-mb", type=int, default=1000, help="size of the data as COPY text (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="rounds; figures are their medians (default: %(default)s)")
    parser.add_argument("--only", metavar="NAME,...", help="only these contenders")
    parser.add_argument("--out", default="docs/benchmarks.md", help="where the report goes, or `none` (default: %(default)s)")
    parser.add_argument("--holdfast-bench", type=Path, default=paths.TARGET / "release" / "holdfast-bench", metavar="PROGRAM",
                        help="our own side (default: target/release/holdfast-bench)")
    parser.add_argument("--large", action="store_true", help="also take our memory at 10,000 MB; needs 60 GB of disk")
    return parser.parse_args()


def _run(options) -> int:
    import store
    from jobs import JobFailed

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    store.ensure()
    try:
        text = _measure(options)
    except JobFailed as problem:
        print(problem, file=sys.stderr)
        return 1
    print(text)
    if options.out != "none":
        (paths.ROOT / options.out).write_text(text)
    return 0


def _measure(options) -> str:
    """Takes all the figures and returns the report."""
    from contenders import choose
    from dataset import copy_bytes, load
    from memory import run_series
    from report import Report
    from rounds import run_rounds
    from world import World

    with World() as world:
        bootstrap.say(f"making {options.size_mb} MB of data")
        world.new_cluster()
        load(world, options.size_mb)
        report = Report(world, options, shlex.join(["./task", "bench", *sys.argv[1:]]), copy_bytes(world))
        contenders, report.missing = choose(world, options)
        world.keep()
        kept = paths.TARGET / "bench.json"
        report.results = run_rounds(world, contenders, options.runs, options.size_mb, kept)
        ours = next((each for each in contenders if each.name == "ours"), None)
        if ours:
            report.memory = run_series(world, ours, options)
    return report.text()


if __name__ == "__main__":
    sys.exit(main())
