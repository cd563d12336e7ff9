"""Ends a stack, whatever happened to the program that started it.

Runs beside the stack with a pipe as its input. The pipe closes when the stack is stopped
and also when its owner crashes or is killed, so there is one way a stack ends: every
process of it is ended (found by what it carries, not by its name) and its folder removed.
It says so on its output when the processes are gone and the folder is out of the way;
removing the files of many databases may take it a while longer.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "HOLDFAST_LOCAL_STACK"
GRACE_SECONDS = 5
STEP_SECONDS = 0.05


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_processes(root)
    removed = root.rename(root.with_name(f"{root.name}.removed"))
    try:
        print("ended", flush=True)
    except BrokenPipeError:
        pass  # the owner is dead
    shutil.rmtree(removed, ignore_errors=True)


def end_processes(root: Path) -> None:
    """Ends every process of the stack in this folder."""
    for pid in processes_of(root):
        # A database server that gets SIGQUIT ends its own children and stops at once.
        _signal(pid, signal.SIGQUIT if _is_database_server(pid) else signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := processes_of(root)) and time.monotonic() < deadline:
        time.sleep(STEP_SECONDS)
    while left:
        for pid in left:
            _signal(pid, signal.SIGKILL)
        time.sleep(STEP_SECONDS)
        left = processes_of(root)


def processes_of(root: Path) -> list[int]:
    """Processes that carry the stack's mark, run a program below its folder, or serve a database there."""
    mark = f"{MARK}={root}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (entry / "stat").read_text().rsplit(") ", 1)[1].startswith("Z"):
                continue
            carries = mark in (entry / "environ").read_bytes().split(b"\0")
            below = (entry / "exe").readlink().is_relative_to(root)
            serves = any(part.startswith(f"{root}/pg/".encode()) for part in (entry / "cmdline").read_bytes().split(b"\0"))
        except OSError:
            continue
        if carries or below or serves:
            found.append(int(entry.name))
    return found


def _is_database_server(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name == "postgres"
    except OSError:
        return False


def _signal(pid: int, number: int) -> None:
    """Signals a process, and its whole group if it leads one (a function and what it started)."""
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


if __name__ == "__main__":
    main()
