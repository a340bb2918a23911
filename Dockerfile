# The image of giftcheck: the locked dependencies, the package, and nothing that could build more.
#
#     docker build --tag giftcheck .
#     docker build --secret id=pip.conf,src=pip.conf --tag giftcheck .    # another package index
#
# BASE is any glibc image with python3 (3.11 or later) and its venv module; both stages use it, so
# that the environment fits. Pin it by digest where builds must be repeatable. tests/image builds
# this file unchanged, on a base of its own.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# Times in the wheel are this one; `--timestamp` (buildah) or `rewrite-timestamp` (BuildKit) does
# the same for files in layers.
ARG SOURCE_DATE_EPOCH=1767225600
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# /opt/giftcheck gets no pip of its own: the one of /build/venv installs into it.
RUN python3 -m venv /build/venv && python3 -m venv --without-pip /opt/giftcheck
# Dependencies change seldom: a layer of their own.
COPY requirements-image.lock requirements-build.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /build/venv/bin/pip install --no-deps --require-hashes --requirement requirements-build.lock \
    && /build/venv/bin/pip --python /opt/giftcheck/bin/python3 install \
        --no-deps --require-hashes --only-binary :all: --requirement requirements-image.lock
COPY pyproject.toml README.md LICENSE ./
COPY consumer consumer
COPY schemas schemas
# Bytecode that does not look at times, for the root file system is read-only and never changes.
RUN SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH}" /build/venv/bin/pip wheel \
        --no-deps --no-build-isolation --wheel-dir dist . \
    && /build/venv/bin/pip --python /opt/giftcheck/bin/python3 install --no-deps --no-index dist/*.whl \
    && /opt/giftcheck/bin/python3 -m compileall -q --invalidation-mode unchecked-hash \
        /opt/giftcheck/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="giftcheck" \
    org.opencontainers.image.description="Asks what became of virtual gifts and publishes one result for each, exactly once." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# Away with what the base brings to install more (in the two usual places: python's image, Debian's
# packages), and nobody becomes somebody else.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/* \
        /usr/local/lib/python3*/ensurepip /usr/lib/python3*/ensurepip /usr/share/python-wheels \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /opt/giftcheck /opt/giftcheck
ENV PATH=/opt/giftcheck/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1
# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# No HEALTHCHECK: Kubernetes ignores it, and has probes (/livez, /readyz).
ENTRYPOINT ["giftcheck"]
CMD ["run", "--config", "/etc/giftcheck/giftcheck.yaml"]
