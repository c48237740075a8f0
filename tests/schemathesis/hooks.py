"""What random data would never hit: half of the requests are about a space that is there, and a push is of the caller's device."""

import os

import schemathesis

SPACE = os.environ["REJOIN_SPACE"]
DEVICE = os.environ["REJOIN_DEVICE"]


def is_half(text):
    """The same half in every run of one seed."""
    return isinstance(text, str) and sum(text.encode("utf-8", "replace")) % 2 == 0


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if path_parameters and is_half(path_parameters.get("id")):
        path_parameters["id"] = SPACE
    return path_parameters


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and is_half(body.get("space")):
        body["space"] = SPACE
        if isinstance(body.get("push"), dict) and isinstance(body["push"].get("device"), str):
            body["push"]["device"] = DEVICE
    return body
