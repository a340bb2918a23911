"""The fake kubelet outlives what a server may do to a watch."""

import json
import socket

import pytest

from tests.cluster.namespace import Namespace

pytestmark = pytest.mark.cluster

WAIT = ("--wait", "--timeout=30s")


def test_pods_live_after_a_watch_was_cut(namespace: Namespace) -> None:
    """The next watch begins with all pods there are."""
    watch = namespace.kubernetes.kubelet._watch
    assert watch.sock is not None
    watch.sock.shutdown(socket.SHUT_RDWR)
    namespace.install(*WAIT)
    assert {"giftcheck-0", "giftcheck-1"} == namespace.ready_pods()


def test_a_watch_that_ends_with_an_error_is_over(namespace: Namespace) -> None:
    """What comes with it is a status and no pod."""
    error = {"type": "ERROR", "object": {"kind": "Status", "metadata": {}, "status": "Failure"}}
    after = iter([json.dumps(error).encode(), b"never read"])
    namespace.kubernetes.kubelet._heed(after)
    assert b"never read" == next(after)
