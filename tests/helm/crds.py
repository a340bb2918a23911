"""`python -m tests.helm.crds CRD.yaml…`: are the schemas of `kubernetes.CUSTOM` within these CRDs?

The CRDs are megabytes, need a network to be had and are their operators' own, so the tests hold
the chart against small schemas written down here. This command holds those against the real ones:
whatever ours allow a CRD must allow, and what it requires ours must require. To be run when an
operator has a new release; exit code 1 if anything is wider, or a kind has no CRD.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.helm.kubernetes import CUSTOM, Schema

OF_EVERY_KIND = frozenset({"apiVersion", "kind", "metadata"})
"""What an API server judges by itself, whatever the CRD says."""


def wider(ours: Schema, theirs: Schema, path: str = "") -> Iterator[str]:
    """What ours allow and theirs may not, by where it is."""
    if theirs.get("x-kubernetes-preserve-unknown-fields"):
        return
    words: list[str] = ours.get("enum", [])
    if not set(words) <= set(theirs.get("enum", words)):
        yield f"{path}: {words}, but they have {theirs['enum']}"
    required = set(theirs.get("required", ())) - set(ours.get("required", ())) - OF_EVERY_KIND
    if required:
        yield f"{path}: they require {', '.join(sorted(required))}"
    for name, schema in ours.get("properties", {}).items():
        if not path and name in OF_EVERY_KIND:
            continue
        free = theirs.get("additionalProperties")
        known = theirs.get("properties", {}).get(name, free if isinstance(free, dict) else None)
        if known is None:
            yield f"{path}.{name}: they do not know it"
        else:
            yield from wider(schema, known, f"{path}.{name}")
    if "items" in ours:
        yield from wider(ours["items"], theirs.get("items", {}), f"{path}[]")


def schemas(definitions: str) -> Iterator[tuple[tuple[str, str], Schema]]:
    """The schemas in a file of CRDs, by apiVersion and kind."""
    documents: list[Any] = [each for each in yaml.safe_load_all(definitions) if each]
    for spec in (document["spec"] for document in documents):
        for version in spec["versions"]:
            api_version = f"{spec['group']}/{version['name']}"
            yield (api_version, spec["names"]["kind"]), version["schema"]["openAPIV3Schema"]


def main() -> int:
    """Compare, print and return the exit code."""
    theirs = dict(
        found for file in sys.argv[1:] for found in schemas(Path(file).read_text("utf-8"))
    )
    wrong = 0
    for kind, ours in CUSTOM.items():
        lines = list(wider(ours, theirs[kind])) if kind in theirs else ["no CRD was given"]
        wrong += len(lines)
        print(f"{' '.join(kind)}: {'; '.join(lines) or 'within the CRD'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
