"""The shape of a batch file as a JSON schema, for editors: completion, and mistakes while typing.

It is made from `governor.batch.schema` and the installed subsystems, and sees less than ``governor
check`` does, which also knows what names mean. Taplo, which most editors for TOML use, was made for
draft 4 of JSON Schema: so only what is the same in all drafts is used here.
"""

from __future__ import annotations

import json
from typing import Any, Final

from governor import registry
from governor.batch.checks import ALL, INSTANCE, MAX_JOBS, NAME
from governor.batch.schema import File

Schema = dict[str, Any]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

_SETTING: Final[Schema] = {"type": ["integer", "string"]}


def schema() -> Schema:
    """Return the JSON schema of a batch file."""
    made = _tidied(File.model_json_schema())
    hierarchy, job = made["$defs"]["Hierarchy"], made["$defs"]["Job"]
    made["required"] = ["jobs"]
    made["properties"]["jobs"]["minItems"] = 1
    job["required"] = ["command", "name"]
    hierarchy["required"] = ["subsystems"]
    hierarchy["properties"]["subsystems"] |= {"items": _subsystem(), "minItems": 1}
    hierarchy["properties"]["containers"]["additionalProperties"] = _container()
    _named(made["properties"]["hierarchies"])
    return {"$schema": DRAFT, "title": "A batch file of governor", **made}


def _tidied(value: Any) -> Any:
    """Without what TOML does not have (null), and without titles that only repeat names."""
    if isinstance(value, list):
        return [_tidied(item) for item in value]
    if not isinstance(value, dict):
        return value
    tidy = {
        # A table called "properties" has names of keys, which may be "title" or "default".
        key: {name: _described(inner) for name, inner in item.items()}
        if key in ("properties", "$defs")
        else _tidied(item)
        for key, item in value.items()
        if key != "title" and not (key == "default" and (not item or isinstance(item, dict)))
    }
    choices = [choice for choice in tidy.pop("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        return {**choices[0], **tidy}
    return {**tidy, "anyOf": choices} if choices else tidy


def _described(value: Schema) -> Schema:
    """A key's schema; descriptions in the code are written in another markup."""
    tidy: Schema = _tidied(value)
    if "description" in tidy:
        tidy["description"] = tidy["description"].replace("``", "")
    return tidy


def _subsystem() -> Schema:
    """Names of subsystems, which editors offer, and of instances of them."""
    names = registry.names()
    instance = f"^({'|'.join(names)})@{INSTANCE.pattern}$"
    return {"anyOf": [{"enum": [ALL, *names]}, {"type": "string", "pattern": instance}]}


def _container() -> Schema:
    """A table of the control files that can be written."""
    files: Schema = {
        name: _SETTING
        for subsystem in registry.names()
        for name, file in registry.load(subsystem).populate().items()
        if file.writable
    }
    files[MAX_JOBS] = {"type": "integer", "minimum": 1}
    return {"type": "object", "properties": files, "additionalProperties": False}


def _named(table: Schema) -> None:
    """Turn "any name" into the names that a hierarchy may have."""
    table["patternProperties"] = {f"^{NAME.pattern}$": table["additionalProperties"]}
    table["additionalProperties"] = False


def text() -> str:
    """Return the schema as it is printed, and kept in examples/."""
    return json.dumps(schema(), indent=2, ensure_ascii=False)
