"""Holdfast itself, through `holdfast-bench`: the same code as the functions, started as one program.

Its contract: where database and store are is in the environment, what it remembers between jobs in the file `--state`, and
each job prints one JSON object about itself.
"""

import json
from pathlib import Path

import paths
from dataset import DATABASE
from jobs import Command
from peers import RESTORED, Peer


class Ours(Peer):
    name = "ours"

    def __init__(self, world, program: Path):
        self.binary = program
        self.folder = world.root / "home" / "holdfast"
        super().__init__(world)

    def reset(self) -> None:
        super().reset()
        self.folder.mkdir(exist_ok=True)
        self._state.unlink(missing_ok=True)

    def full(self, jobs) -> dict:
        return self._job(jobs, "export", "--full")

    def unchanged(self, jobs) -> dict:
        return self._job(jobs, "export")

    clustered = random = unchanged

    def restore(self, jobs) -> dict:
        return self._job(jobs, "restore", "--into", RESTORED)

    def digest(self, jobs) -> dict:
        return self._job(jobs, "digest")

    @property
    def _state(self) -> Path:
        return self.folder / "state"

    def _job(self, jobs, verb: str, *options: str) -> dict:
        answer = self.folder / "answer.json"
        arguments = [self.binary, verb, "--database", DATABASE, "--state", self._state, *options]
        jobs.run(Command(arguments, environment(self.world, self.bucket), output=str(answer)))
        return json.loads(answer.read_text())


def uploader(world, program: Path):
    """Uploads a folder with our own client of S3, so that the peer's upload is as fast as ours."""
    def command(folder: Path, bucket: str) -> Command:
        state = world.root / "home" / "upload-state"
        return Command([program, "upload", folder, "--prefix", "dump", "--state", state], environment(world, bucket))
    return command


def environment(world, bucket: str) -> dict[str, str]:
    """Where the database and the store are, as `holdfast-bench` reads it."""
    return {
        **world.env, **world.store.env(), "HF_PG_HOST": "127.0.0.1", "HF_PG_PORT": str(world.cluster.port), "HF_PG_USER": world.user,
        "HF_PG_PASSWORD": world.password, "HF_PG_CA": str(world.tls.authority), "HF_PG_TOOLS": str(paths.postgres_tools()),
        "AWS_ENDPOINT_URL": world.store.endpoint, "HF_S3_BUCKET": bucket,
    }
