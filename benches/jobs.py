"""Starting the programs that are measured, and what they used: processor time and memory."""

import os
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_SECONDS = 0.1


class JobFailed(Exception):
    """A program ended with an error, or without doing its job; says what it said."""


@dataclass(frozen=True)
class Command:
    """One program: its arguments, environment and account, and the file its output goes to."""

    arguments: list
    env: dict[str, str]
    identity: dict = field(default_factory=dict)
    output: str = os.devnull


class Jobs:
    """Runs commands one after the other, side by side or as a pipe, and adds up what they used."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.cpu_s = 0.0
        self.peak_rss_bytes = 0

    def run(self, command: Command) -> None:
        """Runs one program to its end."""
        self._await([(command, self._start(command, subprocess.DEVNULL, open(command.output, "wb")))])

    def together(self, *commands: Command) -> None:
        """Runs programs at the same time."""
        self._await([(each, self._start(each, subprocess.DEVNULL, open(each.output, "wb"))) for each in commands])

    def pipe(self, source: Command, sink: Command) -> None:
        """Runs two programs, the output of the first being the input of the second."""
        first = self._start(source, subprocess.DEVNULL, subprocess.PIPE)
        second = self._start(sink, first.stdout, open(sink.output, "wb"))
        self._await([(source, first), (sink, second)])

    def _start(self, command: Command, given, output) -> subprocess.Popen:
        try:
            # A session of its own is how the programs it starts are found again.
            return subprocess.Popen(
                [str(part) for part in command.arguments], env=command.env, stdin=given, stdout=output,
                stderr=open(self._errors(command), "wb"), cwd="/", start_new_session=True, **command.identity,
            )
        finally:
            for stream in (given, output):
                if hasattr(stream, "close"):
                    stream.close()

    def _errors(self, command: Command) -> Path:
        return self.folder / f"{Path(str(command.arguments[0])).name}.stderr"

    def _await(self, started: list[tuple[Command, subprocess.Popen]]) -> None:
        watch = MemoryWatch({process.pid for _, process in started})
        failed = []
        for command, process in started:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            # The children a program waited for are counted in it.
            self.cpu_s += usage.ru_utime + usage.ru_stime
            if process.returncode:
                said = self._errors(command).read_text(errors="replace").strip()[-800:]
                failed.append(f"{Path(str(command.arguments[0])).name} ended with {process.returncode}: {said}")
        self.peak_rss_bytes = max(self.peak_rss_bytes, watch.stop())
        if failed:
            raise JobFailed("; ".join(failed))


class MemoryWatch:
    """The highest resident memory of every process of some sessions, added up.

    `ru_maxrss` would not do: what the parent had before `exec` counts in it. The sum is at least what they had at one moment.
    """

    def __init__(self, sessions: set[int]):
        self._sessions = sessions
        self._highest: dict[int, int] = {}
        self._foreign: set[int] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> int:
        """Ends the watch and returns the sum in bytes."""
        self._done.set()
        self._thread.join()
        return sum(self._highest.values())

    def _watch(self) -> None:
        while True:
            for name in os.listdir("/proc"):
                if name.isdigit() and (pid := int(name)) not in self._foreign:
                    self._look(pid)
            if self._done.wait(SAMPLE_SECONDS):
                return

    def _look(self, pid: int) -> None:
        try:
            if pid not in self._highest and int(stat_fields(pid)[3]) not in self._sessions:
                self._foreign.add(pid)
                return
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self._highest[pid] = int(line.split()[1]) * 1024


def stat_fields(pid: int) -> list[str]:
    """/proc/<pid>/stat from the state on: 3 is the session, 11 to 14 the processor times."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
