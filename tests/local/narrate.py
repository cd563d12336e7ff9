"""How the demo speaks: numbered steps with the time they took, colours only on a terminal."""

import os
import sys
import time


class Narrator:
    """Prints steps and what happens in them."""

    def __init__(self, stream=sys.stdout):
        self._stream = stream
        self._colours = stream.isatty() and "NO_COLOR" not in os.environ
        self._started = time.monotonic()
        self._step_started: float | None = None
        self._number = 0

    def step(self, title: str) -> None:
        """Ends the step before and begins the next."""
        self._finish_step()
        self._number += 1
        self._step_started = time.monotonic()
        self._print(f"\n{self._paint('1;36', f'{self._number}. {title}')}")

    def say(self, text: str) -> None:
        """Something that happened."""
        for line in text.rstrip().splitlines() or [""]:
            self._print(f"   {line}")

    def typed(self, command: str, output: str) -> None:
        """A command as an operator types it, and what it answered."""
        self._print(f"   {self._paint('33', '$ ' + command)}")
        for line in output.rstrip().splitlines():
            self._print(f"   {self._paint('2', '│')} {line}")

    def good(self, text: str) -> None:
        """Something that was checked and holds."""
        self._print(f"   {self._paint('32', '✓')} {text}")

    def bad(self, text: str) -> None:
        """Something that was checked and does not hold."""
        lines = text.rstrip().splitlines()
        self._print(f"   {self._paint('1;31', '✗')} {lines[0] if lines else ''}")
        for line in lines[1:]:
            self._print(f"     {line}")

    def finish(self, text: str) -> None:
        """Ends the last step and closes with the whole time."""
        self._finish_step()
        self._print(f"\n{self._paint('1', text)} ({time.monotonic() - self._started:.1f} s)")

    def _finish_step(self) -> None:
        if self._step_started is not None:
            self._print(f"   {self._paint('2', f'({time.monotonic() - self._step_started:.1f} s)')}")
            self._step_started = None

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
