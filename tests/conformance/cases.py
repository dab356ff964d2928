"""Cases as data: what a request is, what its answer must hold, and how both are read.

tests/conformance/README.md describes the format. Nothing here knows the server.
"""

import base64
import copy
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from harness.tap import Failed  # noqa: E402

VARIABLE = re.compile(r"\$\{([a-z_0-9]+)\}")
CASE_MEMBERS = {"name", "covers", "steps", "request", "expect", "save", "repeat", "within"}
STEP_MEMBERS = {"request", "expect", "save", "repeat", "within"}
REQUEST_MEMBERS = {"template", "merge", "as", "method", "path", "headers", "json", "body", "size"}
EXPECT_MEMBERS = {"status", "headers", "json", "body"}


def files():
    return sorted((HERE / "cases").glob("*.json"))


def load(path):
    """The document of one file; its cases always have `steps`."""
    document = json.loads(path.read_text())
    for case in document["cases"]:
        require(case, CASE_MEMBERS, f"{path.name}: {case.get('name')}")
        if "steps" not in case:
            case["steps"] = [{key: case.pop(key) for key in STEP_MEMBERS if key in case}]
        for step in case["steps"]:
            require(step, STEP_MEMBERS, f"{path.name}: {case['name']}")
            require(step["request"], REQUEST_MEMBERS, f"{path.name}: {case['name']}: request")
            require(step["expect"], EXPECT_MEMBERS, f"{path.name}: {case['name']}: expect")
    return document


def require(members, known, where):
    unknown = set(members) - known
    if unknown:
        raise ValueError(f"{where}: unknown {', '.join(sorted(unknown))}")


def fill(value, variables):
    """Puts variables in. A text that is one variable and nothing else takes its type."""
    if isinstance(value, dict):
        return {fill(key, variables): fill(one, variables) for key, one in value.items()}
    if isinstance(value, list):
        return [fill(one, variables) for one in value]
    if not isinstance(value, str):
        return value
    whole = VARIABLE.fullmatch(value)
    if whole:
        return variables[whole.group(1)]
    return VARIABLE.sub(lambda found: str(variables[found.group(1)]), value)


def merged(base, changes):
    """`base` with `changes`; `{"$remove": true}` takes a member away, `{"$set": x}` replaces it whole."""
    if isinstance(changes, dict) and changes.get("$remove") is True:
        raise KeyError("removed")
    if isinstance(changes, dict) and set(changes) == {"$set"}:
        return changes["$set"]
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return copy.deepcopy(changes)
    out = copy.deepcopy(base)
    for key, change in changes.items():
        if isinstance(change, dict) and change.get("$remove") is True:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), change)
    return out


def request_of(step, templates):
    request = copy.deepcopy(step["request"])
    if "template" in request:
        request = merged(templates[request.pop("template")], {key: one for key, one in request.items() if key != "merge"} | request.get("merge", {}))
    return request


def check(answer, expect):
    status = expect.get("status")
    if status is not None and answer.status != status:
        raise Failed(f"status {answer.status}, wanted {status}: {answer.text()[:600]}")
    for name, wanted in expect.get("headers", {}).items():
        compare(answer.header(name), wanted, f"header {name}")
    if "body" in expect:
        compare(answer.text(), expect["body"], "body")
    if "json" in expect:
        try:
            compare(answer.json(), expect["json"], "")
        except json.JSONDecodeError:
            raise Failed(f"no JSON: {answer.text()[:300]}") from None


def compare(got, wanted, where):
    """Objects may hold more than is wanted, lists may not."""
    if isinstance(wanted, dict) and any(key.startswith("$") for key in wanted):
        return match(got, wanted, where)
    if isinstance(wanted, dict):
        if not isinstance(got, dict):
            raise Failed(f"{where}: {got!r} is no object")
        for key, one in wanted.items():
            below = f"{where}/{key}"
            if key not in got and isinstance(one, dict) and one.get("$absent"):
                continue
            if key not in got:
                raise Failed(f"{below}: missing in {json.dumps(got)[:600]}")
            compare(got[key], one, below)
        return None
    if isinstance(wanted, list):
        if not isinstance(got, list) or len(got) != len(wanted):
            raise Failed(f"{where}: got {got!r}, wanted {wanted!r}")
        for index, one in enumerate(wanted):
            compare(got[index], one, f"{where}/{index}")
        return None
    if got != wanted or isinstance(got, bool) != isinstance(wanted, bool):
        raise Failed(f"{where}: got {got!r}, wanted {wanted!r}")
    return None


TYPES = {"string": str, "number": (int, float), "boolean": bool, "object": dict, "array": list, "null": type(None)}


def match(got, wanted, where):
    for matcher, value in wanted.items():
        if not holds(got, matcher, value, where):
            raise Failed(f"{where}: got {got!r}, wanted {matcher} {value!r}")


def holds(got, matcher, value, where):
    if matcher == "$absent":
        return got is None
    if matcher == "$type":
        return isinstance(got, TYPES[value]) and (value == "boolean" or not isinstance(got, bool))
    if matcher == "$prefix":
        return isinstance(got, str) and got.startswith(value)
    if matcher == "$contains":
        return got is not None and value in got
    if matcher == "$lacks":
        return got is not None and value not in got
    if matcher == "$matches":
        return isinstance(got, str) and re.search(value, got) is not None
    if matcher == "$not":
        return got != value
    if matcher == "$length":
        return len(got) == value
    if matcher == "$has":
        return any(fits(one, value) for one in got)
    if matcher == "$base64":
        return got is not None and base64.b64decode(got, validate=True).decode() == value
    if matcher == "$base64json":
        compare(json.loads(base64.b64decode(got, validate=True)), value, f"{where}(base64)")
        return True
    raise ValueError(f"unknown matcher {matcher}")


def fits(got, wanted):
    try:
        compare(got, wanted, "")
    except Failed:
        return False
    return True


def pointed(document, pointer):
    """By JSON pointer; `header:NAME` is asked for by the caller."""
    for part in pointer.strip("/").split("/"):
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document
