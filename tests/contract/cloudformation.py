"""A template with its intrinsic functions worked out: as much of CloudFormation as our template uses."""

import re

REGION = "eu-central-1"
ACCOUNT = "111122223333"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "holdfast",
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()

ARNS = {
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/{id}",
    "AWS::Events::Rule": "arn:aws:events:{region}:{account}:rule/{id}",
    "AWS::IAM::ManagedPolicy": "arn:aws:iam::{account}:policy/{id}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{id}",
    "AWS::KMS::Key": "arn:aws:kms:{region}:{account}:key/{id}",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{id}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{id}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{id}",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{id}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{id}",
    "AWS::StepFunctions::StateMachine": "arn:aws:states:{region}:{account}:stateMachine:{id}",
}
REF_IS_ARN = {"AWS::IAM::ManagedPolicy", "AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"}


class Stack:
    """A deployment of a template. Physical ids are the logical ones, lower-cased for buckets."""

    def __init__(self, template: dict, **parameters: str) -> None:
        self.template = template
        self.parameters = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
        unknown = parameters.keys() - self.parameters.keys()
        assert not unknown, f"the template has no parameter {unknown}"
        self.parameters.update(parameters)
        for name, parameter in template["Parameters"].items():
            if parameter["Type"] == "CommaDelimitedList":
                self.parameters[name] = self.parameters[name].split(",")
        self.resources = {
            name: self._resolve(resource)
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self._condition(resource["Condition"])
        }
        self.outputs = self._resolve(template.get("Outputs", {}))

    def of_type(self, kind: str) -> dict[str, dict]:
        """The properties of all resources of a type, by logical id."""
        return {name: resource.get("Properties", {}) for name, resource in self.resources.items() if resource["Type"] == kind}

    def properties(self, name: str) -> dict:
        """The properties of one resource."""
        return self.resources[name]["Properties"]

    def arn(self, name: str) -> str:
        """The ARN of one resource."""
        kind = self.template["Resources"][name]["Type"]
        return ARNS[kind].format(region=REGION, account=ACCOUNT, id=self._physical_id(name))

    def _physical_id(self, name: str) -> str:
        return name.lower() if self.template["Resources"][name]["Type"] == "AWS::S3::Bucket" else name

    def _ref(self, name: str):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        return self.arn(name) if self.template["Resources"][name]["Type"] in REF_IS_ARN else self._physical_id(name)

    def _attribute(self, name: str, attribute: str):
        return self.arn(name) if attribute == "Arn" else f"{name}.{attribute}"

    def _sub(self, text: str, values: dict) -> str:
        def value(match: re.Match) -> str:
            name = match[1]
            if name in values:
                return str(values[name])
            if "." in name:
                return self._attribute(*name.split(".", 1))
            return str(self._ref(name))

        return re.sub(r"\$\{([^!}]+)\}", value, text)

    def _condition(self, name: str) -> bool:
        return self._resolve(self.template["Conditions"][name])

    def _resolve(self, node):
        if isinstance(node, list):
            return [item for item in map(self._resolve, node) if item is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            match function:
                case "Ref":
                    return self._ref(argument)
                case "Fn::GetAtt":
                    return self._attribute(*(argument.split(".", 1) if isinstance(argument, str) else argument))
                case "Fn::Sub":
                    text, values = (argument, {}) if isinstance(argument, str) else argument
                    return self._sub(text, self._resolve(values))
                case "Fn::Join":
                    return argument[0].join(map(str, self._resolve(argument[1])))
                case "Fn::If":
                    return self._resolve(argument[1 if self._condition(argument[0]) else 2])
                case "Fn::Equals":
                    return len({str(item) for item in self._resolve(argument)}) == 1
                case "Fn::Not":
                    return not self._resolve(argument[0])
        assert not any(key.startswith("Fn::") for key in node), f"teach tests/contract about {list(node)}"
        resolved = {key: self._resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}
