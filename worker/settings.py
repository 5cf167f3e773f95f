"""The worker's settings: environment variables in, one frozen `Settings` out.

Every variable stands once, in the class body below, with its default and its description;
docs/operations.md is checked against it.
"""

# ruff: noqa: RUF009 - the calls in the class body make dataclass fields

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from translator.request.schema import TRUTH_WORDS
from worker.errors import SettingsError

_T = TypeVar("_T")

MEGABYTE = 1_000_000


def _text(raw: str) -> str:
    return raw


def _integer(raw: str) -> int:
    return int(raw)


def _number(raw: str) -> float:
    return float(raw)


def _flag(raw: str) -> bool:
    return TRUTH_WORDS[raw.lower()]


def _words(raw: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in raw.split(",") if word.strip())


def _paths(raw: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in raw.split(os.pathsep) if part)


def _path(raw: str) -> Path | None:
    return Path(raw)


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw.lower() not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return raw.lower()

    return parse


def _json_object(raw: str) -> str:
    """JSON text, or the name of a file that holds it; checked here, kept as text (hashable)."""
    text = raw if raw.lstrip().startswith("{") else Path(raw).read_text("utf-8")
    if not isinstance(json.loads(text), dict):
        raise ValueError("a JSON object, or a file that holds one")
    return text


def _env(name: str, default: _T, parse: Callable[[str], _T], doc: str) -> _T:
    """A field read from the environment variable `name`; `doc` is its line in the manual."""
    value: _T = field(default=default, metadata={"env": name, "parse": parse, "doc": doc})
    return value


@dataclass(frozen=True)
class Settings:
    """Everything an operator can set. Durations are in seconds unless the name says otherwise."""

    # ComfyUI
    comfyui_url: str = _env("COMFYUI_URL", "http://127.0.0.1:8188", _text, "Where ComfyUI listens.")
    comfyui_command: str = _env(
        "COMFYUI_COMMAND",
        "",
        _text,
        "Command line that starts ComfyUI. With it the worker starts, watches and restarts "
        "ComfyUI; without it ComfyUI is somebody else's.",
    )
    comfyui_dir: Path | None = _env(
        "COMFYUI_DIR", None, _path, "Working directory of COMFYUI_COMMAND."
    )
    input_dir: Path | None = _env(
        "COMFYUI_INPUT_DIR",
        None,
        _path,
        "ComfyUI's input folder, if the worker shares its disk: images that leave the upload "
        "store are removed from it.",
    )
    startup_timeout_s: float = _env(
        "COMFYUI_STARTUP_TIMEOUT_S",
        300.0,
        _number,
        "How long a ComfyUI started by COMFYUI_COMMAND may take until it answers.",
    )
    wait_s: float = _env(
        "COMFYUI_WAIT_S",
        15.0,
        _number,
        "How long a job waits for a ComfyUI that does not answer, where there is no "
        "COMFYUI_COMMAND (with one it is COMFYUI_STARTUP_TIMEOUT_S).",
    )
    http_timeout_s: float = _env(
        "COMFYUI_HTTP_TIMEOUT_S", 30.0, _number, "Limit of one HTTP request to ComfyUI."
    )
    silence_s: float = _env(
        "COMFYUI_SILENCE_S",
        5.0,
        _number,
        "A run of which the websocket says nothing for so long is looked up over HTTP.",
    )
    ping_s: float = _env(
        "COMFYUI_PING_S",
        20.0,
        _number,
        "A websocket that is silent for so long is pinged; silent as long again, it is replaced.",
    )
    reconnect_delay_s: float = _env(
        "COMFYUI_RECONNECT_DELAY_S",
        0.025,
        _number,
        "Pause between two attempts to connect the websocket.",
    )
    interrupt_grace_s: float = _env(
        "COMFYUI_INTERRUPT_GRACE_S",
        10.0,
        _number,
        "How long an interrupted run may go on before a ComfyUI of the worker's own is killed "
        "and started again.",
    )
    resubmissions: int = _env(
        "COMFYUI_RESUBMISSIONS",
        1,
        _integer,
        "How often a run that had begun is submitted again when ComfyUI loses it.",
    )
    image_output: str = _env(
        "IMAGE_OUTPUT",
        "auto",
        _one_of("auto", "save", "preview", "websocket"),
        "How images leave ComfyUI: over the websocket, or as files of SaveImage or PreviewImage. "
        "auto: the websocket where the server can label its frames, else preview.",
    )

    workflow_output: str = _env(
        "WORKFLOW_OUTPUT",
        "auto",
        _one_of("auto", "keep"),
        "auto: images that a submitted workflow saves with SaveImage come over the websocket, "
        "which is faster, and no file stays on the server, where the server can label its frames. "
        "keep: the workflow runs as it is.",
    )

    # Jobs
    job_timeout_s: float = _env(
        "JOB_TIMEOUT_S",
        600.0,
        _number,
        "Time limit of a job, from its arrival to its answer. A shorter limit in the job's policy "
        "(executionTimeout, milliseconds) goes before.",
    )
    concurrency: int = _env(
        "WORKER_CONCURRENCY",
        3,
        _integer,
        "Jobs taken at once: one samples, one waits in ComfyUI's queue, one is being answered.",
    )
    refresh_worker: bool = _env(
        "REFRESH_WORKER", False, _flag, "Ask RunPod for a fresh worker after every job."
    )
    warmup_request: str = _env(
        "WARMUP_REQUEST",
        "",
        _json_object,
        "A job input (JSON, or a file that holds it) that is run before the first job is taken, "
        "so that the models are loaded.",
    )
    progress_interval_s: float = _env(
        "PROGRESS_INTERVAL_S",
        2.0,
        _number,
        "Shortest time between two progress updates of a job; 0 turns them off.",
    )
    progress_preview: bool = _env(
        "PROGRESS_PREVIEW",
        False,
        _flag,
        "Put the sampler's preview image into progress updates (ComfyUI must run with a "
        "--preview-method).",
    )
    comfy_org_api_key: str = _env(
        "COMFY_ORG_API_KEY", "", _text, "Key for ComfyUI's API nodes; a job's own goes before."
    )

    # Translation
    unsupported: str = _env(
        "UNSUPPORTED",
        "error",
        _one_of("error", "warn"),
        "What becomes of a valid field that cannot be honoured: an error, or what A1111 would do "
        "and a warning.",
    )
    fidelity: str = _env(
        "FIDELITY",
        "exact",
        _one_of("exact", "core"),
        "exact uses the A1111 node pack where ComfyUI has it, core never does.",
    )
    a1111_defaults: str = _env(
        "A1111_DEFAULTS",
        "a1111",
        _one_of("a1111", "runpod-worker-a1111"),
        "Whose defaults fill in what a request leaves out.",
    )
    detected_maps: str = _env(
        "CONTROLNET_DETECTED_MAPS",
        "result",
        _one_of("result", "all"),
        "One detected map a unit at the result's size, or every map A1111 answers.",
    )
    embed_workflow: bool = _env(
        "EMBED_WORKFLOW",
        False,
        _flag,
        "Answered PNGs carry their graph: dropped on ComfyUI's editor they open it.",
    )
    default_checkpoint: str = _env(
        "DEFAULT_CHECKPOINT", "", _text, "Checkpoint of a request that names none."
    )
    a1111_options: str = _env(
        "A1111_OPTIONS",
        "{}",
        _json_object,
        "A1111 options under every request's override_settings (JSON, or a file that holds it).",
    )
    options_file: Path | None = _env(
        "A1111_OPTIONS_FILE",
        None,
        _path,
        "JSON file (such as A1111's config.json) that keeps the A1111 options set over the API; it "
        "lies over A1111_OPTIONS.",
    )
    styles_file: Path | None = _env("STYLES_FILE", None, _path, "A1111's styles.csv.")
    wildcards_dir: Path | None = _env(
        "WILDCARDS_DIR",
        None,
        _path,
        "Folder with Dynamic Prompts' wildcards (`.txt`, `.yaml`, `.json`), read at the start.",
    )
    architectures: str = _env(
        "MODEL_ARCHITECTURES",
        "{}",
        _json_object,
        "Checkpoint name to SD1, SD2, SDXL or SDXL-refiner, for files that cannot be read (JSON, "
        "or a file that holds it).",
    )
    model_roots: tuple[Path, ...] = _env(
        "MODEL_ROOTS",
        (),
        _paths,
        "Folders with models in A1111's or ComfyUI's layout, separated by ':'. What can be read "
        "there is identified by its header and hash.",
    )
    hash_models: bool = _env(
        "HASH_MODELS",
        True,
        _flag,
        "Compute model hashes as A1111 does, in the background and once a file.",
    )
    hash_cache: Path | None = _env(
        "HASH_CACHE", None, _path, "File that keeps model hashes between starts."
    )

    download_hosts: tuple[str, ...] = _env(
        "DOWNLOAD_HOSTS",
        (),
        _words,
        "Hosts, with those below them, from which v1/download and v1/sync may fetch model files "
        "into MODEL_ROOTS, separated by commas (huggingface.co,hf.co,civitai.com); empty: none.",
    )
    max_download_bytes: int = _env(
        "MAX_DOWNLOAD_BYTES", 20_000_000_000, _integer, "Bytes of one downloaded model file."
    )

    # Direct submission
    workflows_dir: Path = _env(
        "WORKFLOWS_DIR",
        Path(__file__).resolve().parent.parent / "workflows",
        Path,
        "Folder of the workflows that can be named in direct submission.",
    )
    node_allow_list: tuple[str, ...] = _env(
        "NODE_ALLOW_LIST",
        (),
        _words,
        "Node classes a directly submitted workflow may use, separated by commas; empty: all.",
    )

    # Limits
    max_pixels: int = _env("MAX_PIXELS", 4096 * 4096, _integer, "Pixels of one generated image.")
    max_grid_pixels: int = _env(
        "MAX_GRID_PIXELS", 256_000_000, _integer, "Pixels of one grid, without its legend."
    )
    max_steps: int = _env("MAX_STEPS", 200, _integer, "Sampling steps of one pass.")
    max_images: int = _env(
        "MAX_IMAGES",
        64,
        _integer,
        "Generated images of one job, tiles and loops of scripts included.",
    )
    max_nodes: int = _env("MAX_NODES", 1000, _integer, "Nodes of a directly submitted workflow.")
    max_input_pixels: int = _env(
        "MAX_INPUT_PIXELS", 64_000_000, _integer, "Pixels of one image sent with a job."
    )
    max_input_bytes: int = _env(
        "MAX_INPUT_BYTES", 50 * MEGABYTE, _integer, "Bytes of one image sent with a job, decoded."
    )
    image_urls: bool = _env(
        "IMAGE_URLS",
        False,
        _flag,
        "Take http(s) addresses in place of base64 images. Private addresses are never fetched.",
    )
    stored_uploads: int = _env(
        "STORED_UPLOADS",
        256,
        _integer,
        "Uploaded images that are remembered, so that the same image is not uploaded again.",
    )

    # Results
    result_limit: int = _env(
        "RESULT_LIMIT_BYTES", 10 * MEGABYTE, _integer, "Largest answer of a /run job."
    )
    result_limit_sync: int = _env(
        "RESULT_LIMIT_SYNC_BYTES", 20 * MEGABYTE, _integer, "Largest answer of a /runsync job."
    )
    oversize: tuple[str, ...] = _env(
        "RESULT_OVERSIZE",
        ("s3", "webp", "jpeg"),
        _words,
        "What is tried, in order, with an answer that is too large: s3 (upload), webp (lossless), "
        "jpeg (falling quality, with a warning). Then it is an error.",
    )
    upload_results: str = _env(
        "RESULT_UPLOAD",
        "auto",
        _one_of("auto", "always", "large"),
        "When images go to the bucket: always, only when the answer is too large, or auto: always "
        "for direct submission (as worker-comfyui does), when too large for A1111 answers.",
    )
    bucket_url: str = _env(
        "BUCKET_ENDPOINT_URL", "", _text, "S3 endpoint for results; empty: no uploads."
    )
    bucket_key: str = _env("BUCKET_ACCESS_KEY_ID", "", _text, "Access key of the bucket.")
    bucket_secret: str = _env("BUCKET_SECRET_ACCESS_KEY", "", _text, "Secret of the bucket.")
    bucket_name: str = _env(
        "BUCKET_NAME", "", _text, "Bucket; empty: month and year as RunPod's SDK names it (05-26)."
    )
    bucket_expiry_s: int = _env(
        "BUCKET_URL_EXPIRY_S", 604_800, _integer, "Life of a presigned result URL."
    )

    # Running
    log_level: str = _env(
        "LOG_LEVEL", "info", _one_of("debug", "info", "warning", "error"), "Least level logged."
    )
    health_port: int = _env(
        "PORT_HEALTH",
        0,
        _integer,
        "Port of GET /ping for load-balancing endpoints (200 ready, 204 starting); 0: none.",
    )

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Settings from environment variables; an empty variable counts as not set.

        Raises:
            SettingsError: a value that does not parse, with the variable's name.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for item in fields(cls):
            raw = environment.get(item.metadata["env"], "").strip()
            if raw:
                values[item.name] = _parse(item.metadata, raw)
        return cls(**values)

    @property
    def patience_s(self) -> float:
        """How long a job waits for a ComfyUI that does not answer."""
        return self.startup_timeout_s if self.comfyui_command else self.wait_s

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must appear in no message and no log line."""
        held = (self.bucket_key, self.bucket_secret, self.comfy_org_api_key)
        return tuple(value for value in held if value)

    @property
    def model_prefixes(self) -> tuple[str, ...]:
        """Paths below which a file may be named in a message."""
        return tuple(str(root) for root in self.model_roots)


def _parse(metadata: Mapping[str, Any], raw: str) -> Any:
    try:
        return metadata["parse"](raw)
    except (KeyError, ValueError, OSError) as error:
        reason = f" ({error})" if isinstance(error, ValueError | OSError) else ""
        raise SettingsError(f"{metadata['env']}: {raw[:80]!r} cannot be used{reason}") from error


def variables() -> list[tuple[str, str, str]]:
    """Every environment variable: name, default, description."""
    return [
        (item.metadata["env"], _shown(item.default), item.metadata["doc"])
        for item in fields(Settings)
    ]


def manual() -> str:
    """The table of docs/operations.md; ``python -m worker.settings`` prints it."""
    rows = [
        f"| `{name}` | {f'`{default}`' if default else ''} | {doc} |"
        for name, default, doc in variables()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def _shown(default: object) -> str:
    if default is None or default == "":
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, Path):
        return default.name
    return str(default)


if __name__ == "__main__":
    print(manual())
