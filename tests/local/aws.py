"""The emulator's process: ministack with the gaps closed and the RDS front inside it.

Started by `stack.py` with its settings in the environment; serves one loopback port.
Beside AWS's own protocols it answers a few paths under `/_holdfast/` that let the stack
wait for what happened instead of guessing (see `observe.py`).
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import certs
import gaps
import observe
import rds
import rds_events
from pgcluster import Programs
from pghost import PostgresHost


def main() -> None:
    root = Path(os.environ["HOLDFAST_LOCAL_STACK"])
    without = frozenset(filter(None, os.environ.get("HOLDFAST_LOCAL_WITHOUT_GAPS", "").split(",")))
    import ministack.app as emulator  # reads its settings from the environment when imported

    gaps.install(without)
    _count_loopback_as_tls(emulator)
    if programs_folder := os.environ.get("HOLDFAST_LOCAL_PG_BIN"):
        host = _database_host(root, Path(programs_folder))
        emulator.SERVICE_HANDLERS["rds"] = _rds_handler(host, Path(programs_folder))
    emulator.app = observe.wrap(emulator.app)
    sys.argv = ["ministack"]
    emulator.main()


def _count_loopback_as_tls(emulator) -> None:
    """Has policies see every request as encrypted.

    The emulator is spoken to without TLS, over loopback only. A policy that denies what is
    not TLS, as ours must, would otherwise deny everything. That such a denial is in the
    template is tested there.
    """
    pin = emulator.pin_request_origin
    emulator.pin_request_origin = lambda source_ip, secure: pin(source_ip, True)


def _database_host(root: Path, programs: Path) -> PostgresHost:
    account = os.environ.get("HOLDFAST_LOCAL_PG_ACCOUNT") or None
    return PostgresHost(root / "pg", Programs(programs, account), certs.files(root / "tls"))


def _rds_handler(host: PostgresHost, programs: Path):
    """Forwards RDS calls to moto, in a thread, for the caller's account and region."""
    version = subprocess.check_output([programs / "postgres", "--version"], text=True).split()[2]
    client = rds.application(host, _tell_eventbridge, version).test_client()
    passed_on = ("content-type", "authorization", "x-amz-date", "x-amz-target", "user-agent", "accept")

    def forward(method, path, headers, body, query, account):
        kept = {name: value for name, value in headers.items() if name.lower() in passed_on}
        kept["x-moto-account-id"] = account
        answer = client.open(path, method=method, headers=kept, data=body, query_string=query)
        return answer.status_code, {"Content-Type": answer.content_type}, answer.data

    async def handle(method, path, headers, body, query):
        from ministack.core.responses import get_account_id

        return await asyncio.to_thread(forward, method, path, headers, body, query, get_account_id())

    return handle


def _tell_eventbridge(resource, name: str) -> None:
    from ministack.core.responses import set_request_account_id, set_request_region
    from ministack.services import eventbridge

    entry = rds_events.entry(resource, name)
    if entry:
        set_request_account_id(resource.account_id)
        set_request_region(resource.region)
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


if __name__ == "__main__":
    main()
