"""The cases of `ci/`, each rendered once."""

import functools
from pathlib import Path

import pytest
import yaml

from tests.helm.chart import CI, Manifest, rendered_text

CI_FILES = sorted(CI.glob("*.yaml"))
every_case = pytest.mark.parametrize("file", CI_FILES, ids=lambda file: file.stem)


@functools.cache
def text_of(file: Path) -> str:
    """A case, rendered once."""
    return rendered_text(file)


def case(name: str) -> list[Manifest]:
    """The manifests of a case of `ci/`; the caller's own."""
    return [each for each in yaml.safe_load_all(text_of(CI / f"{name}.yaml")) if each]
