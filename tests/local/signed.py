"""A request to a function URL, signed as the `holdfast` command signs it, but with any body and any credentials."""

import json
import urllib.error
import urllib.request

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ANSWER_SECONDS = 60


def post(url: str, body: dict, credentials: tuple[str, str] | None, region: str) -> tuple[int, str]:
    """Posts JSON, unsigned if there are no credentials; returns the status and what was answered."""
    data = json.dumps(body, ensure_ascii=False).encode()
    request = AWSRequest("POST", url, data=data, headers={"Content-Type": "application/json"})
    if credentials:
        SigV4Auth(Credentials(*credentials), "lambda", region).add_auth(request)
    sent = urllib.request.Request(url, data=data, headers=dict(request.headers.items()), method="POST")
    try:
        with urllib.request.urlopen(sent, timeout=ANSWER_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
