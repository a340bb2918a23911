"""What values.yaml says of itself: each value with its comment and its default."""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

from tests.helm.chart import CHART

VALUES: Final = CHART / "values.yaml"


class Value(NamedTuple):
    """A value that can be set: its dotted key, the comment above it, its default."""

    key: str
    meaning: str
    default: Any


def documented_values() -> list[Value]:
    """In the order of the file. A map whose own keys have no comments is one value."""
    text = VALUES.read_text("utf-8")
    lines = text.splitlines()
    root = yaml.compose(text, yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    return list(_walk(root, yaml.safe_load(text), lines, ""))


def _walk(node: yaml.MappingNode, tree: Any, lines: list[str], prefix: str) -> Iterator[Value]:
    for key_node, value_node in node.value:
        name = key_node.value
        key, default = f"{prefix}{name}", tree[name]
        inside = isinstance(value_node, yaml.MappingNode) and value_node.value
        if inside and any(_comment(child, lines) for child in _keys_under(value_node)):
            yield from _walk(value_node, default, lines, f"{key}.")
        else:
            yield Value(key, _comment(key_node, lines), default)


def _keys_under(node: yaml.MappingNode) -> Iterator[Any]:
    for key, value in node.value:
        yield key
        if isinstance(value, yaml.MappingNode):
            yield from _keys_under(value)


def _comment(key: Any, lines: list[str]) -> str:
    """The comment lines right above a key, as indented as the key."""
    indent = " " * key.start_mark.column
    found: list[str] = []
    number = key.start_mark.line - 1
    while number >= 0 and lines[number].startswith(f"{indent}# "):
        found.insert(0, lines[number].removeprefix(f"{indent}# "))
        number -= 1
    return " ".join(found)


def table() -> str:
    """The table of values as the chart's README holds it."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for value in documented_values():
        meaning = value.meaning.replace("|", "\\|")
        rows.append(f"| `{value.key}` | {_shown(value.default)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, str):
        return f"`{default}`" if default else '`""`'
    return f"`{json.dumps(default)}`"
