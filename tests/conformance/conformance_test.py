#!/usr/bin/python3
"""Runs every case of tests/conformance/cases against real servers. `conformance_test.py NAME…` runs some."""

import sys
import tempfile
import time
from pathlib import Path

import cases
from harness import contract
from harness.tap import Failed, main, test
from harness.upstream import Upstream
from worlds import WORLDS


def run_case(case, templates, world):
    variables = dict(world.variables)
    for number, step in enumerate(case["steps"], 1):
        try:
            answer = run_step(step, templates, world, variables)
        except Failed as fault:
            raise Failed(f"step {number}: {fault}") from None
        for name, pointer in step.get("save", {}).items():
            kind, _, header = pointer.partition("header:")
            variables[name] = answer.header(header) if not kind and header else cases.pointed(answer.json(), pointer)


def run_step(step, templates, world, variables):
    """The answer that holds what the step expects; asked for again until `within` seconds are over."""
    request = cases.fill(cases.request_of(step, templates), variables)
    expect = cases.fill(step["expect"], variables)
    body = request.get("json", request["body"].encode() if "body" in request else None)
    if "size" in request:
        body = b"x" * request["size"]
    caller = world.callers[request.get("as", "anybody")]
    deadline = time.monotonic() + step.get("within", 0)
    while True:
        for _ in range(step.get("repeat", 1)):
            answer = caller.request(request.get("method", "GET"), request["path"], body=body, headers=request.get("headers"))
        try:
            cases.check(answer, expect)
            documented(request, answer)
            return answer
        except Failed:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)


def documented(request, answer):
    """The administration API and the internal routes answer what schema/openapi.json says."""
    operation = contract.operation_at(request.get("method", "GET"), request["path"])
    found = contract.fault_of_answer(operation, answer) if operation else None
    if found:
        raise Failed(f"{operation['operationId']} answered {answer.status}: {found}")


def register(worlds, wanted):
    """One test for each case; returns the names of the worlds that are needed."""
    needed = []
    for path in cases.files():
        document = cases.load(path)
        chosen = [case for case in document["cases"] if not wanted or any(word in case["name"] for word in wanted)]
        if chosen and document["world"] not in needed:
            needed.append(document["world"])
        for case in chosen:
            sentence = f"{path.stem}: {case['name']}"
            test(sentence)(lambda case=case, document=document: run_case(case, document.get("templates", {}), worlds[document["world"]]))
    return needed


def run():
    worlds = {}
    needed = register(worlds, sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="alga-conformance.") as folder, Upstream() as upstream:
        return enter(needed, worlds, Path(folder), upstream)


def enter(needed, worlds, folder, upstream):
    """All servers at once, so that the cases run in the order of their files."""
    if not needed:
        return main()
    with WORLDS[needed[0]](folder / needed[0], upstream) as world:
        worlds[needed[0]] = world
        return enter(needed[1:], worlds, folder, upstream)


if __name__ == "__main__":
    sys.exit(run())
