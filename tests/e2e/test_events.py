"""Every sample in events/ is an event that its function takes, so none of them can rot."""

import json

import pytest
from paths import ROOT
from slots import as_text, last_slots
from stack import FunctionError

SAMPLES = sorted((ROOT / "events").glob("*.json"))
RDS_TAKEN_BY = {"snapshot": "snapshot", "cluster-snapshot": "snapshot", "instance": "verify"}


def function_of(sample) -> str:
    """The function a sample is for: `tick-export` and `item-export` are export's, `operator-run` is operator's."""
    kind, _, rest = sample.stem.partition("-")
    if kind == "operator":
        return kind
    if kind == "rds":
        return RDS_TAKEN_BY[rest]
    return "retention" if rest == "sweep" else rest.split("-")[0]


def of_the_newest_slot(event: dict, plan: dict) -> dict:
    """A rule's tick as it would come now: one of the sample's day would fill a slot that other tests take for theirs."""
    tick = event.get("tick", {})
    if tick.get("rule") not in {rule["id"] for rule in plan["rules"]}:
        return event
    return {"tick": {**tick, "scheduled_time": as_text(last_slots(plan, tick["rule"])[0])}}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_sample_event_is_taken_by_its_function(sample, stack, backed_up, with_snapshots, saved):
    try:
        answer = stack.invoke(function_of(sample), of_the_newest_slot(json.loads(sample.read_text()), backed_up.plan))
    except FunctionError as error:
        # It may name what does not exist here; it may not be misread.
        assert error.error_type.startswith("Unknown"), error
    else:
        if sample.stem.startswith("operator-"):
            code = json.loads(answer["body"]).get("error", {}).get("code", "")
            assert answer["statusCode"] == 200 or code.startswith("Unknown"), answer
    stack.wait_until_idle()
    saved.assert_back(backed_up.tenant("acme"))


def test_there_is_a_sample_for_every_function():
    functions = {path.name for path in (ROOT / "functions").iterdir() if path.is_dir()}
    assert {function_of(sample) for sample in SAMPLES} == functions
