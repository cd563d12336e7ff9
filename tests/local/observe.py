"""What a test may ask of the running emulator that AWS would not tell it.

GET  /_holdfast/invocations?after=N   every function invocation after the N-th, finished or not
POST /_holdfast/kill?function=NAME    kills that function's busy processes, as a failing host would
"""

import contextvars
import itertools
import json
import threading
import time
import urllib.parse

PREFIX = "/_holdfast/"

trigger: contextvars.ContextVar[str] = contextvars.ContextVar("trigger", default="")
"""The schedule or rule whose target the current invocation is."""

_journal: list[dict] = []
_numbers = itertools.count(1)
_lock = threading.Lock()


def wrap(emulator):
    """The emulator's ASGI application with the extra paths in front; starts the journal."""
    _record_invocations()

    async def application(scope, receive, send):
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await emulator(scope, receive, send)
            return
        query = dict(urllib.parse.parse_qsl(scope["query_string"].decode()))
        answer = _answer(scope["path"].removeprefix(PREFIX), query)
        await send({
            "type": "http.response.start", "status": 200 if answer is not None else 404,
            "headers": [(b"content-type", b"application/json")],
        })
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    return application


def _answer(what: str, query: dict):
    if what == "invocations":
        with _lock:
            return [dict(entry) for entry in _journal[int(query.get("after", 0)):]]
    if what == "kill":
        return {"killed": _kill(query["function"])}
    return None


def _kill(function: str) -> int:
    """Kills the processes that are working on an event of this function right now."""
    from ministack.core import lambda_runtime

    with lambda_runtime._lock:
        workers = [worker for pool in lambda_runtime._workers.values() for worker in pool]
    busy = [
        worker._proc for worker in workers
        if worker.func_name == function and worker._current_request_id and worker._pending.empty() and worker._proc
    ]
    for process in busy:
        process.kill()
    return len(busy)


def _record_invocations() -> None:
    from ministack.services import eventbridge, lambda_svc

    dispatch, invoke_target = lambda_svc._execute_function_dispatch, eventbridge._invoke_target

    def recorded(function, config, event, request_id, started):
        entry = {
            "number": next(_numbers), "function": config.get("FunctionName"), "request_id": request_id,
            "trigger": trigger.get(), "event": event, "started": started, "ended": None, "error": None,
        }
        with _lock:
            _journal.append(entry)
        result = dispatch(function, config, event, request_id, started)
        failed = isinstance(result, dict) and result.get("error")
        with _lock:
            entry["error"] = result.get("body") if failed else None
            entry["ended"] = time.time()
        return result

    def named(target, event, rule, view=None):
        token = trigger.set(rule.get("Name", ""))
        try:
            return invoke_target(target, event, rule, view)
        finally:
            trigger.reset(token)

    lambda_svc._execute_function_dispatch = recorded
    eventbridge._invoke_target = named
