"""What the contract tests share: the transformed template, resolved as a deployment with default parameters would."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The linter's own reading of the template, so that tests and lint look at the same thing; the local stack's list of functions.
sys.path[:0] = [str(ROOT / "infra" / "lint"), str(Path(__file__).resolve().parent), str(ROOT / "tests" / "local")]

import copy
import json

import pytest
import sam
from cloudformation import Stack


@pytest.fixture(scope="session")
def transformed() -> dict:
    """The template after the SAM transform."""
    return sam.transformed()


@pytest.fixture
def template(transformed: dict) -> dict:
    """A copy of the transformed template that a test may damage."""
    return copy.deepcopy(transformed)


@pytest.fixture(scope="session")
def stack(transformed: dict) -> Stack:
    """The stack as deployed with default parameters."""
    return Stack(transformed)


@pytest.fixture(scope="session")
def plan() -> dict:
    """The example plan."""
    return json.loads((ROOT / "infra" / "plan.example.json").read_text(encoding="utf-8"))


@pytest.fixture
def root() -> Path:
    """The repository."""
    return ROOT
