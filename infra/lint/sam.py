"""The SAM template as CloudFormation will see it, made without an account and without building anything."""

import json
import logging
import os
from pathlib import Path

INFRA = Path(__file__).resolve().parent.parent
TEMPLATE = INFRA / "template.yaml"
REGION = "eu-central-1"


class _NoManagedPolicies:
    """Our roles are written out, so no AWS managed policy has to be looked up by name."""

    def load(self):
        return {}


def source(path: Path = TEMPLATE) -> dict:
    """The template as written, parsed."""
    from samtranslator.yaml_helper import yaml_parse

    return yaml_parse(path.read_text(encoding="utf-8"))


def transformed(template: dict | None = None, code: tuple[str, str] = ("artifacts", "function.zip")) -> dict:
    """The template after the SAM transform, with the state machines inlined and `code` (bucket, key) as every function's code.

    This is what `sam build` and `sam package` would leave for CloudFormation, but for the code itself.
    """
    # The transform asks for a region to know the partition.
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    from samtranslator.translator.transform import transform

    template = template or source()
    template.setdefault("Globals", {}).setdefault("Function", {}).pop("CodeUri", None)
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            properties["CodeUri"] = {"Bucket": code[0], "Key": code[1]}
            resource.pop("Metadata", None)  # how to build it, which is not CloudFormation's concern
        if resource["Type"] == "AWS::Serverless::StateMachine" and "DefinitionUri" in properties:
            properties["Definition"] = json.loads((INFRA / properties.pop("DefinitionUri")).read_text(encoding="utf-8"))
    return transform(template, {}, _NoManagedPolicies())
