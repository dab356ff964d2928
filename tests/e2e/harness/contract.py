"""Holds what the server answers to schema/openapi.json. A word of a schema that is not understood here is a fault."""

import json
import re
from pathlib import Path

DOCUMENT = json.loads((Path(__file__).resolve().parents[3] / "schema" / "openapi.json").read_text())
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int, "number": (int, float)}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
SILENT = {"description", "format", "additionalProperties"}  # the last two are looked at elsewhere


def operation_of(command):
    """The operation that `algad admin COMMAND` calls."""
    found = [it for item in DOCUMENT["paths"].values() for it in item.values() if it.get("x-command") == command]
    return found[0] if found else None


def operation_at(method, path):
    """The operation of the control plane that a request calls; literal parts win over parameters."""
    asked = path.split("?")[0].split("/")
    found = []
    for pattern, item in DOCUMENT["paths"].items():
        parts = pattern.split("/")
        if len(parts) == len(asked) and all(part == given or (part.startswith("{") and given) for part, given in zip(parts, asked)):
            found.append((sum(part.startswith("{") for part in parts), item))
    operations = [item.get(method.lower()) for _, item in sorted(found, key=lambda it: it[0])]
    return operations[0] if operations and operations[0] and operations[0]["x-role"] == "control-plane" else None


def fault_of_answer(operation, answer):
    """What of an answer, good or not, the document does not say; None when it says all of it."""
    responses = operation["responses"]
    said = responses.get(str(answer.status)) or (responses["default"] if answer.status >= 400 else None)
    if said is None:
        return f"the document knows no status {answer.status}"
    if "content" not in said:
        return f"the document promises no body: {answer.text()}" if answer.body else None
    kind = (answer.header("content-type") or "").split(";")[0]
    if kind not in said["content"]:
        return f"the document knows no answer of the type {kind!r} here"
    return fault(said["content"][kind]["schema"], answer.json(), "") if kind == "application/json" else None


def fault_of_success(operation, body):
    """What of a good answer the document does not say; None when it says all of it. `body` None: there was none."""
    good = [it for status, it in operation["responses"].items() if status.startswith("2")]
    schemas = [it["content"]["application/json"]["schema"] if "content" in it else None for it in good]
    if body is None:
        return None if None in schemas else "the document promises a body"
    faults = [fault(schema, body, "") for schema in schemas if schema is not None]
    return None if None in faults else (faults or ["the document promises no body"])[0]


def fault(schema, value, where):
    """What of `value` is not as `schema` says; `where` is a JSON pointer to it."""
    if "$ref" in schema:
        known = DOCUMENT
        for part in schema["$ref"].removeprefix("#/").split("/"):
            known = known[part]
        return fault(known, value, where)
    place = where or "the body"
    for word, rule in schema.items():
        if word == "type" and not is_of_type(rule, value):
            return f"{place} is not of the type {rule}: {value!r}"
        if word in ("enum", "const") and value not in (rule if word == "enum" else [rule]):
            return f"{place} is not of the {word} {rule}: {value!r}"
        if word == "pattern" and isinstance(value, str) and not re.search(rule, value):
            return f"{place} does not match {rule}: {value!r}"
        if word in ("minimum", "maximum") and isinstance(value, (int, float)) and (value < rule if word == "minimum" else value > rule):
            return f"{place} is beyond the {word} {rule}: {value!r}"
        if word == "anyOf" and all(fault(one, value, where) for one in rule):
            return f"{place} is none of {rule}: {value!r}"
        if word == "required" and isinstance(value, dict) and set(rule) - set(value):
            return f"{place} lacks {sorted(set(rule) - set(value))}"
        if word not in SILENT | {"type", "enum", "const", "pattern", "minimum", "maximum", "anyOf", "required", "properties", "items"}:
            return f"{place}: the word {word} is not understood here"
    if schema.get("format") == "date-time" and isinstance(value, str) and not MOMENT.fullmatch(value):
        return f"{place} is no moment: {value!r}"
    return fault_of_parts(schema, value, where)


def is_of_type(rule, value):
    rules = rule if isinstance(rule, list) else [rule]
    return any(isinstance(value, TYPES[it]) and not (isinstance(value, bool) and it in ("integer", "number")) for it in rules)


def fault_of_parts(schema, value, where):
    if isinstance(value, list) and "items" in schema:
        parts = ((schema["items"], part, f"{where}/{index}") for index, part in enumerate(value))
    elif isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        unknown = [name for name in value if name not in known]
        if others is False and unknown:
            return f"{where or 'the body'} has {unknown}, of which the document says nothing"
        parts = ((known.get(name, others if isinstance(others, dict) else {}), part, f"{where}/{name}") for name, part in value.items())
    else:
        return None
    return next((found for found in (fault(*part) for part in parts) if found), None)
