"""`python3 tests/local <verb>`: the local stack, the demonstration on it, and the tests.

Works on a fresh machine with Rust, Python 3.11, Node and gcc: it installs what else it
needs below target/ first, then runs itself again in there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time

import bootstrap
import paths


def main() -> int:
    options = _parse()
    # The account of whoever starts this must be out of reach.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    bootstrap.keep_loopback_from_proxies()
    try:
        if options.verb != "down":
            bootstrap.enter_environment()
        if options.verb not in ("down", "lint"):
            bootstrap.ensure_postgres()
            bootstrap.ensure_postgres_tools()
        if options.verb in ("test", "prepare"):
            bootstrap.ensure_postgres_regress()
        return options.run(options)
    except bootstrap.NotReady as problem:
        print(problem, file=sys.stderr)
        return 2


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 tests/local", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)

    def verb(name, run, text):
        added = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    demo = verb("demo", run_demo, "back up, destroy, restore and prove tenants, with commentary")
    demo.add_argument("--keep", action="store_true", help="leave the stack running afterwards")
    verb("game-day", run_game_day, "lose every database and recover the environment, with commentary and measured times")
    test = verb("test", run_tests, "all tests: Rust, template contract, stack and end to end")
    test.epilog = "Further arguments are given to pytest; Rust's tests are then left out."
    verb("up", run_up, "start the stack with the example platform and leave it running")
    verb("down", run_down, "end the stack that `up` or `demo --keep` left running")
    verb("prepare", run_prepare, "fetch and install what the Rust tests need, and nothing else")
    verb("lint", run_lint, "lint the templates, the policies, the state machines and the plan")
    verb("conformance", run_conformance, "compare the emulator, as it comes and corrected, with AWS's rules")
    options, options.arguments = parser.parse_known_args()
    if options.arguments and options.verb != "test":
        parser.error(f"unknown arguments for {options.verb}: {' '.join(options.arguments)}")
    return options


def run_demo(options) -> int:
    import demo
    from stack import Stack, end_on_signals

    bootstrap.build_binaries()
    end_on_signals()
    with Stack() as stack:
        stack.deploy()
        stack.silence_schedules()
        status = demo.run_demo(stack, options.keep)
        if options.keep:
            stack.resume_schedules()
            print(stack.how_to_talk_to_it(), flush=True)
            _stay(stack)
    return status


def run_game_day(options) -> int:
    import gameday
    from stack import Stack, end_on_signals

    bootstrap.build_binaries()
    end_on_signals()
    with Stack() as stack:
        stack.deploy()
        stack.silence_schedules()
        return gameday.run_game_day(stack)


def run_tests(options) -> int:
    bootstrap.build_binaries()
    if not options.arguments:
        done = subprocess.run(["cargo", "test", "--workspace", "--locked"], cwd=paths.ROOT)
        if done.returncode:
            return done.returncode
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", paths.ROOT / "tests"]
    folders = [paths.ROOT / "tests" / name for name in ("contract", "local", "e2e")]
    where = [] if _names_a_test(options.arguments) else [folder for folder in folders if folder.is_dir()]
    environment = {**os.environ, "PYTHONPATH": str(paths.HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*command, *options.arguments, *where], cwd=paths.ROOT, env=environment).returncode


def run_up(options) -> int:
    from saas import build
    from stack import Stack, end_on_signals

    bootstrap.build_binaries()
    end_on_signals()
    bootstrap.say("starting the stack")
    with Stack() as stack:
        stack.deploy()
        bootstrap.say("filling the example platform")
        build(stack)
        print(stack.how_to_talk_to_it(), flush=True)
        _stay(stack)
    return 0


def run_down(options) -> int:
    try:
        kept = json.loads(paths.KEPT.read_text())
    except FileNotFoundError:
        print("no stack is running")
        return 0
    if _started(kept["pid"]) == kept["started"]:
        os.kill(kept["pid"], signal.SIGTERM)
        while _started(kept["pid"]) == kept["started"]:
            time.sleep(0.1)
    paths.KEPT.unlink(missing_ok=True)
    print("the stack is down")
    return 0


def run_prepare(options) -> int:
    # Whatever is to be prepared has been when a verb is run.
    return 0


def run_lint(options) -> int:
    return subprocess.run([sys.executable, paths.ROOT / "infra" / "lint"], cwd=paths.ROOT).returncode


def run_conformance(options) -> int:
    import conformance

    return conformance.main()


def _stay(stack) -> None:
    """Keeps the stack until Ctrl-C, the end of the input, or `down`."""
    paths.KEPT.write_text(json.dumps({"pid": os.getpid(), "started": _started(os.getpid()), "endpoint": stack.endpoint}))
    try:
        if sys.stdin is None or sys.stdin.closed or _is_null(sys.stdin):
            signal.pause()
        else:
            sys.stdin.read()
    except KeyboardInterrupt:
        pass
    finally:
        paths.KEPT.unlink(missing_ok=True)


def _is_null(stream) -> bool:
    """Whether the input is /dev/null (a background start), whose end means nothing."""
    try:
        return os.fstat(stream.fileno()).st_rdev == os.stat(os.devnull).st_rdev
    except (OSError, ValueError):
        return True


def _started(pid: int) -> str | None:
    """When a process started, to tell it from a later one with its number; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(") ", 1)[1].split()[19]
    except OSError:
        return None


def _names_a_test(arguments: list[str]) -> bool:
    return any(os.path.exists(part.split("::")[0]) for part in arguments if not part.startswith("-"))


if __name__ == "__main__":
    sys.exit(main())
