"""The image: the shipped Dockerfile, unchanged, on a Debian made here, run as Kubernetes would.

No daemon and no registry is asked: mmdebstrap makes a base, buildah builds, podman runs. It needs
root and some packages (`workshop.PROGRAMS`), and is skipped loudly where it cannot be had. What is
slow to make is kept in `.cache/image` (base, wheels, layers): the first run takes two to three
minutes, later ones half a minute.
"""
