"""The chart on a real Kubernetes API server: `make cluster`.

What rendering cannot show: what the server admits and refuses, what its controllers make of it, and
what an upgrade, a rollback, an eviction and an uninstall leave. There is no node: pods are brought to
life and to their end by a fake kubelet.
"""
