"""EventBridge Scheduler and Step Functions: what fires, when, with what, and as whom."""

import datetime
import json
import secrets
import zoneinfo

from probes import Differs, expect, probe
from stack import ACCOUNT, REGION
from wait import wait_until

FAR_ZONE = "Pacific/Kiritimati"  # 14 hours ahead of UTC
PATIENCE_SECONDS = 5


@probe("scheduler-tick")
def tick(account):
    _fired(account, _schedule(account, {"tick": 1}), 3)


@probe("scheduler-time-zone")
def time_zone(account):
    _fired(account, _schedule(account, {"tick": 1}, zone=FAR_ZONE))


@probe("scheduler-context-attributes")
def context_attributes(account):
    moment = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    name = _schedule(account, {"at": "<aws.scheduler.scheduled-time>", "arn": "<aws.scheduler.schedule-arn>"}, moment)
    event = _fired(account, name)["event"]
    expect(event["at"], moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "the scheduled time")
    expect(event["arn"], f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}", "the schedule's ARN")


@probe("scheduler-role")
def role(account):
    powerless = account.role("scheduler.amazonaws.com")
    queue = account.outputs["DeadLettersUrl"].rsplit("/", 1)[-1]
    dead_letters = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
    payload = {"not for you": secrets.token_hex(8)}
    name = _schedule(account, payload, role=powerless, DeadLetterConfig={"Arn": dead_letters})
    wait_until("the dead letter is there", lambda: _received(account, payload), PATIENCE_SECONDS)
    if _fired_by(account, name):
        raise Differs("the function was called by a role that may not")


@probe("events-asynchronous-invoke")
def asynchronous_invoke(account):
    name = _schedule(account, {"do": "fail"})
    wait_until("it was tried three times", lambda: len(_fired_by(account, name)) == 3, 10)


@probe("states-role")
def states_role(account):
    allowed = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": account.function_arn}
    expect(_run_machine(account, account.role("states.amazonaws.com", allowed))[0], "SUCCEEDED", "with permission")
    expect(
        _run_machine(account, account.role("states.amazonaws.com")), ("FAILED", "Lambda.AccessDeniedException"),
        "without permission",
    )


@probe("states-task-token", "waitForTaskToken: the execution goes on when the token is answered, once")
def task_token(account):
    states = account.client("stepfunctions")
    allowed = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": account.function_arn}
    arguments = {"FunctionName": account.function_arn, "Payload": {"token": "{% $states.context.Task.Token %}"}}
    execution = _start(account, account.role("states.amazonaws.com", allowed), {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "Arguments": arguments, "End": True,
    })

    def token():
        for one in account.stack.invocations("operator"):
            if (one["event"] or {}).get("token"):
                return one["event"]["token"]

    states.send_task_success(taskToken=wait_until("the token is known", token, PATIENCE_SECONDS), output='{"approved": true}')
    ended = wait_until("the execution has ended", lambda: _ended(states, execution), PATIENCE_SECONDS)
    expect(json.loads(ended.get("output", "null")), {"approved": True}, "the output")
    try:
        states.send_task_success(taskToken=token(), output="{}")
    except (states.exceptions.TaskTimedOut, states.exceptions.TaskDoesNotExist, states.exceptions.InvalidToken):
        return
    raise Differs("the token could be answered twice")


def _schedule(account, payload: dict, moment=None, zone="UTC", role=None, **target) -> str:
    """A one-time schedule for now (or a moment) on the trial function; returns its name."""
    permission = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": account.function_arn}
    name = f"probe-{secrets.token_hex(4)}"
    local = (moment or datetime.datetime.now(datetime.timezone.utc)).astimezone(zoneinfo.ZoneInfo(zone))
    account.client("scheduler").create_schedule(
        Name=name, ScheduleExpression=f"at({local:%Y-%m-%dT%H:%M:%S})", ScheduleExpressionTimezone=zone,
        FlexibleTimeWindow={"Mode": "OFF"}, ActionAfterCompletion="DELETE",
        Target={
            "Arn": account.function_arn, "Input": json.dumps(payload),
            "RoleArn": role or account.role("scheduler.amazonaws.com", permission), **target,
        },
    )
    return name


def _fired(account, name: str, seconds: float | None = None) -> dict:
    # The bare emulator looks every ten seconds: be patient enough there to see the other rules.
    patience = seconds or (PATIENCE_SECONDS if "all" not in account.stack.without_gaps else 12)
    return wait_until(
        "the schedule's invocation has ended", lambda: next((one for one in _fired_by(account, name) if one["ended"]), None), patience
    )


def _fired_by(account, name: str) -> list[dict]:
    return [one for one in account.stack.invocations() if one["trigger"] == name]


def _received(account, payload: dict) -> bool:
    sqs, url = account.client("sqs"), account.outputs["DeadLettersUrl"]
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return any(json.loads(message["Body"]) == payload for message in found)


def _run_machine(account, role: str) -> tuple[str, str | None]:
    task = {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": account.function_arn, "Payload": {}}, "End": True,
    }
    states = account.client("stepfunctions")
    execution = _start(account, role, task)
    ended = wait_until("the execution has ended", lambda: _ended(states, execution), PATIENCE_SECONDS)
    return ended["status"], ended.get("error")


def _start(account, role: str, task: dict) -> str:
    states = account.client("stepfunctions")
    definition = {"QueryLanguage": "JSONata", "StartAt": "Task", "States": {"Task": task}}
    machine = states.create_state_machine(
        name=f"probe-{secrets.token_hex(4)}", definition=json.dumps(definition), roleArn=role
    )["stateMachineArn"]
    return states.start_execution(stateMachineArn=machine, input="{}")["executionArn"]


def _ended(states, execution: str) -> dict | None:
    found = states.describe_execution(executionArn=execution)
    return found if found["status"] != "RUNNING" else None
