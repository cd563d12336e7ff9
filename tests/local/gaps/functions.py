"""Lambda: function processes as they live and die on AWS, and who calls a function URL."""

import http.server
import os
import signal
import subprocess
import threading
import time
import types
from pathlib import Path

from ministack.core import iam_evaluator, lambda_runtime
from ministack.core.router import extract_access_key_id
from ministack.services import lambda_svc

from gaps import gap

MEMORY_CHECK_SECONDS = 0.2
INHERITED = ("PATH", "LANG", "TZ", "TMPDIR")
"""The only variables of the host a function sees; all others are Lambda's (AWS_…) or its own."""


@gap("lambda-runtime-api-delay", "Runtime API: an answer is not held back (Nagle's algorithm costs 40 ms a call)", is_pace=True)
def runtime_api_delay() -> None:
    http.server.BaseHTTPRequestHandler.disable_nagle_algorithm = True


@gap("lambda-ends-the-sandbox", "Timeouts: the whole sandbox is killed at once, the processes it started too")
def ends_the_sandbox() -> None:
    # The module's `subprocess`, with a Popen of our own.
    lambda_runtime.subprocess = types.SimpleNamespace(**{**vars(subprocess), "Popen": FunctionProcess})


@gap("lambda-memory", "Memory: a function that needs more than MemorySize is killed (Runtime.ExitError)")
def memory() -> None:
    FunctionProcess.limits_memory = True


@gap("lambda-environment", "Environment: a function sees its own variables and Lambda's, not those of the host")
def environment() -> None:
    build = lambda_svc._provided_worker_env

    def build_clean(config, code_dir, port):
        full = build(config, code_dir, port)
        wanted = {*lambda_svc._runtime_env_vars(config), *INHERITED}
        return {
            name: value for name, value in full.items()
            if name in wanted or name.startswith("AWS_") or os.environ.get(name) != value
        }

    lambda_svc._provided_worker_env = build_clean


@gap("lambda-url-identity", "Function URLs: AWS_IAM puts the caller that signed into requestContext.authorizer.iam")
def url_identity() -> None:
    build = lambda_svc._build_function_url_event

    def build_with_identity(url_id, account_id, region, method, path, headers, body, query_params, **options):
        event = build(url_id, account_id, region, method, path, headers, body, query_params, **options)
        caller = iam_evaluator.resolve_caller_identity(extract_access_key_id(headers, query_params))
        if caller and not options.get("anonymous"):
            event["requestContext"]["authorizer"] = {"iam": {
                "accessKey": caller["accessKey"],
                "accountId": caller["accountId"],
                "callerId": caller["userId"],
                "cognitoIdentity": None,
                "principalOrgId": caller["principalOrgId"],
                "userArn": caller["userArn"],
                "userId": caller["userId"],
            }}
        return event

    lambda_svc._build_function_url_event = build_with_identity


class FunctionProcess(subprocess.Popen):
    """A bootstrap and all it starts: one session, killed as one, watched for memory."""

    limits_memory = False

    def __init__(self, command, **options):
        super().__init__(command, **{**options, "start_new_session": True})
        env = options.get("env") or {}
        self._function = env.get("AWS_LAMBDA_FUNCTION_NAME", "")
        self._limit_bytes = int(env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0)) * 1024 * 1024
        if self.limits_memory and self._limit_bytes and self._function:
            threading.Thread(target=self._watch_memory, daemon=True, name=f"memory-{self._function}").start()

    def poll(self):
        before = self.returncode
        code = super().poll()
        if before is None and code is not None:
            self._kill_session()  # what it left behind
        return code

    def terminate(self):
        self._kill_session()

    def kill(self):
        self._kill_session()

    def _kill_session(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _watch_memory(self) -> None:
        while self.returncode is None and Path(f"/proc/{self.pid}").exists():
            if _memory_bytes(self.pid) > self._limit_bytes:
                print(f"Lambda {self._function}: used more than its memory, killed", flush=True)
                self._kill_session()
                return
            time.sleep(MEMORY_CHECK_SECONDS)


def _memory_bytes(pid: int) -> int:
    """Private memory of a process and of all it started."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total = int(line.split()[1]) * 1024
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            total += sum(_memory_bytes(int(child)) for child in children.read_text().split())
    except (OSError, ValueError):
        pass  # it ended meanwhile
    return total
