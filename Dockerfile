# Two stages: the first installs what is locked and makes our wheel, the second holds only the result.
# Nothing is compiled: every dependency comes as a wheel whose hash is in requirements/.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /build

# The dependencies first: this layer is kept until the lock changes. Our wheel is then installed from
# outside, so /opt/venv never holds pip.
RUN python -m venv /opt/tools && python -m venv --without-pip /opt/venv
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN /opt/tools/bin/pip --python /opt/venv/bin/python install --require-hashes --only-binary :all: -r requirements/runtime.txt \
    && /opt/tools/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt

COPY . .
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/tools/bin/pip --python /opt/venv/bin/python install --no-deps --no-index dist/*.whl


FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="evaluator" \
      org.opencontainers.image.description="Online evaluation for LLM applications traced in Langfuse" \
      org.opencontainers.image.version="0.1.0"
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin evaluator \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/evaluator
COPY --from=builder /opt/venv /opt/venv
WORKDIR /app
COPY config /app/config
# The file system may be read-only: state lives in Redis or in the volume, matplotlib's cache in /tmp.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp \
    EVALUATOR_DATA=/var/lib/evaluator \
    EVALUATOR_STATUS_PORT=8321
VOLUME /var/lib/evaluator
USER 10001:10001
# The process itself: an outage of Redis or Langfuse is no reason to start it again (/readyz tells of them).
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; to = http.client.HTTPConnection('127.0.0.1', int(os.environ['EVALUATOR_STATUS_PORT']), timeout=5); to.request('GET', '/healthz'); sys.exit(to.getresponse().status != 200)"]
ENTRYPOINT ["evaluator"]
CMD ["run"]
