"""Schedules: each sends a rule that exists, when the plan says, and loses no tick in silence."""

import copy
import json
import re
import zoneinfo

import pytest
from cloudformation import Stack

BUILT_IN = {
    "snapshots-follow": "snapshot",
    "exports-follow": "export",
    "verify-daily": "verify",
    "verify-follow": "verify",
    "retention-daily": "retention",
    "sweep-daily": "retention",
    "reconcile": "reconcile",
}
"""Rules that every plan has without naming them, with the function each is for."""
KINDS = {"snapshot": "snapshot", "export": "export"}
FIELDS = {  # of an EventBridge cron expression, with the range of plain numbers
    "minutes": (0, 59),
    "hours": (0, 23),
    "day of month": (1, 31),
    "month": (1, 12),
    "day of week": (1, 7),
    "year": (1970, 2199),
}


def expression(schedule: dict) -> str:
    """A plan rule's schedule in EventBridge Scheduler's words."""
    if "daily_at" in schedule:
        hour, minute = schedule["daily_at"].split(":")
        return f"cron({int(minute)} {int(hour)} * * ? *)"
    return f"cron({schedule['hourly_at_minute']} * * * ? *)"


def expression_problem(text: str) -> str | None:
    if re.fullmatch(r"rate\((1 (minute|hour|day)|([2-9]|[1-9]\d+) (minutes|hours|days))\)", text):
        return None
    match = re.fullmatch(r"cron\((.*)\)", text)
    if not match:
        return "is neither cron(…) nor rate(…)"
    fields = match[1].split(" ")
    if len(fields) != len(FIELDS):
        return f"has {len(fields)} fields, not 6"
    for value, (name, (low, high)) in zip(fields, FIELDS.items(), strict=True):
        if not re.fullmatch(r"[0-9*?,/LW#-]+", value) or any(not low <= int(n) <= high for n in re.findall(r"\d+", value)):
            return f"has {value} for {name}"
    if (fields[2] == "?") == (fields[4] == "?"):
        return "must have ? for exactly one of day of month and day of week"
    return None


def problems(stack: Stack, plan: dict) -> list[str]:
    found = []
    rules = {rule["id"]: rule for rule in plan["rules"]}
    expected_functions = {**BUILT_IN, **{rule["id"]: KINDS[rule["kind"]] for rule in plan["rules"]}}
    sent = set()
    for name, schedule in stack.of_type("AWS::Scheduler::Schedule").items():
        target = schedule["Target"]
        tick = json.loads(target["Input"])["tick"]
        rule = tick["rule"]
        sent.add(rule)
        if schedule["Name"] != f"holdfast-{rule}":
            found.append(f"{name}: is called {schedule['Name']} and sends {rule}")
        if tick != {"rule": rule, "scheduled_time": "<aws.scheduler.scheduled-time>"}:
            found.append(f"{name}: sends {tick}")
        if problem := expression_problem(schedule["ScheduleExpression"]):
            found.append(f"{name}: {schedule['ScheduleExpression']} {problem}")
        if schedule.get("ScheduleExpressionTimezone") not in zoneinfo.available_timezones():
            found.append(f"{name}: has no valid time zone")
        elif schedule["ScheduleExpressionTimezone"] != plan["time_zone"]:
            found.append(f"{name}: is in another time zone than the plan")
        if rule not in expected_functions:
            found.append(f"{name}: {rule} is a rule of nobody's")
        elif target["Arn"] != stack.arn(f"{expected_functions[rule].capitalize()}Function"):
            found.append(f"{name}: goes to the wrong function")
        if rule in rules and schedule["ScheduleExpression"] != expression(rules[rule]["schedule"]):
            found.append(f"{name}: {schedule['ScheduleExpression']}, but the plan says {rules[rule]['schedule']}")
        if schedule.get("State", "ENABLED") != "ENABLED" or schedule["FlexibleTimeWindow"] != {"Mode": "OFF"}:
            found.append(f"{name}: is not exact")
        if target.get("DeadLetterConfig", {}).get("Arn") != stack.arn("Undelivered") or "RetryPolicy" not in target:
            found.append(f"{name}: may lose a tick")
    found += [f"nothing sends {rule}" for rule in sorted(expected_functions.keys() - sent)]
    return found


def test_every_rule_is_sent_when_the_plan_says(stack, plan):
    assert problems(stack, plan) == []


def properties(template: dict, name: str) -> dict:
    return template["Resources"][name]["Properties"]


@pytest.mark.parametrize(
    "damage, found",
    [
        (lambda t: properties(t, "ExportsStandardSchedule").update(ScheduleExpression="cron(15 2 * * ? *)"), "but the plan says"),
        (lambda t: properties(t, "RetentionDailySchedule").update(ScheduleExpression="cron(0 6 * * *)"), "5 fields"),
        (lambda t: properties(t, "RetentionDailySchedule").update(ScheduleExpression="cron(0 26 * * ? *)"), "26 for hours"),
        (lambda t: properties(t, "RetentionDailySchedule").update(ScheduleExpression="cron(0 6 * * * *)"), "exactly one"),
        (lambda t: properties(t, "ReconcileSchedule").update(ScheduleExpression="rate(1 minutes)"), "neither"),
        (lambda t: properties(t, "ReconcileSchedule").update(ScheduleExpressionTimezone="Europe/Berlinn"), "no valid time zone"),
        (lambda t: properties(t, "ReconcileSchedule").update(ScheduleExpressionTimezone="UTC"), "another time zone"),
        (lambda t: properties(t, "ReconcileSchedule").update(State="DISABLED"), "not exact"),
        (lambda t: properties(t, "ReconcileSchedule")["Target"].pop("DeadLetterConfig"), "may lose a tick"),
        (
            lambda t: properties(t, "VerifyDailySchedule")["Target"].update(Arn={"Fn::GetAtt": ["ExportFunction", "Arn"]}),
            "wrong function",
        ),
        (lambda t: properties(t, "VerifyDailySchedule")["Target"].update(Input='{"tick": {"rule": "verify-dayly"}}'), "nobody's"),
        (lambda t: t["Resources"].pop("ExportsCriticalSchedule"), "nothing sends exports-critical"),
    ],
)
def test_a_wrong_schedule_is_noticed(template, plan, damage, found):
    whole = copy.deepcopy(template)
    damage(template)
    assert template != whole, "the damage changes nothing: the template says the same"
    assert any(found in problem for problem in problems(Stack(template), plan))


def test_a_plan_that_moved_is_noticed(stack, plan):
    moved = {**plan, "rules": [{**rule, "schedule": {"daily_at": "05:00"}} for rule in plan["rules"]]}
    assert len(problems(stack, moved)) == len(plan["rules"])


def event_problems(stack: Stack, root) -> list[str]:
    """What keeps an RDS event from reaching its function."""
    found = []
    permissions = stack.of_type("AWS::Lambda::Permission").values()
    for rule, function, sample in [
        ("SnapshotEvents", "Snapshot", "rds-snapshot"),
        ("SnapshotEvents", "Snapshot", "rds-cluster-snapshot"),
        ("DrillEvents", "Verify", "rds-instance"),
    ]:
        properties = stack.properties(rule)
        event = json.loads((root / "events" / f"{sample}.json").read_text(encoding="utf-8"))
        pattern = properties["EventPattern"]
        prefixes = [one["prefix"].replace("111122223333", event["account"]) for one in pattern["resources"]]
        if event["source"] not in pattern["source"] or event["detail-type"] not in pattern["detail-type"]:
            found.append(f"{rule}: does not match {sample}")
        if not event["resources"][0].startswith(tuple(prefixes)):
            found.append(f"{rule}: does not match the resource of {sample}")
        (target,) = properties["Targets"]
        if target["Arn"] != stack.arn(f"{function}Function") or target["DeadLetterConfig"]["Arn"] != stack.arn("Undelivered"):
            found.append(f"{rule}: goes elsewhere")
        if not any(
            p["Principal"] == "events.amazonaws.com"
            and p["SourceArn"] == stack.arn(rule)
            and p["FunctionName"] == f"{function}Function"
            for p in permissions
        ):
            found.append(f"{rule}: may not invoke {function}")
    return found


def test_rds_events_reach_their_functions(stack, template, root):
    assert event_problems(stack, root) == []
    template["Resources"].pop("DrillEventsPermission")
    template["Resources"]["SnapshotEvents"]["Properties"]["EventPattern"]["detail-type"] = ["RDS DB Snapshot"]
    assert event_problems(Stack(template), root) == [
        "SnapshotEvents: does not match rds-snapshot",
        "SnapshotEvents: does not match rds-cluster-snapshot",
        "DrillEvents: may not invoke Verify",
    ]
