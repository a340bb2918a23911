"""What the comparison with published CRDs finds."""

import pytest

from tests.helm.crds import schemas, wider
from tests.helm.kubernetes import STRING, STRINGS, Schema, closed

DEFINITIONS = """
---
spec:
  group: example.com
  names: {kind: Thing}
  versions:
    - name: v1
      schema:
        openAPIV3Schema: {type: object, required: [spec], properties: {spec: {type: object}}}
---
"""


def test_schemas_are_found_by_api_version_and_kind() -> None:
    """Empty documents are none."""
    [(kind, schema)] = schemas(DEFINITIONS)
    assert ("example.com/v1", "Thing") == kind
    assert ["spec"] == schema["required"]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (closed(a=STRING), {"properties": {"a": STRING, "b": STRING}}, []),
        (closed(b=STRING), {"properties": {"a": STRING}}, [".b: they do not know it"]),
        (closed(a=STRING), {"required": ["a"], "properties": {"a": STRING}}, [": they require a"]),
        (closed(a=STRING), {"x-kubernetes-preserve-unknown-fields": True}, []),
        (closed(a=STRING), STRINGS, []),
        (closed(a={"enum": ["x"]}), {"properties": {"a": {"enum": ["x", "y"]}}}, []),
        (closed(a={"enum": ["x"]}), {"properties": {"a": STRING}}, []),
        (
            closed(a={"enum": ["x"]}),
            {"properties": {"a": {"enum": ["y"]}}},
            [".a: ['x'], but they have ['y']"],
        ),
        (
            {"items": closed(a=STRING)},
            {"items": {"properties": {}}},
            ["[].a: they do not know it"],
        ),
    ],
)
def test_whatever_ours_allow_theirs_must(ours: Schema, theirs: Schema, expected: list[str]) -> None:
    """Fewer fields, more required, fewer words: all of that is well."""
    assert expected == list(wider(ours, theirs))
