# Any image with Python >= 3.11 and pip will do as the base; both stages use the same one.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /src

# The dependencies are a layer of their own: a change of the sources alone does not install them again.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python3 -m pip install --no-deps --require-hashes -r requirements/build.txt \
 && python3 -m venv --without-pip /opt/authgate \
 && python3 -m pip --python /opt/authgate/bin/python install --no-compile --no-deps --require-hashes \
    -r requirements/runtime.txt

COPY LICENSE README.md pyproject.toml ./
COPY authgate authgate

# Bytecode is made here and once: the image's files are not the server's to write, and need not be compared with
# their sources at each start.
RUN python3 -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
 && python3 -m pip --python /opt/authgate/bin/python install --no-compile --no-deps --no-index dist/*.whl \
 && python3 -m pip --python /opt/authgate/bin/python check \
 && /opt/authgate/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/authgate/lib


FROM ${PYTHON_IMAGE}

ARG VERSION=dev
LABEL org.opencontainers.image.title="authgate" \
      org.opencontainers.image.description="Verifies Kubernetes ServiceAccount and OIDC tokens for a proxy's auth subrequests" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"

ENV PATH=/opt/authgate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

COPY --from=build /opt/authgate /opt/authgate

# A number, so that Kubernetes' runAsNonRoot can see that it is not root.
USER 65532:65532

# The verify port and the admin port.
EXPOSE 8080 9090

HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/opt/authgate/bin/authgate", "healthcheck"]

# No shell anywhere: the script's first line names the interpreter by its path.
ENTRYPOINT ["/opt/authgate/bin/authgate"]
CMD ["serve"]
