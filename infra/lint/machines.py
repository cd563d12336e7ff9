"""State machines: their JSONata, which neither Step Functions' schema nor asl-validator looks into."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from sam import INFRA

FOLDER = INFRA / "statemachines"

BUILT_IN_FUNCTIONS = frozenset(
    "abs append assert average base64decode base64encode boolean ceil contains count decodeUrl decodeUrlComponent distinct each "
    "encodeUrl encodeUrlComponent error exists filter floor formatBase formatInteger formatNumber fromMillis join keys length "
    "lookup lowercase map match max merge millis min not now number pad parseInteger power random reduce replace reverse round "
    "shuffle sift single sort split spread sqrt string substring substringAfter substringBefore sum toMillis trim type uppercase "
    "zip partition range hash uuid parse".split()
)
"""JSONata's own and those that Step Functions adds; it takes `eval` away."""


def load_all() -> dict[str, dict]:
    """Every definition, by file name."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.asl.json"))}


def paths() -> list[Path]:
    """Every definition's file."""
    return sorted(FOLDER.glob("*.asl.json"))


def expressions(node, where: str = "") -> Iterator[tuple[str, str]]:
    """Every JSONata expression in a definition, with its place."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from expressions(value, f"{where}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from expressions(value, f"{where}/{index}")
    elif isinstance(node, str) and node.startswith("{%") and node.endswith("%}"):
        yield where, node[2:-2].strip()


def assigned(node) -> set[str]:
    """The names of all workflow variables that some state assigns."""
    if isinstance(node, dict):
        own = set(node["Assign"]) if isinstance(node.get("Assign"), dict) else set()
        return own.union(*(assigned(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(assigned(value) for value in node))
    return set()


def problems(definition: dict) -> list[str]:
    """What is wrong with a definition's expressions: bad syntax, unknown variables, unknown functions."""
    from jsonata import Jsonata

    found = []
    known = assigned(definition) | {"states"}
    for where, expression in expressions(definition):
        try:
            Jsonata(expression)
        except Exception as error:
            found.append(f"{where}: `{expression}` is not JSONata: {error}")
            continue
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "''", expression)
        for name, call in re.findall(r"\$([A-Za-z_]\w*)\s*(\(?)", bare):
            if call and name not in BUILT_IN_FUNCTIONS:
                found.append(f"{where}: Step Functions has no function ${name}")
            if not call and name not in known:
                found.append(f"{where}: nothing assigns the variable ${name}")
    return found
