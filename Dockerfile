# The RunPod image: a pinned ComfyUI, pinned packs, our node pack and the worker.
# It starts offline, as no root, and can run on a read-only root; models come from a network volume.
#
# `docker build -t you/a1111-worker .`   docs/operations.md says how large it is and what it needs.

FROM python:3.11.13-slim-bookworm AS build

ARG UV_VERSION=0.13.9
ARG COMFYUI_URL=https://github.com/Comfy-Org/ComfyUI
# v0.33.0
ARG COMFYUI_COMMIT=2f35f4a08176d993cded35dac3332be4f7287f41

RUN apt-get update \
    && apt-get install -y --no-install-recommends git ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir --disable-pip-version-check "uv==$UV_VERSION"

# Every package with its hash, down to the last; nothing is resolved while the image is built.
COPY docker/requirements.lock docker/overrides.txt /opt/build/
RUN uv venv /opt/venv --python python3 \
    && uv pip install --no-cache --python /opt/venv/bin/python --no-deps --require-hashes \
        -r /opt/build/requirements.lock

RUN git init -q /opt/ComfyUI \
    && git -C /opt/ComfyUI fetch -q --depth 1 "$COMFYUI_URL" "$COMFYUI_COMMIT" \
    && git -C /opt/ComfyUI checkout -q FETCH_HEAD \
    && rm -rf /opt/ComfyUI/.git

COPY custom_nodes.txt tools/install_packs.py tools/check_image.py /opt/build/
RUN python3 /opt/build/install_packs.py /opt/build/custom_nodes.txt --into /opt/ComfyUI/custom_nodes \
    && /opt/venv/bin/python /opt/build/check_image.py --overrides /opt/build/overrides.txt \
        /opt/ComfyUI/requirements.txt /opt/ComfyUI/custom_nodes/*/requirements.txt \
    && sed -i -e '/^comfyui-workflow-templates/d' -e '/^comfyui-embedded-docs/d' \
        /opt/ComfyUI/requirements.txt
# (The last: ComfyUI warns at every start of what its requirements.txt names and nobody installed.)

# Our own pack is copied as it is.
COPY custom_nodes/comfyui_a1111 /opt/ComfyUI/custom_nodes/comfyui_a1111
# Written now: the running container writes no bytecode. A few files of packages are no Python 3.
RUN /opt/venv/bin/python -m compileall -q -j 0 /opt/venv/lib /opt/ComfyUI >/dev/null || true


FROM python:3.11.13-slim-bookworm AS image

LABEL org.opencontainers.image.title="A1111-to-ComfyUI worker" \
    org.opencontainers.image.description="Answers A1111's API on ComfyUI, as a RunPod worker" \
    org.opencontainers.image.version="0.1.0" \
    comfyui.version="0.33.0"

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    COMFYUI_HOME=/opt/ComfyUI \
    WORKER_HOME=/opt/worker \
    STATE_DIR=/tmp/worker

RUN useradd --uid 1000 --create-home --shell /usr/sbin/nologin worker

COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/ComfyUI /opt/ComfyUI
COPY handler.py pyproject.toml /opt/worker/
COPY translator /opt/worker/translator
COPY worker /opt/worker/worker
COPY server /opt/worker/server
COPY workflows /opt/worker/workflows
COPY docker /opt/worker/docker
RUN python -m compileall -q /opt/worker

USER worker
WORKDIR /opt/worker
# All that is written goes below /tmp: with --read-only give it --tmpfs /tmp.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10m --retries=3 \
    CMD ["python", "/opt/worker/docker/healthcheck.py"]

CMD ["/opt/worker/docker/start.sh"]
