"""One picture in the style of another, by a module that is fetched from TensorFlow Hub."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tensorflow as tf
from PIL import Image

from model.pictures import as_file, at_most, open_picture

LONGEST_SIDE = 512
STYLE_SIDE = 256
"""What the module was trained with."""
PATIENCE_SECONDS = 60


class Model:
    def __init__(self, config: dict[str, Any]) -> None:
        self._url = config["model_metadata"]["module"]["url"]

    def load(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            unpack(fetch(self._url), folder)
            self._module = tf.saved_model.load(folder)

    def predict(self, inputs: Any) -> dict[str, Any]:
        """{"content": file, "style": file} to a picture file."""
        content = at_most(open_picture(inputs, "content"), LONGEST_SIDE)
        style = open_picture(inputs, "style").resize((STYLE_SIDE, STYLE_SIDE), Image.Resampling.LANCZOS)
        painted = self._module(tensor_of(content), tensor_of(style))[0][0]
        pixels = np.clip(np.asarray(painted) * 255, 0, 255).astype(np.uint8)
        return as_file(Image.fromarray(pixels), "stylized.png")


def tensor_of(picture: Image.Image) -> tf.Tensor:
    """A batch of one picture: (1, height, width, 3), from 0 to 1."""
    return tf.constant(np.asarray(picture, np.float32)[None] / 255)


def fetch(url: str) -> io.BytesIO:
    """The module as a tar.gz. What goes wrong is said with the host, and what to do about it."""
    host = urlsplit(url).hostname
    # The address is the package's own, in config.yaml. Some hosts refuse Python's own name.
    request = urllib.request.Request(url, headers={"User-Agent": "tenfold-zoo"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:  # noqa: S310
            archive = io.BytesIO()
            shutil.copyfileobj(response, archive)
            archive.seek(0)
            return archive
    except urllib.error.HTTPError as error:
        raise RuntimeError(
            f"{host} answers {error.code} for {url}. "
            "Correct module.url in config.yaml: it must give the module as a tar.gz."
        ) from None
    except OSError as error:
        raise RuntimeError(
            f"{host} cannot be reached from this machine ({error}), and the module is fetched from there. "
            "Let the machine reach it over HTTPS, or name a mirror in module.url in config.yaml. "
            "The zoo's entry style-transfer needs no network."
        ) from None


def unpack(archive: io.BytesIO, folder: str) -> None:
    try:
        with tarfile.open(fileobj=archive, mode="r:gz") as files:
            files.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise RuntimeError(
            f"What module.url gives is not a tar.gz ({error}). Correct module.url in config.yaml."
        ) from None
