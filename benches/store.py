"""The object store of every contender: s3s-fs, a real S3 server over a folder, on loopback."""

import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import bootstrap
import paths
from pgcluster import free_port

# The newest that the toolchain of this repository compiles.
VERSION = "0.14.1"
PROGRAM = paths.TARGET / "tools" / "bin" / "s3s-fs"
ACCESS_KEY, SECRET_KEY, REGION = "benchmark", "benchmark-secret", "eu-central-1"
# One line per request says which operation it was; its signature's details are left out.
LOG_FILTER = "s3s::ops=debug,s3s::ops::signature=off"
OPERATION = re.compile(rb"resolved route, op: (\w+)")
START_SECONDS = 10


def ensure() -> None:
    """Builds the server below target/ if it is not there in this version."""
    if PROGRAM.exists() and VERSION in subprocess.run([PROGRAM, "--version"], stdout=subprocess.PIPE, text=True).stdout:
        return
    bootstrap.say(f"building s3s-fs {VERSION} (once)")
    command = ["cargo", "install", "--quiet", "--locked", "--force", "--root", PROGRAM.parents[1], "s3s-fs", "--version", VERSION]
    if subprocess.run([*command, "--features", "binary"]).returncode:
        raise bootstrap.NotReady("could not build s3s-fs: see the compiler's errors above")


class Store:
    """A running server. A bucket is a folder, an object a file in it."""

    def __init__(self, folder: Path, log: Path, env: dict[str, str]):
        self.folder, self.log = folder, log
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        folder.mkdir()
        with open(log, "wb") as output:
            self._server = subprocess.Popen(
                [PROGRAM, "--host", "127.0.0.1", "--port", str(self.port), "--access-key", ACCESS_KEY,
                 "--secret-key", SECRET_KEY, folder],
                env={**env, "RUST_LOG": LOG_FILTER}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )
        self._wait()

    @property
    def pid(self) -> int:
        return self._server.pid

    def env(self) -> dict[str, str]:
        """What its clients need."""
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}

    def empty_bucket(self, name: str) -> None:
        """Makes a bucket, or forgets all that is in it."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir()

    def requests_since(self, offset: int) -> Counter:
        """Requests per operation that the log shows from an offset on."""
        with open(self.log, "rb") as log:
            log.seek(offset)
            return Counter(match[1].decode() for match in map(OPERATION.search, log) if match)

    def log_size(self) -> int:
        """The offset at which the next request will be logged."""
        return self.log.stat().st_size

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                urllib.request.urlopen(self.endpoint)
            except urllib.error.HTTPError:
                return  # it refuses an unsigned request, so it is up
            except OSError:
                time.sleep(0.05)
        raise bootstrap.NotReady(f"s3s-fs did not start: {self.log.read_text(errors='replace')[-800:]}")


def folder_bytes(folder: Path) -> int:
    """The sum of the files below a folder."""
    return sum((Path(parent) / name).stat().st_size for parent, _, names in os.walk(folder) for name in names)
