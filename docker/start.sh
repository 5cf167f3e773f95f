#!/usr/bin/env bash
# Start script of the image: shows the volume's models to ComfyUI, then starts the worker, which
# starts and watches ComfyUI itself (COMFYUI_COMMAND). Nothing is downloaded, and nothing is written
# but below STATE_DIR.
set -euo pipefail

COMFYUI_HOME=${COMFYUI_HOME:-/opt/ComfyUI}
WORKER_HOME=${WORKER_HOME:-/opt/worker}
COMFYUI_PYTHON=${COMFYUI_PYTHON:-python3}
MODELS_ROOT=${MODELS_ROOT:-/runpod-volume}
COMFYUI_PORT=${COMFYUI_PORT:-8188}
STATE_DIR=${STATE_DIR:-/tmp/worker}

say() { echo "start.sh: ${SECONDS}s: $*" >&2; }

# A network volume that holds a whole webui is taken from its folder.
for inside in stable-diffusion-webui webui; do
  if [ -d "$MODELS_ROOT/$inside/models" ] && [ ! -d "$MODELS_ROOT/models/Stable-diffusion" ]; then
    MODELS_ROOT=$MODELS_ROOT/$inside
  fi
done
if [ -d "$MODELS_ROOT" ]; then
  say "models of $MODELS_ROOT"
else
  say "no $MODELS_ROOT: is the network volume attached?"
fi

# ComfyUI's base directory: all that it and its packs write, and links to what they look for.
base=$STATE_DIR/comfyui
mkdir -p "$base"/{input,output,temp,user,models,annotators} "$STATE_DIR/home"
ln -sfn "$COMFYUI_HOME/custom_nodes" "$base/custom_nodes"
paths=$STATE_DIR/extra_model_paths.yaml
sed "s|@MODELS_ROOT@|$MODELS_ROOT|" "$WORKER_HOME/docker/extra_model_paths.yaml" >"$paths"

export MODEL_ROOTS=${MODEL_ROOTS:-$MODELS_ROOT}
cd "$WORKER_HOME"
# Beside ComfyUI's start: its packs look for these when they first run, or are asked what they have.
say "linking what InsightFace, the preprocessors and face restoration look for"
{ "$COMFYUI_PYTHON" -m worker links --base "$base" || say "nothing could be linked"; } &

# Caches and settings of libraries, in a container whose root may be read-only.
export HOME=$STATE_DIR/home XDG_CACHE_HOME=$STATE_DIR/home/.cache MPLCONFIGDIR=$STATE_DIR/home/mpl
export NUMBA_CACHE_DIR=$STATE_DIR/home/numba NO_ALBUMENTATIONS_UPDATE=1
# Preprocessors take their weights from the volume and never from the network.
export AUX_ANNOTATOR_CKPTS_PATH=${AUX_ANNOTATOR_CKPTS_PATH:-$base/annotators}
export HF_HUB_CACHE=${HF_HUB_CACHE:-$MODELS_ROOT/models/huggingface}
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1} TRANSFORMERS_OFFLINE=${TRANSFORMERS_OFFLINE:-1}

# ComfyUI's flags, each with its reason; what a version does not know is left out.
flags=(--listen 127.0.0.1 --port "$COMFYUI_PORT") # only the worker talks to it
flags+=(--base-directory "$base")                 # writes nothing into the image
flags+=(--extra-model-paths-config "$paths")      # A1111's folders
flags+=(--disable-auto-launch)                    # there is no browser
flags+=(--disable-metadata)                       # the worker writes A1111's infotext, not the graph
flags+=(--preview-method none)                    # previews would cost time in every step
known() { grep -q -- "\"$1\"" "$COMFYUI_HOME/comfy/cli_args.py" 2>/dev/null; }
flag() { if known "$1"; then flags+=("$@"); fi; }
flag --cache-classic                # newer: by RAM pressure, which reads the host's memory, not ours
flag --disable-dynamic-vram         # newer: on by default; not compared with A1111's pictures on a GPU
flag --use-pytorch-cross-attention  # one attention on every card, whatever else is installed
flag --database-url sqlite:///:memory: # newer: a database of assets that nobody asks
# Not set: --fp16-intermediates (off by default; 8-bit pictures would differ in their last bits),
# --force-fp16, --fast (both change pictures), --lowvram (ComfyUI chooses by the card), --fp32-vae
# (10 dB nearer to A1111 on a CPU for twice the memory of decoding; docs/performance.md).

export COMFYUI_DIR=$COMFYUI_HOME
export COMFYUI_URL=${COMFYUI_URL:-http://127.0.0.1:$COMFYUI_PORT}
export COMFYUI_INPUT_DIR=${COMFYUI_INPUT_DIR:-$base/input}
export COMFYUI_COMMAND=${COMFYUI_COMMAND:-$COMFYUI_PYTHON main.py ${flags[*]} ${COMFYUI_ARGS:-}}
WILDCARDS=$MODELS_ROOT/extensions/sd-dynamic-prompts/wildcards
[ -d "$WILDCARDS" ] && export WILDCARDS_DIR=${WILDCARDS_DIR:-$WILDCARDS}
[ -f "$MODELS_ROOT/styles.csv" ] && export STYLES_FILE=${STYLES_FILE:-$MODELS_ROOT/styles.csv}

say "starting the worker, and with it: $COMFYUI_COMMAND"
exec "$COMFYUI_PYTHON" -u handler.py "$@"
