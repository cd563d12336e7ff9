"""The local stack: an emulated AWS account with real databases, our template deployed in it.

    with Stack() as stack:
        stack.deploy()
        stack.fire_schedule("exports-standard")

Everything it starts listens on loopback, on free ports, and ends with it (see `guard.py`).
"""

import atexit
import contextlib
import json
import os
import secrets
import signal
import string
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
from botocore.config import Config

import certs
import deploy as deployment
import guard
import paths
from pgcluster import free_port
from wait import wait_until

REGION = "eu-central-1"
ACCOUNT = "123456789012"
NAME = "holdfast"
OPERATORS = ("ops-ana", "ops-ben", "ops-cleo", "ops-dan")
INBOX = "holdfast-alerts-inbox"
READY_SECONDS = 30
WAIT_SECONDS = 60
LOGS_KEPT = 20


_ending: list[subprocess.Popen] = []


class StackError(Exception):
    """The stack cannot do what was asked; says what is missing."""


class FunctionError(Exception):
    """A function answered with an error, in Lambda's own words."""

    def __init__(self, function: str, payload: dict):
        self.function = function
        self.error_type = payload.get("errorType", "")
        self.error_message = payload.get("errorMessage", "")
        self.payload = payload
        super().__init__(f"{function}: {self.error_type}: {self.error_message}")


class Stack:
    """A running stack. `start` makes the account and operators, `deploy` puts Holdfast into it."""

    def __init__(self, without_gaps: str = "", databases: bool = True):
        self.without_gaps, self.databases = without_gaps, databases
        self.root = self.endpoint = self.log = None
        self.outputs: dict[str, str] = {}
        self._guard = self._emulator = None
        self._keys: dict[str | None, tuple[str, str]] = {}
        self._clients: dict[tuple, object] = {}
        self._passwords: dict[str, tuple[str, str]] = {}

    # Life --------------------------------------------------------------------

    def __enter__(self) -> "Stack":
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self) -> "Stack":
        """Starts every part and returns when the account answers."""
        self.root = _make_root()
        atexit.register(self.stop)
        self._guard = subprocess.Popen(
            [sys.executable, paths.HERE / "guard.py", self.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self.pg_bin = paths.postgres_bin()
            self.ca_file = certs.create(self.root / "tls").authority
            self._start_emulator()
            for user in OPERATORS:
                self._make_user(user)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends every process of the stack and gives up its files. May be called twice."""
        if self._guard:
            self._guard.stdin.close()
            self._guard.stdout.read(len("ended"))
            _ending.append(self._guard)  # still removing files
            self._guard = None
        if self._emulator:
            self._emulator.wait()
            self._emulator = None
        atexit.unregister(self.stop)

    def deploy(self, template: Path = paths.TEMPLATE, binaries: Path = paths.BINARIES, **parameters: str) -> dict:
        """Deploys a template (ours by default) and returns its outputs."""
        parameters = {
            "PostgresToolsPath": str(paths.postgres_tools()), "DatabaseCaPath": str(self.ca_file),
            "ArchiveBucketName": "platform-archives", **parameters
        }
        self.outputs = deployment.deploy(self.client, template, NAME, parameters, binaries)
        if url := self.outputs.get("OperatorUrl"):
            self.outputs["OperatorUrl"] = self._reachable(url)
        if policy := self.outputs.get("OperatorAccessPolicyArn"):
            for user in OPERATORS:
                self.client("iam").attach_user_policy(UserName=user, PolicyArn=policy)
        if topic := self.outputs.get("AlertTopicArn"):
            self._open_inbox(topic)
        return self.outputs

    def _start_emulator(self) -> None:
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self._keys[None] = ("AKIA" + _random_text(16, string.ascii_uppercase), secrets.token_urlsafe(30))
        self.log = _log_file(self.root.name)
        (self.root / "tmp").mkdir()
        account = "postgres" if os.geteuid() == 0 else ""
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **self.env(),
            guard.MARK: str(self.root),
            "TMPDIR": str(self.root / "tmp"),
            "PYTHONUNBUFFERED": "1",
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "STATE_DIR": str(self.root / "state"),
            "S3_DATA_DIR": str(self.root / "s3"),
            "SFN_WAIT_SCALE": "0.1",  # waits and retry intervals of state machines
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "1",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LOG_LEVEL": os.environ.get("HOLDFAST_LOCAL_LOG", "WARNING"),
            "HOLDFAST_LOCAL_WITHOUT_GAPS": self.without_gaps,
            "HOLDFAST_LOCAL_PG_BIN": str(self.pg_bin) if self.databases else "",
            "HOLDFAST_LOCAL_PG_ACCOUNT": account,
        }
        log = open(self.log, "wb")
        self._emulator = subprocess.Popen(
            [sys.executable, paths.HERE / "aws.py"], env=environment, stdin=subprocess.DEVNULL,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )
        log.close()
        wait_until("the emulator answers", self._healthy, READY_SECONDS)

    def _healthy(self) -> bool:
        if self._emulator.poll() is not None:
            raise StackError(f"the emulator ended with {self._emulator.returncode}: see {self.log}")
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    # The account -------------------------------------------------------------

    def env(self, user: str | None = None) -> dict[str, str]:
        """What a child process needs to talk to the account, as its root or as an operator."""
        key, secret = self._keys[user]
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def credentials(self, user: str | None = None) -> tuple[str, str]:
        """Access key and secret of an operator, or of the account's root."""
        return self._keys[user]

    def client(self, service: str, user: str | None = None):
        """A boto3 client of the account's root, or of an operator."""
        if (service, user) not in self._clients:
            key, secret = self._keys[user]
            self._clients[service, user] = boto3.client(
                service, endpoint_url=self.endpoint, region_name=REGION, aws_access_key_id=key,
                aws_secret_access_key=secret,
                config=Config(retries={"total_max_attempts": 1}, read_timeout=960, s3={"addressing_style": "path"}),
            )
        return self._clients[service, user]

    def _make_user(self, name: str) -> None:
        iam = self.client("iam")
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self._keys[name] = (key["AccessKeyId"], key["SecretAccessKey"])

    def _reachable(self, function_url: str) -> str:
        """The address of a function URL on loopback; AWS would resolve the name instead."""
        identifier = urllib.parse.urlparse(function_url).hostname.split(".")[0]
        return f"{self.endpoint}/_aws/lambda-url/{identifier}/"

    # Databases ---------------------------------------------------------------

    def create_instance(self, identifier: str, database: str | None = None, user: str = "holdfast_master", **options):
        """Creates a DB instance, waits until it is available, and returns its description."""
        password = secrets.token_urlsafe(18)
        self._passwords[identifier] = (user, password)
        self.client("rds").create_db_instance(**{
            "DBInstanceIdentifier": identifier, "Engine": "postgres", "DBInstanceClass": "db.t4g.micro",
            "AllocatedStorage": 20, "StorageEncrypted": True, "MasterUsername": user, "MasterUserPassword": password,
            **({"DBName": database} if database else {}), **options,
        })
        return self.wait_for_instance(identifier)

    def wait_for_instance(self, identifier: str) -> dict:
        """Waits until an instance is available and returns its description."""
        rds = self.client("rds")

        def look():
            found = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
            if found["DBInstanceStatus"] == "failed":
                raise StackError(f"instance {identifier} failed: see {self.log}")
            return found if found["DBInstanceStatus"] == "available" else None

        return wait_until(f"instance {identifier} is available", look, WAIT_SECONDS)

    def password(self, identifier: str) -> str:
        """The master password of an instance made by `create_instance`."""
        return self._passwords[identifier][1]

    def dsn(self, identifier: str, database: str, user: str | None = None, password: str | None = None) -> str:
        """A libpq URI with full certificate verification, as the master user unless told otherwise."""
        endpoint = self.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]["Endpoint"]
        if user is None:
            user, password = self._passwords[identifier]
        login = urllib.parse.quote(user, safe="") + (":" + urllib.parse.quote(password, safe="") if password else "")
        query = urllib.parse.urlencode({"sslmode": "verify-full", "sslrootcert": self.ca_file})
        return f"postgresql://{login}@{endpoint['Address']}:{endpoint['Port']}/{urllib.parse.quote(database)}?{query}"

    @contextlib.contextmanager
    def rds_says(self, **pretended):
        """Has RDS say other things for a while: `snapshot_quota`, `snapshots_older_by_seconds`."""
        from rds import SAYS_FILE

        file = self.root / "pg" / SAYS_FILE
        file.write_text(json.dumps(pretended))
        try:
            yield
        finally:
            file.unlink()

    def snapshot_files(self, snapshot: str) -> Path:
        """The files of a snapshot, for tests that damage them (`pghost.damage`)."""
        from pghost import snapshot_folder

        return snapshot_folder(self.root / "pg", f"arn:aws:rds:{REGION}:{ACCOUNT}:snapshot:{snapshot}")

    # Functions ---------------------------------------------------------------

    def invoke(self, function: str, event: dict):
        """Calls a function (`export` or `holdfast-export`) and returns its answer; FunctionError if it fails."""
        name = _function_name(function)
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
        payload = json.loads(answer["Payload"].read() or b"null")
        if answer.get("FunctionError"):
            raise FunctionError(name, payload if isinstance(payload, dict) else {"errorMessage": str(payload)})
        return payload

    def kill(self, function: str) -> int:
        """Kills a function's running processes, as a failing host would; returns how many."""
        return self._ask("kill", "POST", function=_function_name(function))["killed"]

    def invocations(self, function: str | None = None, after: int = 0) -> list[dict]:
        """Invocations so far: number, function, trigger, event, started, ended, error (None if it succeeded)."""
        found = self._ask("invocations", after=after)
        return [one for one in found if function is None or one["function"] == _function_name(function)]

    def wait_until_idle(self) -> None:
        """Waits until no function is running."""
        wait_until("all functions are done", lambda: all(one["ended"] for one in self.invocations()), WAIT_SECONDS)

    def logs(self, function: str) -> str:
        """Everything a function has logged."""
        client, group = self.client("logs"), f"/aws/lambda/{_function_name(function)}"
        try:
            pages = client.get_paginator("filter_log_events").paginate(logGroupName=group)
            return "\n".join(event["message"].rstrip("\n") for page in pages for event in page["events"])
        except client.exceptions.ResourceNotFoundException:
            return ""

    def fire_schedule(self, name: str, at: datetime | None = None) -> dict | None:
        """Has the scheduler fire a deployed schedule's target once, now, and waits until it ran.

        Copies target, role and input into a one-time schedule, so that what is delivered is
        what the deployed schedule would deliver. Returns the invocation, or None if the target
        is not a function. `at` sets the scheduled time (a past one fires at once).
        """
        scheduler = self.client("scheduler")
        deployed = self._schedule(name)
        moment = (at or datetime.now(timezone.utc) + timedelta(seconds=1)).astimezone(timezone.utc)
        once = f"{deployed['Name'][:48]}-once-{secrets.token_hex(4)}"
        scheduler.create_schedule(
            Name=once, GroupName=deployed["GroupName"], ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})", ScheduleExpressionTimezone="UTC",
            FlexibleTimeWindow={"Mode": "OFF"}, Target=deployed["Target"], ActionAfterCompletion="DELETE",
        )

        def gone():
            try:
                scheduler.get_schedule(Name=once, GroupName=deployed["GroupName"])
            except scheduler.exceptions.ResourceNotFoundException:
                return True

        wait_until(f"schedule {name} fires", gone, WAIT_SECONDS)
        if ":lambda:" not in deployed["Target"]["Arn"]:
            return None
        return wait_until(
            f"the function behind schedule {name} ends",
            lambda: next((one for one in self.invocations() if one["trigger"] == once and one["ended"]), None),
            900,
        )

    def silence_schedules(self) -> None:
        """Has ticks come only from `fire_schedule`: one that happened to be due would change what is counted or restored."""
        self._set_schedules("DISABLED")

    def resume_schedules(self) -> None:
        """Lets the deployed schedules fire at their times again."""
        self._set_schedules("ENABLED")

    def _set_schedules(self, state: str) -> None:
        scheduler = self.client("scheduler")
        kept = ("Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target")
        for page in scheduler.get_paginator("list_schedules").paginate():
            for listed in page["Schedules"]:
                found = scheduler.get_schedule(Name=listed["Name"], GroupName=listed["GroupName"])
                scheduler.update_schedule(**{name: found[name] for name in kept if name in found}, State=state)

    def _schedule(self, name: str) -> dict:
        scheduler, full = self.client("scheduler"), name if name.startswith(f"{NAME}-") else f"{NAME}-{name}"
        for found in scheduler.list_schedules(NamePrefix=full)["Schedules"]:
            if found["Name"] == full:
                return scheduler.get_schedule(Name=full, GroupName=found["GroupName"])
        raise StackError(f"no schedule {full} is deployed")

    def cli(self, *arguments: str, user: str = OPERATORS[0], **options) -> subprocess.CompletedProcess:
        """Runs the `holdfast` command as an operator; output is captured as text."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment = {**own, **self.env(user), "HOLDFAST_OPERATOR_URL": self.outputs["OperatorUrl"]}
        return subprocess.run(
            [paths.BINARIES / "holdfast", *arguments], env=environment, text=True, capture_output=True, **options
        )

    # Alerts ------------------------------------------------------------------

    def alerts(self) -> list[dict]:
        """Takes all alerts that arrived since the last call: subject, message (parsed if JSON), attributes."""
        sqs, taken = self.client("sqs"), []
        while batch := sqs.receive_message(QueueUrl=self._inbox, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                envelope = json.loads(message["Body"])
                attributes = {key: item["Value"] for key, item in envelope.get("MessageAttributes", {}).items()}
                taken.append({
                    "subject": envelope.get("Subject"), "message": _parsed(envelope["Message"]),
                    "attributes": attributes,
                })
                sqs.delete_message(QueueUrl=self._inbox, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def _open_inbox(self, topic: str) -> None:
        sqs = self.client("sqs")
        self._inbox = sqs.create_queue(QueueName=INBOX)["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{INBOX}"
        policy = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }]}
        sqs.set_queue_attributes(QueueUrl=self._inbox, Attributes={"Policy": json.dumps(policy)})
        self.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def how_to_talk_to_it(self) -> str:
        """How to talk to the stack from another terminal."""
        exports = {**self.env(OPERATORS[0]), "HOLDFAST_OPERATOR_URL": self.outputs.get("OperatorUrl", "")}
        lines = [f"export {name}='{value}'" for name, value in exports.items()]
        key, secret = self._keys[None]
        return "\n".join([
            "", f"The stack is up (log: {self.log}). In another terminal, as the operator {OPERATORS[0]}:", *lines,
            f"{paths.BINARIES / 'holdfast'} --help", "",
            "As the account's root, with the ordinary client:",
            f"export AWS_ACCESS_KEY_ID='{key}' AWS_SECRET_ACCESS_KEY='{secret}'", "aws s3 ls", "",
            "Ctrl-C here, or `python3 tests/local down`, ends it.",
        ])

    def _ask(self, what: str, method: str = "GET", **query):
        url = f"{self.endpoint}/_holdfast/{what}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            return json.load(answer)


def _make_root() -> Path:
    """A folder the database account can reach (a checkout often is not)."""
    candidates = [tempfile.gettempdir(), "/tmp", "/var/tmp"]
    for parent in map(Path, candidates):
        if all(folder.stat().st_mode & 0o001 for folder in [parent, *parent.parents]):
            root = Path(tempfile.mkdtemp(prefix="holdfast-", dir=parent)).resolve()
            root.chmod(0o755)
            return root
    raise StackError(f"none of {candidates} can be entered by other accounts, which the database server needs")


def _log_file(name: str) -> Path:
    """A new log file; only the newest are kept."""
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    for old in sorted(paths.LOGS.glob("*.log"), key=lambda file: file.stat().st_mtime)[:-LOGS_KEPT]:
        old.unlink()
    return paths.LOGS / f"{name}.log"


def _function_name(function: str) -> str:
    return function if function.startswith(f"{NAME}-") else f"{NAME}-{function}"


def _random_text(length: int, letters: str) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))


def _parsed(text: str):
    try:
        return json.loads(text)
    except ValueError:
        return text


def end_on_signals() -> None:
    """Lets a stack be stopped in order when its program is told to end."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
