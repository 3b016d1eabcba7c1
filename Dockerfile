# The base can be any image with Python 3.11 or later and its venv module; both stages need the same. A tag can be moved
# to another image, a digest cannot: for a release, build with --build-arg BASE=python@sha256:… (docs/kubernetes.md).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
# Two environments: what builds stays behind in this stage, the image gets what runs, without a pip.
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/rotator
COPY requirements/ requirements/
# An index of your own: --secret id=pip.conf,src=FILE, which leaves no trace in a layer.
# The lists are complete: a resolver has nothing to add, and would ask for whatever was released since.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    sed -n '/^setuptools==/,/[^\\]$/p' requirements/dev.txt > requirements/build.txt \
    && tools/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.txt \
    && tools/bin/pip --python /opt/rotator/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes \
       -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY rotator/ rotator/
# Byte code that goes by the time of its source is out of date for half of the files once a layer has rounded it.
RUN tools/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir dist . \
    && tools/bin/pip --python /opt/rotator/bin/python install --no-cache-dir --no-compile --no-index --no-deps \
       --find-links dist rotator \
    && /opt/rotator/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/rotator/lib

FROM ${BASE}
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rotator" \
      org.opencontainers.image.description="Rotates the API secrets of Nexmo/Vonage accounts and publishes them in Vault" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /opt/rotator /opt/rotator
# Nothing is to be written: all byte code is there.
ENV PATH=/opt/rotator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532
EXPOSE 9464
STOPSIGNAL SIGTERM
# Of the daemon at its usual port; Kubernetes has probes of its own.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]
ENTRYPOINT ["rotator"]
CMD ["run"]
