"""Retention beside restic's `forget`, on the same dates: an independent, well-kept policy engine must keep the same ones, for the same reasons.

The common ground is what both mean alike: the newest of each of the last n days, ISO weeks, months and years that have one, in a zone.
Left out, because it differs by design:

- `keep_all_days` counts from now, restic's `--keep-within` from the newest snapshot.
- restic keeps the oldest snapshot too while a tier is not full ("oldest … snapshot"); ours stands for no period of its own.
- Proof, holds, caps and the newest one, which restic knows nothing of. Every policy here has a tier, so the newest is kept by both.

restic is the real program on a repository of its own whose snapshots are records without content, written as its format says
(https://restic.readthedocs.io/en/stable/100_references.html): making 30 000 snapshots by `restic backup` would take hours.
"""

import base64
import hashlib
import json
import os
import random
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

ROOT = Path(__file__).resolve().parents[2]

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
    "Africa/Casablanca", "Asia/Kathmandu", "America/Santiago", "Pacific/Auckland",
]
POLICIES_OF_EACH_ZONE = 3
HISTORIES_OF_EACH_POLICY = 50
TIERS = ("daily", "weekly", "monthly", "yearly")


def random_history(pick: random.Random) -> list[datetime]:
    """Dates at some rhythm, with gaps and extra ones, near the borders of days, weeks, months, years and leap days."""
    start = datetime(pick.randrange(2015, 2024), pick.choice((1, 2, 3, 10, 12)), pick.randrange(1, 29), tzinfo=timezone.utc)
    step = timedelta(minutes=pick.choice((60, 360, 1440, 1440, 1440, 1445, 10080, 43920)))
    times = {start + step * k + timedelta(seconds=pick.randrange(86400)) * (pick.random() < 0.2) for k in range(pick.randrange(1, 40))}
    return sorted(time for time in times if pick.random() < 0.9)


def random_policy(pick: random.Random) -> dict[str, int]:
    while True:
        policy = {tier: pick.choice((0, 1, 2, 3, 7, 20)) for tier in TIERS}
        if any(policy.values()):
            return policy


class Restic:
    """A repository in which snapshots are written directly."""

    def __init__(self, program: str, home: Path) -> None:
        self.program, self.home = program, home
        self.environment = {**os.environ, "RESTIC_PASSWORD": "test", "RESTIC_CACHE_DIR": str(home / "cache")}
        self._run(home / "empty", ["init"])
        key = json.loads(self._run(home / "empty", ["cat", "masterkey"]))
        self.encrypt, self.mac_k, self.mac_r = (
            base64.b64decode(text) for text in (key["encrypt"], key["mac"]["k"], key["mac"]["r"])
        )

    def forget(self, histories: list[list[datetime]], policy: dict[str, int], zone: str) -> list[dict[datetime, set[str]]]:
        """What it would keep of each history, with its reasons, by the policy in the zone."""
        repository = self.home / f"of-{zone.replace('/', '-')}-{random.randrange(1 << 60):x}"
        shutil.copytree(self.home / "empty", repository)
        for number, times in enumerate(histories):
            for time in times:
                self._write(repository, f"h{number}", time.astimezone(ZoneInfo(zone)))
        keep = [f"--keep-{tier}={count}" for tier, count in policy.items() if count]
        out = self._run(repository, ["forget", "--dry-run", "--json", "--group-by=host", *keep], TZ=zone)
        shutil.rmtree(repository)
        kept = [{} for _ in histories]
        for group in json.loads(out):
            # Of the oldest one, "oldest daily snapshot" and the like are no reason of ours.
            kept[int(group["host"][1:])] = {
                datetime.fromisoformat(reason["snapshot"]["time"]).astimezone(timezone.utc): names
                for reason in group["reasons"] or []
                if (names := {match.split()[0] for match in reason["matches"] if not match.startswith("oldest")})
            }
        return kept

    def _write(self, repository: Path, host: str, time: datetime) -> None:
        record = {"time": time.isoformat(), "tree": "0" * 64, "paths": ["/"], "hostname": host, "username": "test"}
        nonce = os.urandom(16)
        sealer = Cipher(algorithms.AES(self.encrypt), modes.CTR(nonce)).encryptor()
        sealed = sealer.update(json.dumps(record).encode()) + sealer.finalize()
        one_time = Cipher(algorithms.AES(self.mac_k), modes.ECB()).encryptor()
        tag = Poly1305.generate_tag(self.mac_r + one_time.update(nonce) + one_time.finalize(), sealed)
        stored = nonce + sealed + tag
        (repository / "snapshots" / hashlib.sha256(stored).hexdigest()).write_bytes(stored)

    def _run(self, repository: Path, command: list[str], **environment: str) -> str:
        done = subprocess.run(
            [self.program, "--quiet", "--repo", str(repository), *command],
            env=self.environment | environment, capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def holdfast_keeps(asked: list[tuple[dict[str, int], list[datetime]]], zone: str) -> list[dict[datetime, set[str]]]:
    """What retention keeps of each history by its policy, with its reasons as far as restic has them too."""
    beside = {"keep_all_days": 0, "min_proven": 1, "max_expire_per_run": 1}
    questions = (
        json.dumps({"policy": policy | beside, "zone": zone, "now": "2040-01-01T00:00:00Z", "times": [time.isoformat() for time in times]})
        for policy, times in asked
    )
    done = subprocess.run(
        ["cargo", "run", "--quiet", "--package", "domain", "--example", "retention_decide"],
        cwd=ROOT, input="\n".join(questions) + "\n", capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    return [
        {datetime.fromisoformat(time): set(reasons) & set(TIERS) for time, reasons in json.loads(line)}
        for line in done.stdout.splitlines()
    ]


@pytest.fixture(scope="module")
def restic(tmp_path_factory) -> Restic:
    home = tmp_path_factory.mktemp("restic")
    program = shutil.which("restic")
    if not program:
        import debian

        debian.download_binary("restic", home)
        (package,) = home.glob("restic_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, home / "installed"], check=True)
        program = str(home / "installed/usr/bin/restic")
    return Restic(program, home)


@pytest.mark.parametrize("zone", ZONES)
def test_restic_keeps_the_same_for_the_same_reasons(restic, zone):
    pick = random.Random(zone)
    asked, theirs = [], []
    for _ in range(POLICIES_OF_EACH_ZONE):
        policy = random_policy(pick)
        histories = [random_history(pick) for _ in range(HISTORIES_OF_EACH_POLICY)]
        asked += [(policy, times) for times in histories]
        theirs += restic.forget(histories, policy, zone)
    for (policy, times), ours, other in zip(asked, holdfast_keeps(asked, zone), theirs, strict=True):
        assert ours == other, f"{policy} in {zone} over {[str(time) for time in times]}"
        assert bool(ours) == bool(times), "of each history something is kept"
