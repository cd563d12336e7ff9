"""The function of the trial template: a custom runtime that does what its event says."""

import http.client
import json
import os
import subprocess
import time

import boto3

# One connection for all calls, as real runtimes do.
RUNTIME = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def handle(event):
    match event.get("do"):
        case "environment":
            return dict(os.environ)
        case "sleep":
            child = subprocess.Popen(["sleep", "300"])
            print(f"child {child.pid} of {event.get('name')}", flush=True)
            time.sleep(event["seconds"])
        case "eat":
            return len(bytearray(os.urandom(1024) * 1024 * event["mebibytes"]))
        case "fail":
            raise ValueError(event.get("message", "asked to fail"))
        case "call":
            client = boto3.client(event["service"])
            answer = getattr(client, event["operation"])(**event.get("parameters", {}))
            answer.pop("ResponseMetadata")
            return json.loads(json.dumps(answer, default=str))
    return event


def call(method, path, body=None):
    RUNTIME.request(method, f"/2018-06-01/runtime/invocation/{path}", body)
    answer = RUNTIME.getresponse()
    return answer.headers, answer.read()


def main():
    while True:
        headers, body = call("GET", "next")
        request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            kind, answer = "response", handle(json.loads(body))
        except Exception as error:
            kind, answer = "error", {"errorType": type(error).__name__, "errorMessage": str(error)}
        print(f"{kind} {request_id}", flush=True)
        call("POST", f"{request_id}/{kind}", json.dumps(answer).encode())


main()
