"""EventBridge Scheduler: when it fires, what it sends, and as whom."""

import datetime
import json
import re
import time
import zoneinfo
from dataclasses import dataclass

from ministack.core import iam_evaluator
from ministack.core.arn import parse_arn
from ministack.services import eventbridge, iam, lambda_svc, scheduler, sqs
from ministack.services.cloudformation import provisioners

from gaps import gap

TICK_SECONDS = 0.2
CONTEXT_ATTRIBUTE = re.compile(r"<aws\.scheduler\.([a-z-]+)>")
TARGET_ACTIONS = {
    "lambda": "lambda:InvokeFunction", "states": "states:StartExecution", "sqs": "sqs:SendMessage",
    "sns": "sns:Publish", "events": "events:PutEvents",
}


@gap("scheduler-tick", "Schedules fire when due (the emulator looks every ten seconds)")
def tick() -> None:
    scheduler._SCHEDULE_TICK_INTERVAL = eventbridge._SCHEDULER_TICK_INTERVAL = TICK_SECONDS


@gap("scheduler-time-zone", "ScheduleExpressionTimezone: at() and cron() are read in the schedule's own time zone")
def time_zone() -> None:
    fire_due, at_seconds = scheduler._tick_schedules, scheduler._at_time_epoch
    parse_cron, next_fire = eventbridge._parse_cron_fields, eventbridge._cron_next_fire

    def fire_due_in_zone():
        for record in list(scheduler._schedules._data.values()):
            zone = record.get("ScheduleExpressionTimezone") or "UTC"
            record["ScheduleExpression"] = ZonedExpression(record["ScheduleExpression"], zone)
        fire_due()

    def at_seconds_in_zone(expression):
        match = re.fullmatch(r"\s*at\((.+)\)\s*", expression)
        if not match or not isinstance(expression, ZonedExpression):
            return at_seconds(expression)
        return datetime.datetime.fromisoformat(match[1]).replace(tzinfo=expression.zone).timestamp()

    def parse_cron_with_zone(expression):
        fields = parse_cron(expression)
        return ZonedFields(fields, expression.zone) if fields and isinstance(expression, ZonedExpression) else fields

    def next_fire_in_zone(fields, after):
        if not isinstance(fields, ZonedFields):
            return next_fire(fields, after)
        # The search knows no zones: let it look at the zone's wall clock.
        wall = next_fire(fields.fields, after.astimezone(fields.zone).replace(tzinfo=datetime.timezone.utc))
        return wall and wall.replace(tzinfo=fields.zone).astimezone(datetime.timezone.utc)

    scheduler._tick_schedules, scheduler._at_time_epoch = fire_due_in_zone, at_seconds_in_zone
    eventbridge._parse_cron_fields, eventbridge._cron_next_fire = parse_cron_with_zone, next_fire_in_zone


@gap("scheduler-template-properties", "AWS::Scheduler::Schedule: every property takes effect (the emulator drops the zone)")
def template_properties() -> None:
    properties = ("ScheduleExpressionTimezone", "StartDate", "EndDate", "KmsKeyArn")
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"]

    def keep_properties(work):
        def kept(*arguments):
            result = work(*arguments)
            wanted = next(part for part in reversed(arguments) if isinstance(part, dict))
            name = result[0] if isinstance(result, tuple) else arguments[0]
            record = scheduler._schedules[f"{wanted.get('GroupName', 'default')}/{name}"]
            record.update({key: wanted[key] for key in properties if key in wanted})
            return result

        return kept

    provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"] = {
        **handlers, "create": keep_properties(handlers["create"]), "update": keep_properties(handlers["update"]),
    }


@gap("scheduler-context-attributes", "Target.Input: <aws.scheduler.scheduled-time> and its like are filled in")
def context_attributes() -> None:
    invoke = eventbridge._invoke_target

    def invoke_filled_in(target, event, rule, view=None):
        if event.get("Source") == "aws.scheduler" and target.get("Input"):
            values = {
                "scheduled-time": _scheduled_time(rule, event["Time"]),
                "schedule-arn": rule.get("Arn", ""),
                "execution-id": event["EventId"],
                "attempt-number": "1",
            }
            filled = CONTEXT_ATTRIBUTE.sub(lambda match: values.get(match[1], match[0]), target["Input"])
            target = {**target, "Input": filled}
        return invoke(target, event, rule, view)

    eventbridge._invoke_target = invoke_filled_in


@gap("scheduler-role", "Schedules act as their role: it must trust the scheduler and allow the target, or the DLQ gets the event")
def role() -> None:
    invoke = eventbridge._invoke_target

    def invoke_as_role(target, event, rule, view=None):
        if event.get("Source") != "aws.scheduler":
            return invoke(target, event, rule, view)
        refusal = _refusal(target, rule)
        if refusal is None:
            return invoke(target, event, rule, view)
        print(f"Scheduler: {rule.get('Name')}: {refusal}", flush=True)
        return _to_dead_letters(target, rule, refusal)

    eventbridge._invoke_target = invoke_as_role


@gap("events-asynchronous-invoke", "Schedules and rules invoke functions asynchronously: Lambda retries twice, then its DLQ")
def asynchronous_invoke() -> None:
    def dispatch(arn, payload):
        function, config, name = lambda_svc._get_func_record_for_ref(arn)
        if not function or not config:
            print(f"EventBridge: function {name} not found", flush=True)
            return
        record = lambda_svc._execution_record_for_config(function, config)
        lambda_svc.invoke_async_with_retry({**function, **record}, json.loads(payload))

    eventbridge._dispatch_to_lambda = dispatch


class ZonedExpression(str):
    """A schedule expression that carries its zone to where the emulator reads it."""

    def __new__(cls, expression: str, zone: str):
        made = super().__new__(cls, expression)
        made.zone = zoneinfo.ZoneInfo(zone)
        return made


@dataclass(frozen=True)
class ZonedFields:
    """The parsed fields of a cron expression, and its zone."""

    fields: tuple
    zone: zoneinfo.ZoneInfo


def _scheduled_time(rule: dict, fired_at: float) -> str:
    """The instant the schedule stood for: exact for at(), the minute for cron() and rate()."""
    moment = scheduler._at_time_epoch(rule["ScheduleExpression"])
    if moment is None:
        moment = fired_at - fired_at % 60
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _refusal(target: dict, rule: dict) -> str | None:
    """Why the schedule's role may not reach the target, or None if it may."""
    role, arn = parse_arn(target["RoleArn"]), parse_arn(target["Arn"])
    name = role.resource.rsplit("/", 1)[-1]
    record = iam._roles.get_scoped(role.account_id, None, name)
    if record is None:
        return f"the role {target['RoleArn']} does not exist"
    group = f"arn:aws:scheduler:{arn.region}:{arn.account_id}:schedule-group/{rule.get('GroupName', 'default')}"
    request = iam_evaluator.EvalContext(
        principal_arn=target["RoleArn"], principal_type="AssumedRole", principal_account=role.account_id,
        action=TARGET_ACTIONS.get(arn.service, f"{arn.service}:*"), resource_arn=target["Arn"], region=arn.region,
        service_context={"aws:sourceaccount": arn.account_id, "aws:sourcearn": group},
    )
    if not _trusts_scheduler(record.get("AssumeRolePolicyDocument"), request):
        return f"the role {name} does not trust scheduler.amazonaws.com for {group}"
    policies = iam_evaluator._gather_role_policies(name, role.account_id)
    if iam_evaluator.evaluate(request, policies).decision != "Allow":
        return f"the role {name} may not {request.action} on {target['Arn']}"
    return None


def _trusts_scheduler(document, request) -> bool:
    document = json.loads(document) if isinstance(document, str) else document or {}
    statements = document.get("Statement", [])
    return any(
        statement.get("Effect") == "Allow"
        and "scheduler.amazonaws.com" in json.dumps(statement.get("Principal", {}))
        and iam_evaluator._conditions_met(statement.get("Condition", {}), request)
        for statement in (statements if isinstance(statements, list) else [statements])
    )


def _to_dead_letters(target: dict, rule: dict, reason: str) -> None:
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    if queue:
        body = target.get("Input") or json.dumps({"schedule": rule.get("Arn"), "error": reason})
        eventbridge._dispatch_to_sqs(parse_arn(queue), body, {})
