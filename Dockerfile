# The base can be any image with Python >= 3.11 and pip. Both stages use the same one.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build

# The extras to install: cel (CEL expressions), grpc (Envoy's gRPC protocol) and otel (traces). Empty: none.
ARG EXTRAS=cel,grpc,otel

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /src

# prune.py removes debug symbols with strip, 30 MB. Without strip, it keeps them.
# hadolint ignore=DL3008
RUN if command -v apt-get >/dev/null; then \
        apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*; \
    fi

# Get dependencies in their own layer, so a change in the sources does not download them again.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python3 -m pip install --no-deps --require-hashes -r requirements/build.txt \
 && python3 -m pip wheel --no-deps --require-hashes --wheel-dir wheels -r requirements/runtime.txt

COPY LICENSE README.md pyproject.toml ./
COPY authgate authgate
COPY deploy/image deploy/image

# Compile bytecode at build time: the server cannot write to the image's files. With unchecked-hash, Python does not compare
# bytecode with sources at startup. The sources stay, because tracebacks quote them.
RUN python3 -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir wheels . \
 && python3 -m venv --without-pip /opt/authgate \
 && python3 -m pip --python /opt/authgate/bin/python install --no-compile --no-index --find-links wheels \
    "authgate[${EXTRAS}]" \
 && python3 -m pip --python /opt/authgate/bin/python check \
 && /opt/authgate/bin/python deploy/image/prune.py \
 && /opt/authgate/bin/python -B -c 'import authgate.cluster.typed_api, authgate.cli' \
 && /opt/authgate/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/authgate/lib


FROM ${PYTHON_IMAGE}

ARG VERSION=dev
LABEL org.opencontainers.image.title="authgate" \
      org.opencontainers.image.description="Verifies Kubernetes ServiceAccount and OIDC tokens for a proxy's auth subrequests" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/authgate/authgate" \
      org.opencontainers.image.url="https://authgate.github.io/authgate/" \
      org.opencontainers.image.version="${VERSION}"

ENV PATH=/opt/authgate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

COPY --from=build /opt/authgate /opt/authgate

# Kubernetes' runAsNonRoot needs a numeric user.
USER 65532:65532

# The verify port and the admin port.
EXPOSE 8080 9090

HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/opt/authgate/bin/authgate", "healthcheck"]

# Runs without a shell: the script's first line is the interpreter's path.
ENTRYPOINT ["/opt/authgate/bin/authgate"]
CMD ["serve"]
