"""Step Functions: state machines act as their role."""

import contextvars

from ministack.core import iam_evaluator
from ministack.core.arn import parse_arn
from ministack.services import stepfunctions

from gaps import gap

_role: contextvars.ContextVar[str] = contextvars.ContextVar("role", default="")


@gap("states-role", "Task states: the state machine's role must allow lambda:InvokeFunction on the function")
def role() -> None:
    execute, call = stepfunctions._execute_task, stepfunctions._call_lambda

    def execute_as_role(state, data, execution, context):
        machine = stepfunctions._state_machines.get((execution or {}).get("stateMachineArn", "")) or {}
        token = _role.set(machine.get("roleArn", ""))
        try:
            return execute(state, data, execution, context)
        finally:
            _role.reset(token)

    def call_as_role(function, event):
        if _role.get() and not _may_invoke(_role.get(), function):
            cause = f"{_role.get()} is not authorized to perform: lambda:InvokeFunction on resource: {function}"
            raise stepfunctions._ExecutionError("Lambda.AccessDeniedException", cause)
        return call(function, event)

    stepfunctions._execute_task = execute_as_role
    stepfunctions._call_lambda = call_as_role


def _may_invoke(role_arn: str, function: str) -> bool:
    spec = parse_arn(role_arn)
    request = iam_evaluator.EvalContext(
        principal_arn=role_arn, principal_type="AssumedRole", principal_account=spec.account_id,
        action="lambda:InvokeFunction", resource_arn=function, region=function.split(":")[3] if ":" in function else "",
    )
    policies = iam_evaluator._gather_role_policies(spec.resource.rsplit("/", 1)[-1], spec.account_id)
    return iam_evaluator.evaluate(request, policies).decision == "Allow"
