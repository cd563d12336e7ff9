"""The backup plan for the platform: the example in infra/, which the stack so keeps true."""

import json

from paths import ROOT

PLAN_FILE = ROOT / "infra" / "plan.example.json"
PLAN_PARAMETER = "/holdfast/plan"


def plan() -> dict:
    """The plan document as it stands in the parameter store."""
    return json.loads(PLAN_FILE.read_text())


def excluded_tables() -> list[str]:
    """The tables the plan leaves out of every backup."""
    return [exclusion["table"] for exclusion in plan()["exclusions"]]


MEDIA_BUCKET = plan()["media"]["bucket"]
