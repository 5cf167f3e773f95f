"""Real clients, and what applications send, against the server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from devserver import DevServer
from tests.server.calls import CALLS
from tests.server.conftest import Running, local
from tests.worker.graphs import opened, picture

webuiapi = pytest.importorskip("webuiapi", reason="pip install webuiapi")
sd_backend_client = pytest.importorskip("sd_backend_client", reason="pip install sd-backend-client")

NODE_FOLDER = Path(__file__).parents[2] / ".cache" / "node"


@pytest.mark.parametrize("application", list(CALLS))
def test_an_applications_calls_are_answered(server: Running, application: str) -> None:
    image = picture(60, (64, 64))
    for method, path, body in CALLS[application]:
        sent = json.loads(json.dumps(body).replace("@picture", image)) if body else body
        reply = server.get(path) if method == "GET" else server.post(path, sent)
        assert reply.status_code == 200, (path, reply.text)
        answer = reply.json()
        if path == "sdapi/v1/txt2img":
            assert all(opened(item).size[0] >= 64 for item in answer["images"])
            assert len(json.loads(answer["info"])["infotexts"]) >= 1
        if path == "sdapi/v1/extra-single-image":
            assert opened(answer["image"]).size == (128, 128)


@pytest.fixture
def client(server: Running) -> Any:
    return webuiapi.WebUIApi(host="127.0.0.1", port=server.port)


class TestWebuiapi:
    def test_txt2img(self, client: Any) -> None:
        result = client.txt2img(prompt="a cat", seed=3, steps=2, width=64, height=64, n_iter=2)
        assert [image.size for image in result.images] == [(64, 64)] * 2
        assert result.info["all_seeds"] == [3, 4]
        assert result.parameters["prompt"] == "a cat"

    def test_hires_fix_and_override(self, client: Any) -> None:
        result = client.txt2img(
            prompt="a cat",
            steps=2,
            width=64,
            height=64,
            enable_hr=True,
            hr_scale=2,
            hr_upscaler=webuiapi.HiResUpscaler.Latent,
            denoising_strength=0.7,
            override_settings={"sd_model_checkpoint": "sd_xl_base_1.0"},
        )
        assert result.image.size == (128, 128)

    def test_controlnet(self, client: Any) -> None:
        unit = webuiapi.ControlNetUnit(
            image=Image.new("RGB", (64, 64)), module="canny", model="control_v11p_sd15_canny"
        )
        result = client.txt2img(
            prompt="a cat", steps=2, width=64, height=64, controlnet_units=[unit]
        )
        assert len(result.images) == 2, "the picture and its map"
        with pytest.raises(RuntimeError, match="No image selected"):
            # It names the images as the extension did before 1.1; a newer extension says so too.
            client.controlnet_detect(images=[Image.new("RGB", (64, 64))], module="canny")
        assert "canny" in client.controlnet_module_list()
        assert client.controlnet_model_list()
        assert client.controlnet_version() == 3

    def test_extras_and_png_info(self, client: Any) -> None:
        image = Image.new("RGB", (64, 48))
        result = client.extra_single_image(
            image=image, upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=2
        )
        assert result.image.size == (128, 96)
        result = client.extra_batch_images(images=[image, image], upscaler_1="Lanczos")
        assert len(result.images) == 2
        made = client.txt2img(prompt="a cat", steps=2, width=64, height=64)
        assert client.png_info(made.image).info.startswith("a cat\n")

    def test_lists_and_state(self, client: Any) -> None:
        for ask in (
            client.get_cmd_flags,
            client.get_samplers,
            client.get_schedulers,
            client.get_sd_vae,
            client.get_upscalers,
            client.get_latent_upscale_modes,
            client.get_loras,
            client.get_sd_models,
            client.get_hypernetworks,
            client.get_face_restorers,
            client.get_realesrgan_models,
            client.get_prompt_styles,
            client.get_scripts,
            client.get_embeddings,
            client.get_memory,
            client.get_progress,
            client.refresh_checkpoints,
            client.interrupt,
            client.skip,
        ):
            ask()
        client.util_wait_for_ready(check_interval=0.01)

    def test_the_model_is_changed_by_its_nearest_name(self, client: Any) -> None:
        client.util_set_model("sd_xl_base")
        assert client.util_get_current_model().startswith("sd_xl_base_1.0")
        options = client.get_options()
        client.set_options(options)
        assert client.get_options() == options

    def test_an_error_of_the_server_is_raised_with_its_text(self, client: Any) -> None:
        with pytest.raises(RuntimeError, match="422"):
            client.txt2img(prompt="a", steps=2, width=64, height=64, script_name="nope")

    async def test_asynchronous(self, client: Any) -> None:
        result = await client.txt2img(prompt="a cat", steps=2, width=64, height=64, use_async=True)
        assert result.image.size == (64, 64)

    def test_password(self, serve: Callable[..., Running], comfyui: DevServer) -> None:
        server = serve(local(comfyui.url), auth={"user": "secret"})
        client = webuiapi.WebUIApi(
            host="127.0.0.1", port=server.port, username="user", password="secret"
        )
        assert client.get_samplers()


class TestSdBackendClient:
    @pytest.fixture
    def backend(self, server: Running) -> Any:
        backend = sd_backend_client.connect_to_backend(server.url)
        assert type(backend).__name__ == "A1111Webservice"
        return backend

    def test_it_finds_an_a1111_and_makes_a_picture(self, backend: Any) -> None:
        request = sd_backend_client.DiffusionRequestBody()
        request.prompt, request.steps, request.seed = "a cat", 2, 11
        request.width = request.height = 64
        result = backend.submit_txt2img(request).wait(timeout=20, poll_interval=0.02)
        assert result.images[0].size == (64, 64)

    def test_it_follows_and_cancels(
        self, serve: Callable[..., Running], slow_comfyui: DevServer
    ) -> None:
        server = serve(local(slow_comfyui.url))
        backend = sd_backend_client.A1111Webservice(server.url)
        request = sd_backend_client.DiffusionRequestBody()
        request.prompt, request.steps = "a cat", 80
        request.width = request.height = 64
        handle = backend.submit_txt2img(request)
        seen = []
        while not any(told.progress and told.progress > 0.1 for told in seen):
            seen.append(handle.poll())
            assert len(seen) < 20_000
        assert handle.cancel()
        deadline = time.monotonic() + 10
        while not handle.poll().status.is_terminal:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def test_it_reads_the_lists(self, backend: Any) -> None:
        assert "Euler" in [sampler.name for sampler in backend.get_samplers()]
        assert backend.get_models()
        assert backend.get_loras()
        assert backend.get_upscalers()


_SCRIPT = """
const module = require('stable-diffusion-api');
const Api = module.StableDiffusionApi || module.default;
const api = new Api({host: '127.0.0.1', port: Number(process.argv[1]), protocol: 'http'});
(async () => {
  const made = await api.txt2img({prompt: 'a cat', steps: 2, width: 64, height: 64, seed: 4});
  const lists = [await api.getSamplers(), await api.getSdModels(), await api.getUpscalers()];
  await api.setOptions({jpeg_quality: 55});
  const options = await api.getOptions();
  const info = typeof made.info === 'string' ? JSON.parse(made.info) : made.info;
  console.log(JSON.stringify({
    images: made.images.length, seed: info.seed, lists: lists.map(list => list.length),
    quality: options.jpeg_quality,
  }));
})().catch(error => { console.error(error); process.exit(1); });
"""


def test_the_client_from_npm(server: Running) -> None:
    """`npm install --prefix .cache/node stable-diffusion-api` (make test-setup) brings it."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    folder = os.environ.get("NODE_PATH") or str(NODE_FOLDER / "node_modules")
    if not (Path(folder) / "stable-diffusion-api").is_dir():
        pytest.skip("stable-diffusion-api is not installed (make test-setup)")
    done = subprocess.run(
        [node, "-e", _SCRIPT, str(server.port)],
        env={**os.environ, "NODE_PATH": folder},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["images"] == 1
    assert told["seed"] == 4
    assert all(told["lists"])
    assert told["quality"] == 55
