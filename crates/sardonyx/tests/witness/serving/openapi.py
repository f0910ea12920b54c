"""Requests that schemathesis makes from the description of the REST API, good ones and bad ones.

    openapi.py MODELS HTTP GRPC ADMIN SPECIFICATION COUNT SEED

No answer is the server's fault, every status is one that the description names, and every body is
what the description says.
"""
import collections
import json
import logging
import random
import sys

import hypothesis
import requests
import schemathesis
from common import HTTP
from schemathesis.specs.openapi import checks

ADMIN, SPECIFICATION, COUNT, SEED = sys.argv[4], sys.argv[5], int(sys.argv[6]), int(sys.argv[7])
CHECKS = (checks.content_type_conformance, checks.response_schema_conformance, checks.status_code_conformance)
HONEST = {501, 503}
TALLY = collections.Counter()
RANDOM = random.Random(SEED)
# Invented names reach no model, so most of them are replaced.
KNOWN = {
    "model": ["affine", "classes", "colours", "kinds", "line", "pair", "steps", "vision"],
    "version": ["1", "2", "3"],
    "label": ["stable", "canary"],
}
# What takes models away would leave the others nothing to ask.
LEAVES_OUT = {"/admin/v1/models/{model}/unload"}


def ask(operation, mode, count):
    address = f"http://{ADMIN if operation.path.startswith('/admin') else HTTP}"
    faults = []

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def example(case):
        for name, values in KNOWN.items():
            if name in (case.path_parameters or {}) and RANDOM.random() < 0.8:
                case.path_parameters[name] = RANDOM.choice(values)
        try:
            answer = case.call(base_url=address, session=SESSION, timeout=30)
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
            return
        TALLY[answer.status_code] += 1
        if answer.status_code >= 500 and answer.status_code not in HONEST:
            faults.append((case.as_curl_command()[:1000], answer.status_code, answer.text[:300]))
            return
        try:
            case.validate_response(answer, checks=CHECKS)
        except Exception as error:
            faults.append((case.as_curl_command()[:1000], answer.status_code, str(error)[:600]))

    try:
        example()
    except hypothesis.errors.Unsatisfiable:
        # Nothing can be wrong with an operation that takes nothing.
        pass
    return faults


SESSION = requests.Session()


def main():
    logging.disable(logging.WARNING)
    schema = schemathesis.openapi.from_path(SPECIFICATION)
    operations = [found.ok() for found in schema.get_all_operations()]
    operations = [operation for operation in operations if operation.path not in LEAVES_OUT]
    modes = list(schemathesis.GenerationMode)
    each = max(1, COUNT // (len(operations) * len(modes)))
    faults = []
    for operation in operations:
        for mode in modes:
            faults += ask(operation, mode, each)
    print(json.dumps({str(status): count for status, count in sorted(TALLY.items())}))
    kinds = {}
    for curl, status, what in faults:
        kinds.setdefault((status, what.splitlines()[0] if what else ""), (curl, what))
    for (status, _), (curl, what) in list(kinds.items())[:20]:
        print(f"{status}: {curl}\n    {what}", file=sys.stderr)
    assert not faults, f"{len(faults)} faults of {len(kinds)} kinds"
    assert requests.get(f"http://{HTTP}/healthz", timeout=30).status_code == 200
    assert sum(TALLY.values()) >= len(operations), TALLY
    print("checked", sum(TALLY.values()))


main()
