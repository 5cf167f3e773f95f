#!/usr/bin/env bash
# Start script of the image: shows A1111's model folders to ComfyUI, then starts the worker, which
# starts and watches ComfyUI itself (COMFYUI_COMMAND). Nothing is downloaded here.
set -euo pipefail

COMFYUI_HOME=${COMFYUI_HOME:-/opt/ComfyUI}
WORKER_HOME=${WORKER_HOME:-/opt/worker}
COMFYUI_PYTHON=${COMFYUI_PYTHON:-python3}
MODELS_ROOT=${MODELS_ROOT:-/runpod-volume}
COMFYUI_PORT=${COMFYUI_PORT:-8188}
STATE_DIR=${STATE_DIR:-/tmp/worker}

# A network volume that holds a whole webui is taken from its folder.
for inside in stable-diffusion-webui webui; do
  if [ -d "$MODELS_ROOT/$inside/models" ] && [ ! -d "$MODELS_ROOT/models/Stable-diffusion" ]; then
    MODELS_ROOT=$MODELS_ROOT/$inside
  fi
done
[ -d "$MODELS_ROOT" ] || echo "start.sh: no $MODELS_ROOT: is the network volume attached?" >&2

mkdir -p "$STATE_DIR"
paths=$STATE_DIR/extra_model_paths.yaml
sed "s|@MODELS_ROOT@|$MODELS_ROOT|" "$WORKER_HOME/docker/extra_model_paths.yaml" >"$paths"

# InsightFace has no entry in extra_model_paths; its packs look only under ComfyUI's own models.
for faces in "$MODELS_ROOT/models/insightface" \
  "$MODELS_ROOT/extensions/sd-webui-controlnet/annotator/downloads/insightface"; do
  if [ -d "$faces" ] && [ ! -e "$COMFYUI_HOME/models/insightface" ]; then
    ln -s "$faces" "$COMFYUI_HOME/models/insightface"
  fi
done

# Preprocessors take their weights from the volume and never from the network.
export AUX_ANNOTATOR_CKPTS_PATH=${AUX_ANNOTATOR_CKPTS_PATH:-$MODELS_ROOT/models/annotators}
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1} TRANSFORMERS_OFFLINE=${TRANSFORMERS_OFFLINE:-1}

export COMFYUI_DIR=$COMFYUI_HOME
export COMFYUI_URL=${COMFYUI_URL:-http://127.0.0.1:$COMFYUI_PORT}
export COMFYUI_INPUT_DIR=${COMFYUI_INPUT_DIR:-$COMFYUI_HOME/input}
export COMFYUI_COMMAND=${COMFYUI_COMMAND:-$COMFYUI_PYTHON main.py --listen 127.0.0.1 \
--port $COMFYUI_PORT --disable-auto-launch --disable-metadata --preview-method none \
--extra-model-paths-config $paths ${COMFYUI_ARGS:-}}
export MODEL_ROOTS=${MODEL_ROOTS:-$MODELS_ROOT}
[ -f "$MODELS_ROOT/styles.csv" ] && export STYLES_FILE=${STYLES_FILE:-$MODELS_ROOT/styles.csv}

cd "$WORKER_HOME"
exec "$COMFYUI_PYTHON" -u handler.py "$@"
