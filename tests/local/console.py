"""What an operator does with `holdfast`, typed through the real command, its JSON answers parsed.

Every call names the operator; two of them are needed for a restore.
"""

import json
from dataclasses import dataclass

ASKS, APPROVES = "ops-ana", "ops-ben"
BEFORE_RESTORE = "before-restore"
"""The rule of recovery points of the state before a restore."""
COMMAND_SECONDS = 600


class Refused(Exception):
    """The command ended with an error; carries its exit status, what it said, and what of that is its answer."""

    def __init__(self, command: str, status: int, said: str, answer: str = ""):
        super().__init__(f"`holdfast {command}` ended with {status}: {said.strip()}")
        self.status, self.said, self.answer = status, said.strip(), answer


@dataclass
class Console:
    """The `holdfast` command on one stack."""

    stack: object

    def run(self, *arguments: str, user: str = ASKS) -> dict:
        """Runs one command as one operator and returns its JSON answer, or raises Refused."""
        done = self.stack.cli("--output", "json", *arguments, user=user, timeout=COMMAND_SECONDS)
        if done.returncode:
            raise Refused(" ".join(arguments), done.returncode, f"{done.stderr}\n{done.stdout}", done.stdout)
        return json.loads(done.stdout)

    def table(self, *arguments: str, user: str = ASKS) -> str:
        """Runs one command and returns what a person would see."""
        done = self.stack.cli(*arguments, user=user, timeout=COMMAND_SECONDS)
        if done.returncode:
            raise Refused(" ".join(arguments), done.returncode, f"{done.stderr}\n{done.stdout}")
        return done.stdout

    def points(self, tenant: str | None = None) -> list[dict]:
        """The recovery points, of one tenant or of all."""
        return self.run("points", *(["--tenant", tenant] if tenant else []))["points"]

    def sets(self, tenant: str | None = None) -> list[dict]:
        """The recovery sets, of one tenant or of all."""
        return self.run("sets", *(["--tenant", tenant] if tenant else []))["sets"]

    def available(self, tenant: str) -> list[dict]:
        """The recovery points of the tenant's database that a restore may start from without naming one."""
        usable = [point for point in self.points(tenant) if point["kind"] == "database" and point["state"] == "available"]
        return [point for point in usable if point["rule"] != BEFORE_RESTORE]

    def newest(self, tenant: str) -> dict:
        """The tenant's newest available recovery point, by its scheduled time."""
        return max(self.available(tenant), key=lambda point: point["scheduled_time"])

    def open_alerts(self, about: str) -> list[dict]:
        """The open alerts whose subject names a tenant."""
        return [alert for alert in self.run("alerts")["alerts"] if about in alert["subject"] and not alert["closed_at"]]

    def request(
        self, tenant: str, reason: str, point: str | None = None, user: str = ASKS, kind: str | None = None, more: tuple = ()
    ) -> str:
        """Asks for a restore, with `more` options; returns the id of the request."""
        which = (["--point", point] if point else []) + (["--kind", kind] if kind else []) + list(more)
        return self.run("restore", "request", "--tenant", tenant, *which, "--reason", reason, user=user)["request"]

    def undo(self, request: str, reason: str = "it was the wrong one", user: str = ASKS) -> str:
        """Asks for a restore to be taken back; returns the id of that request."""
        return self.run("restore", "undo", request, "--reason", reason, user=user)["request"]

    def preview(self, request: str, user: str = ASKS) -> dict:
        """Waits until a request can be approved and returns its preview."""
        answer = self.run("restore", "preview", request, user=user)
        if answer["state"] == "failed":
            raise Refused(f"restore preview {request}", 0, json.dumps(answer["error"]))
        return answer["preview"]

    def approve(self, request: str, digest: str | None = None, user: str = APPROVES) -> dict:
        """Approves a request as the given operator: the preview of that digest, or whichever there is."""
        agreed = ["--digest", digest] if digest else ["--yes"]
        return self.run("restore", "approve", request, *agreed, user=user)

    def break_glass(self, request: str, reason: str, user: str = ASKS) -> dict:
        """Goes ahead alone with a request."""
        return self.run("restore", "run", request, "--break-glass", "--reason", reason, "--yes", user=user)

    def review(self, request: str, finding: str, user: str = APPROVES) -> dict:
        """Records what another person found about what one did alone."""
        return self.run("restore", "review", request, "--finding", finding, user=user)

    def watch(self, request: str, user: str = ASKS) -> dict:
        """Waits until a request is carried out; raises Refused unless it was proven."""
        return self.run("restore", "watch", request, user=user)

    def restore(self, tenant: str, reason: str = "a test", point: str | None = None, kind: str | None = None) -> dict:
        """The whole way of a restore: asked by one operator, previewed, approved by another, carried out."""
        request = self.request(tenant, reason, point, kind=kind)
        self.approve(request, self.preview(request)["digest"])
        return self.watch(request)
