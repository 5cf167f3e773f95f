# The RunPod image: a pinned ComfyUI, pinned packs, our node pack and the worker.
# It starts offline; models come from a network volume in A1111's own folder layout.
FROM python:3.11.13-slim-bookworm AS image

ARG COMFYUI_URL=https://github.com/Comfy-Org/ComfyUI
# 0.3.64
ARG COMFYUI_COMMIT=a125cd84b054a57729b5eecab930ca9408719832
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu128

ENV DEBIAN_FRONTEND=noninteractive \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    COMFYUI_HOME=/opt/ComfyUI \
    WORKER_HOME=/opt/worker

# git: to fetch at pinned commits; g++: insightface compiles; GL and glib: opencv.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git g++ libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

COPY docker/constraints.txt /opt/constraints.txt
ENV PIP_CONSTRAINT=/opt/constraints.txt

RUN git init -q "$COMFYUI_HOME" \
    && git -C "$COMFYUI_HOME" fetch -q --depth 1 "$COMFYUI_URL" "$COMFYUI_COMMIT" \
    && git -C "$COMFYUI_HOME" checkout -q FETCH_HEAD \
    && pip install torch torchvision torchaudio --extra-index-url "$TORCH_INDEX" \
    && pip install -r "$COMFYUI_HOME/requirements.txt"

COPY custom_nodes.txt /opt/custom_nodes.txt
COPY tools/install_packs.py /opt/install_packs.py
RUN python3 /opt/install_packs.py /opt/custom_nodes.txt --into "$COMFYUI_HOME/custom_nodes"

COPY pyproject.toml README.md handler.py $WORKER_HOME/
COPY translator $WORKER_HOME/translator
COPY worker $WORKER_HOME/worker
COPY devserver $WORKER_HOME/devserver
COPY workflows $WORKER_HOME/workflows
COPY docker $WORKER_HOME/docker
RUN pip install -e "$WORKER_HOME[s3]"

# Our own pack is copied as it is.
COPY custom_nodes/comfyui_a1111 $COMFYUI_HOME/custom_nodes/comfyui_a1111

CMD ["/opt/worker/docker/start.sh"]
