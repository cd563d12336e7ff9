"""State machines: they name only errors that exist, retry what may pass, and end every request one way or the other."""

import copy
import re

import machines
import pytest

OF_THE_PLATFORM = {
    "States.ALL",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Sandbox.Timedout",
}
"""Error names that Step Functions and Lambda give, for failures our code cannot name."""
RETRYABLE_CLASSES = {"Transient", "Throttled", "Conflict"}

DEFINITIONS = machines.load_all()


def error_codes(root) -> dict[str, str]:
    """The closed set of error codes with the class of each, out of the source."""
    text = (root / "shared" / "domain" / "src" / "error.rs").read_text(encoding="utf-8")
    block = re.search(r"^error_codes! \{$(.*?)^\}$", text, re.MULTILINE | re.DOTALL)
    assert block, "shared/domain/src/error.rs no longer lists its codes in `error_codes!`"
    codes = dict(re.findall(r"^\s*(\w+) => (\w+),$", block[1], re.MULTILINE))
    assert len(codes) > 10
    return codes


def task_states(definition: dict) -> dict[str, dict]:
    """The tasks of a machine, those of its maps included."""
    found = {}
    for name, state in definition["States"].items():
        if state["Type"] == "Task":
            found[name] = state
        if state["Type"] == "Map":
            found |= task_states(state["ItemProcessor"])
    return found


def problems(definition: dict, codes: dict[str, str]) -> list[str]:
    found = machines.problems(definition)
    retryable = {code for code, kind in codes.items() if kind in RETRYABLE_CLASSES}
    for name, state in task_states(definition).items():
        retried = {error for retry in state.get("Retry", []) for error in retry["ErrorEquals"]}
        caught = {error for catch in state.get("Catch", []) for error in catch["ErrorEquals"]}
        found += [f"{name}: nothing raises {error}" for error in sorted((retried | caught) - codes.keys() - OF_THE_PLATFORM)]
        found += [f"{name}: does not retry {error}" for error in sorted(retryable - retried)]
        found += [f"{name}: retries {error}, which cannot pass" for error in sorted((retried & codes.keys()) - retryable)]
        found += [f"{name}: retries without jitter" for retry in state.get("Retry", []) if retry.get("JitterStrategy") != "FULL"]
        if "States.ALL" not in caught:
            found.append(f"{name}: does not catch everything")
        if "TimeoutSeconds" not in state:
            found.append(f"{name}: may wait for ever")
    return found


@pytest.mark.parametrize("name", DEFINITIONS)
def test_errors_are_retried_and_caught_by_names_that_exist(name, root):
    assert problems(DEFINITIONS[name], error_codes(root)) == []


@pytest.mark.parametrize(
    "damage, found",
    [
        (
            lambda s: s["Preview"]["Retry"][0]["ErrorEquals"].append("SourceUnreachible"),
            "Preview: nothing raises SourceUnreachible",
        ),
        (lambda s: s["Preview"]["Retry"][0]["ErrorEquals"].remove("Throttled"), "Preview: does not retry Throttled"),
        (
            lambda s: s["Execute"]["Retry"][0]["ErrorEquals"].append("ContentMismatch"),
            "Execute: retries ContentMismatch, which cannot pass",
        ),
        (lambda s: s["Execute"]["Retry"][1].pop("JitterStrategy"), "Execute: retries without jitter"),
        (lambda s: s["Execute"].pop("Catch"), "Execute: does not catch everything"),
        (lambda s: s["AwaitApproval"].pop("TimeoutSeconds"), "AwaitApproval: may wait for ever"),
        (
            lambda s: s["Preview"].update(Output="{% $state.input %}"),
            "/States/Preview/Output: nothing assigns the variable $state",
        ),
        (
            lambda s: s["Preview"].update(Output="{% $eval('1') %}"),
            "/States/Preview/Output: Step Functions has no function $eval",
        ),
    ],
)
def test_a_wrong_machine_is_noticed(root, damage, found):
    definition = copy.deepcopy(DEFINITIONS["restore-tenant.asl.json"])
    damage(definition["States"])
    assert problems(definition, error_codes(root)) == [found]


def test_an_expression_that_is_not_jsonata_is_noticed(root):
    definition = copy.deepcopy(DEFINITIONS["restore-tenant.asl.json"])
    definition["States"]["Preview"]["Output"] = "{% $merge([ %}"
    assert any("is not JSONata" in problem for problem in problems(definition, error_codes(root)))


def test_a_restore_waits_for_a_person_between_preview_and_execution():
    states = DEFINITIONS["restore-tenant.asl.json"]["States"]
    order = ("Preview", "AwaitApproval", "Keep", "Execute", "Done")
    assert [states[name]["Next"] for name in order[:-1]] == list(order[1:])
    assert [state for state in states.values() if {"Execute", "Keep"} & {state.get("Next"), state.get("Default")}] == [
        states["AwaitApproval"],
        states["Keep"],
    ]
    assert states["AwaitApproval"]["Resource"].endswith(".waitForTaskToken")
    items = {name: state["Arguments"]["Payload"]["item"] for name, state in task_states({"States": states}).items()}
    steps = {name: item["step"] for name, item in items.items() if name not in ("MakePoint", "Keep")}
    assert items["Keep"] == {"before": "{% $states.input.request %}"}
    assert steps == {"Preview": "preview", "AwaitApproval": "await_approval", "Execute": "execute", "Abandon": "abandon"}


def test_a_recovery_waits_for_people_before_it_makes_anything_and_ends_with_its_report():
    definition = DEFINITIONS["recover-environment.asl.json"]
    states = definition["States"]
    way = ["Plan", "AwaitApproval", "Instances", "AreInstancesThere", "Platform", "Tenants", "Finish", "Done"]
    following = {name: state.get("Next") or state.get("Default") for name, state in states.items()}
    assert [definition["StartAt"], *(following[name] for name in way[:-1])] == way
    assert [name for name, after in following.items() if after == "Instances"] == ["AwaitApproval", "WaitForInstances"]
    assert states["AwaitApproval"]["Resource"].endswith(".waitForTaskToken")
    steps = {state["Arguments"]["Payload"]["item"]["step"] for state in task_states(definition).values()}
    assert steps == {"plan", "await_approval", "instances", "platform", "tenants", "give_up", "finish", "abandon"}
    on_failure = {name: state["Catch"][-1]["Next"] for name, state in states.items() if "Catch" in state}
    assert on_failure == dict.fromkeys(way[:3] + way[4:7], "Abandon") | {"Abandon": "Failed"}


def test_a_stretch_of_tenants_that_fails_leaves_the_others_alone():
    processor = DEFINITIONS["recover-environment.asl.json"]["States"]["Tenants"]["ItemProcessor"]
    assert processor["ProcessorConfig"]["Mode"] == "INLINE"
    assert processor["States"]["Restore"]["Catch"][-1]["Next"] == "GiveUp"
    assert processor["States"]["GiveUp"]["Catch"][-1]["Next"] == "Unrecorded"
    assert not any(state["Type"] == "Fail" for state in processor["States"].values())


def test_a_recovery_point_is_made_first_for_a_request_of_an_instant_and_for_no_other():
    definition = DEFINITIONS["restore-tenant.asl.json"]
    states = definition["States"]

    def way(name, **given):
        """Where a choice leads."""
        choice = states[name]
        for one in choice["Choices"]:
            if evaluate(one["Condition"], given):
                return one["Next"]
        return choice["Default"]

    assert definition["StartAt"] == "WhetherOfAnInstant"
    instant = {"request": "rq_1", "tenant": "acme", "point_in_time": "2026-11-23T09:41:00Z"}
    assert way("WhetherOfAnInstant", request="rq_1") == "Preview"
    assert way("WhetherOfAnInstant", **instant) == "MakePoint"
    assert states["MakePoint"]["Next"] == "WhetherMade"
    assert [way("WhetherMade", **instant, point=state) for state in ("made", "waiting")] == ["Preview", "WaitForClone"]
    assert way("WhetherMade", **instant) == "WaitForClone", "no answer that is not understood counts as made"
    assert states["WaitForClone"]["Next"] == "MakePoint"
    assert states["MakePoint"]["Arguments"]["Payload"]["item"].keys() == instant.keys()
    kept = evaluate(states["MakePoint"]["Output"], instant, result={"Payload": {"state": "waiting"}})
    assert kept == {**instant, "point": "waiting"}, "asked again, it says the same"


def evaluate(expression: str, given: dict, result=None):
    """What a JSONata expression of a state gives, as Step Functions would evaluate it."""
    from jsonata import Jsonata

    text = expression.removeprefix("{%").removesuffix("%}").replace("$states.input", "input").replace("$states.result", "result")
    return Jsonata(text).evaluate({"input": given, "result": result})


def test_a_run_calls_the_function_that_it_names_and_no_third_one():
    from jsonata import Jsonata

    name = DEFINITIONS["run-item.asl.json"]["States"]["Run"]["Arguments"]["FunctionName"]
    expression = name.removeprefix("{%").removesuffix("%}").replace("$states.input", "input")

    def called(function):
        return Jsonata(expression).evaluate({"input": {"function": function}})

    assert [called("export"), called("verify")] == ["${ExportFunctionArn}", "${VerifyFunctionArn}"]
    assert called("restore") is None and called(None) is None


def test_a_failure_is_recorded_before_the_restore_ends():
    states = DEFINITIONS["restore-tenant.asl.json"]["States"]
    catchers = {name: state["Catch"][-1]["Next"] for name, state in task_states({"States": states}).items()}
    assert catchers.pop("MakePoint") == "Abandon"
    # What cannot be kept may be the very thing that is broken: it must not keep the tenant from coming back.
    assert catchers.pop("Keep") == states["Keep"]["Next"] == "Execute"
    assert catchers == {"Preview": "Abandon", "AwaitApproval": "Abandon", "Execute": "Abandon", "Abandon": "Failed"}
    assert states["Abandon"]["Next"] == "Failed" and states["Failed"]["Type"] == "Fail"


def test_an_approval_expires_with_the_wait_for_it(root):
    caps = (root / "shared" / "domain" / "src" / "caps.rs").read_text(encoding="utf-8")
    (hours,) = re.findall(r"APPROVAL_LIFETIME_S: i64 = (\d+) \* 3600;", caps)
    for name in ("restore-tenant.asl.json", "recover-environment.asl.json"):
        assert DEFINITIONS[name]["States"]["AwaitApproval"]["TimeoutSeconds"] == int(hours) * 3600


def test_no_recovery_is_given_up_while_its_runbook_may_still_run(root):
    caps = (root / "shared" / "domain" / "src" / "caps.rs").read_text(encoding="utf-8")
    (hours,) = re.findall(r"RECOVERY_OPEN_AT_MOST_S: i64 = (\d+) \* 3600;", caps)
    assert DEFINITIONS["recover-environment.asl.json"]["TimeoutSeconds"] < int(hours) * 3600


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_placeholder_is_filled_in_by_the_template(name, stack):
    text = (machines.FOLDER / name).read_text(encoding="utf-8")
    machine = next(
        m
        for m in stack.of_type("AWS::StepFunctions::StateMachine").values()
        if m["StateMachineName"] == f"holdfast-{name.removesuffix('.asl.json')}"
    )
    given = {
        key: value for key, value in machine["DefinitionSubstitutions"].items() if not key.startswith("definition_substitution")
    }
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(given)
