"""Lints the infrastructure: `./task lint`, which starts this in the environment it needs.

Everything that AWS would refuse at deployment, or accept and then do something else with, is looked for here: the template as
written and as transformed, the state machines' structure and their expressions, the example plan. What the pieces promise to each
other is tested in tests/contract.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import machines
import sam

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Runs every check, prints what each found, and returns the exit code."""
    checks: list[tuple[str, Callable[[], list[str]]]] = [
        ("template as written", source_template),
        ("template as transformed", transformed_template),
        ("template of tenants' keys", tenant_key_template),
        ("state machines, structure", machine_structure),
        ("state machines, expressions", machine_expressions),
        ("example plan", example_plan),
    ]
    failed = 0
    for name, check in checks:
        findings = check()
        failed += bool(findings)
        print(f"{'FAIL' if findings else 'ok  '} {name}")
        for finding in findings:
            print("     " + finding.rstrip().replace("\n", "\n     "))
    return 1 if failed else 0


def source_template() -> list[str]:
    """cfn-lint on the SAM source."""
    return _cfn_lint(sam.TEMPLATE)


def transformed_template() -> list[str]:
    """cfn-lint on what CloudFormation gets; SAM hides misspelt actions and missing substitutions from it before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transformed.json"
        path.write_text(json.dumps(sam.transformed(), indent=1), encoding="utf-8")
        return _cfn_lint(path)


def tenant_key_template() -> list[str]:
    """cfn-lint on the template that is deployed once for each tenant with a key of its own."""
    return _cfn_lint(sam.INFRA / "tenant-key.yaml")


def machine_structure() -> list[str]:
    """asl-validator, at the version that package-lock.json pins."""
    npm = shutil.which("npm")
    if npm is None:
        return ["npm is not installed, and asl-validator comes from it; install Node.js 18 or newer"]
    validator = HERE / "node_modules" / ".bin" / "asl-validator"
    installed = HERE / "node_modules" / ".package-lock.json"
    lock = HERE / "package-lock.json"
    if not validator.exists() or not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        install = _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE)
        if install.returncode:
            return [f"`npm ci` in infra/lint failed:\n{install.stdout}{install.stderr}"]
    arguments = [argument for path in machines.paths() for argument in ("--json-path", str(path))]
    outcome = _run([str(validator), *arguments])
    return [outcome.stdout + outcome.stderr] if outcome.returncode else []


def machine_expressions() -> list[str]:
    """Our own look at the JSONata."""
    return [f"{name}{problem}" for name, definition in machines.load_all().items() for problem in machines.problems(definition)]


def example_plan() -> list[str]:
    """The plan's schema is a schema, and the example follows it."""
    import jsonschema

    schema = json.loads((sam.INFRA / "plan.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    plan = json.loads((sam.INFRA / "plan.example.json").read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(plan)
    return [f"plan.example.json{error.json_path[1:]}: {error.message}" for error in errors]


def _cfn_lint(path: Path) -> list[str]:
    from cfnlint.api import lint_file
    from cfnlint.config import ManualArgs

    found = lint_file(path, config=ManualArgs(regions=[sam.REGION, "us-east-1"]))
    return [
        f"{match.rule.id} line {match.linenumber}, {'/'.join(map(str, match.path or []))}: {match.message}" for match in found
    ]


def _run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
