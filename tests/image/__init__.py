"""The image: the shipped Dockerfile, unchanged, on a Debian made here, run as Kubernetes would.

No daemon and no registry is asked: mmdebstrap makes a base, buildah builds, podman runs. It needs
root and those packages (`MISSING` says which), and is skipped loudly without; with `CI=true` that
is a failure. What is slow to make is kept in `.cache/image` (base, wheels, layers): the first run
takes two to three minutes, later ones half a minute.
"""
