# The image of imds-verifier.
#
#   docker build --tag imds-verifier .
#   docker build --target sbom --output sbom .                               the bill of materials, CycloneDX
#   docker build --build-arg BASE_IMAGE=docker.io/library/python:3.13-slim@sha256:… --tag imds-verifier .
#
# The default base is a tag, which names the newest patch release. For production, name the base by digest, so that two
# builds have the same base: docs/operate/kubernetes.md says how to look it up.
# Any base with Python 3.11, 3.12 or 3.13 as `python3`, its venv module and glibc will do.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim

FROM ${BASE_IMAGE} AS build
SHELL ["/bin/sh", "-eu", "-c"]
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_CACHE=1
WORKDIR /build
COPY tools/uv.txt tools/build.txt tools/
RUN python3 -m venv /tools \
    && /tools/bin/python -m pip install --no-cache-dir --require-hashes --only-binary :all: -r tools/uv.txt
COPY pyproject.toml uv.lock README.md LICENSE ./
# Everything that is installed is named with its hash: by uv.lock, and the wheel by the one that it is built with.
RUN /tools/bin/uv export --quiet --locked --no-default-groups --extra otel --no-emit-project \
      --format requirements.txt --output-file requirements.txt \
    && /tools/bin/uv venv --quiet --python "$(command -v python3)" /opt/imds-verifier \
    && /tools/bin/uv pip install --quiet --python /opt/imds-verifier --require-hashes --only-binary :all: \
      --compile-bytecode -r requirements.txt
COPY tools/bill_of_materials.py tools/sbom_hook.py tools/
COPY verifier verifier
COPY trust_roots trust_roots
RUN /tools/bin/uv build --quiet --wheel --require-hashes --build-constraints tools/build.txt --out-dir dist \
    && sha256sum dist/*.whl > wheel.sha256 \
    && sed 's|^\(.*\)  \(.*\)$|./\2 --hash=sha256:\1|' wheel.sha256 > wheel.txt \
    && /tools/bin/uv pip install --quiet --python /opt/imds-verifier --no-deps --require-hashes --compile-bytecode \
      -r wheel.txt \
    && cp /opt/imds-verifier/lib/python3.*/site-packages/imds_verifier-*.dist-info/sboms/imds-verifier.cdx.json . \
    && mkdir state

FROM scratch AS sbom
COPY --from=build /build/imds-verifier.cdx.json /

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imds-verifier" \
      org.opencontainers.image.description="Verifies Azure IMDS attested documents and returns their claims." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY --from=build /opt/imds-verifier /opt/imds-verifier
COPY --from=build /build/imds-verifier.cdx.json /opt/imds-verifier/share/imds-verifier.cdx.json
# With a read-only root, mount a tmpfs at /tmp, and a volume here if nonces are kept in SQLite.
COPY --from=build --chown=65532:65532 /build/state /var/lib/imds-verifier
# In a container, no client reaches loopback. Without tenants, the service refuses to listen openly, and says so.
ENV PATH=/opt/imds-verifier/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    XDG_STATE_HOME=/var/lib \
    VERIFIER_HOST=0.0.0.0 \
    VERIFIER_METRICS_PORT=9090
USER 65532:65532
WORKDIR /
EXPOSE 8080
STOPSIGNAL SIGTERM
# Without a shell, by a module that starts in a tenth of a second. It probes the metrics listener, which answers
# also while callers take every connection of the other. Set VERIFIER_METRICS_HOST to read the metrics from outside.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["/opt/imds-verifier/bin/python", "-P", "-m", "verifier.cli.health"]
ENTRYPOINT ["/opt/imds-verifier/bin/imds-verifier"]
CMD ["serve"]
