"""What random data would never hit: half of the requests are about a space that is there, and a push is of the caller's device.

What is no id is left alone, since it is there to be refused."""

import os
import re

import schemathesis

SPACE = os.environ["REJOIN_SPACE"]
DEVICE = os.environ["REJOIN_DEVICE"]
ID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_id(value):
    return isinstance(value, str) and ID.fullmatch(value) is not None


def is_chosen(value):
    """The same half of the ids in every run of one seed."""
    return is_id(value) and sum(value.encode()) % 2 == 0


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if path_parameters and is_chosen(path_parameters.get("id")):
        path_parameters["id"] = SPACE
    return path_parameters


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and is_chosen(body.get("space")):
        body["space"] = SPACE
        if isinstance(body.get("push"), dict) and is_id(body["push"].get("device")):
            body["push"]["device"] = DEVICE
    return body
