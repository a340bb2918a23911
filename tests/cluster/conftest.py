"""One Kubernetes for all tests, and a namespace for each.

Its binaries take long to build, so these tests run only where `-m cluster` asks for them; elsewhere
they are not selected, and pytest counts them so.
"""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cluster import kinds
from tests.cluster.binaries import MissingError
from tests.cluster.namespace import Namespace
from tests.cluster.server import Kubernetes, running_kubernetes
from tests.helm.tools import no_tool


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave ours out where nobody asks for them."""
    if "cluster" not in config.option.markexpr:
        ours = [each for each in items if each.get_closest_marker("cluster")]
        items[:] = [each for each in items if each not in ours]
        config.hook.pytest_deselected(items=ours)


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """A real API server with its controllers; it knows the kinds of KEDA, Strimzi and Prometheus."""
    with ExitStack() as stack:
        try:
            started = running_kubernetes(tmp_path_factory.mktemp("kubernetes"))
            running = stack.enter_context(started)
        except MissingError as error:
            no_tool(f"NO KUBERNETES, SO THE CHART MEETS NO API SERVER: {error}")
        kinds.define(running.api)
        yield running


@pytest.fixture
def namespace(kubernetes: Kubernetes) -> Namespace:
    """A namespace that no other test uses."""
    return Namespace(kubernetes, f"gifts-{secrets.token_hex(4)}")
