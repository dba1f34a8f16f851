"""The zoo's entries that fetch their weights: from a hub on this machine, and where there is none.

The stand-ins for the hubs speak as much of their protocols as a download needs, and give small networks that were
made here, with weights by chance; what the real weights know is not tested.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

MODEL = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
REVISION = "714eb0fa89d2f80546fda750413ed43d93601a13"
NOWHERE = "http://127.0.0.1:9"
"""The port for discarding, where nobody listens."""


@dataclass
class Site:
    """A web site on this machine: what it has by path, and what it was asked for."""

    address: str
    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            found.asked.append(path)
            page = found.pages.get(path)
            self.send_response(404 if page is None else 200)
            body = b"" if page is None else page
            self.send_header("Content-Length", str(len(body)))
            self.send_header(
                "Content-Type", "application/json" if path.startswith("/api/") else "application/octet-stream"
            )
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", REVISION)
            if page is None:
                self.send_header(
                    "X-Error-Code", "EntryNotFound" if "/resolve/" in path or "/tree/" in path else "RepoNotFound"
                )
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Site(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def classifier(run_in: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a very small DistilBERT with two labels."""
    folder = tmp_path_factory.mktemp("classifier")
    script = """
import sys
from pathlib import Path
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification, DistilBertTokenizer
folder = Path(sys.argv[1])
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "i", "like", "it", "not", "."]
(folder / "vocab.txt").write_text("\\n".join(words))
torch.manual_seed(0)
config = DistilBertConfig(
    vocab_size=len(words), dim=16, hidden_dim=32, n_layers=1, n_heads=2, max_position_embeddings=64,
    id2label={0: "NEGATIVE", 1: "POSITIVE"}, label2id={"NEGATIVE": 0, "POSITIVE": 1},
)
DistilBertForSequenceClassification(config).save_pretrained(folder)
DistilBertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
"""
    run_in(("transformers>=5,<6", "torch==2.13.0", "numpy>=1.26,<3"), script, str(folder))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def stylizer(run_in: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A module called like the one of TensorFlow Hub: the content with the mean colour of the style, as a tar.gz."""
    folder = tmp_path_factory.mktemp("stylizer")
    script = """
import sys
import tensorflow as tf
class Stylizer(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((None, None, None, 3))])
    def __call__(self, content, style):
        mean = lambda pictures: tf.reduce_mean(pictures, axis=(1, 2), keepdims=True)
        return [tf.clip_by_value(content - mean(content) + mean(style), 0, 1)]
tf.saved_model.save(Stylizer(), sys.argv[1])
"""
    requirements = ("tensorflow>=2.20,<2.22", "pillow>=11,<14", "numpy>=1.26,<3")
    run_in(requirements, script, str(folder))
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as packed:
        packed.add(folder, ".")
    return archive.getvalue()


class TestHuggingFaceSentiment:
    def test_the_model_is_fetched_by_name_and_answers(
        self,
        zoo: Any,
        site: Site,
        classifier: dict[str, bytes],
        package_with: Callable[..., Path],
        example: Callable[[str], Any],
    ) -> None:
        files = [{"rfilename": name, "size": len(data)} for name, data in classifier.items()]
        about = {"id": MODEL, "sha": REVISION, "private": False, "tags": [], "downloads": 0, "siblings": files}
        site.pages[f"/api/models/{MODEL}/revision/{REVISION}"] = json.dumps(about).encode()
        site.pages |= {f"/{MODEL}/resolve/{REVISION}/{name}": data for name, data in classifier.items()}

        running = zoo.start(package_with("hugging-face-sentiment"), {"HF_ENDPOINT": site.address})
        scores = running.predict(example("hugging-face-sentiment"))

        assert set(scores) == {"POSITIVE", "NEGATIVE"}
        assert sum(scores.values()) == pytest.approx(1, abs=0.001)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        assert running.predict({"text": "like " * 2000}).keys() == scores.keys()
        assert f"/{MODEL}/resolve/{REVISION}/model.safetensors" in site.asked

    def test_without_a_network_it_says_which_host_and_what_to_do(
        self, zoo: Any, load_failed: type[Exception], package_with: Callable[..., Path]
    ) -> None:
        with pytest.raises(load_failed, match="cannot be reached") as failure:
            zoo.start(package_with("hugging-face-sentiment"), {"HF_ENDPOINT": NOWHERE})

        said = str(failure.value)
        assert f"{NOWHERE} cannot be reached from this machine" in said
        assert "set HF_ENDPOINT" in said
        assert "sentiment needs no network" in said

    def test_a_model_that_the_hub_does_not_have_is_named(
        self, zoo: Any, load_failed: type[Exception], site: Site, package_with: Callable[..., Path]
    ) -> None:
        package = package_with("hugging-face-sentiment", model="nobody/nothing")

        with pytest.raises(load_failed, match="does not give nobody/nothing") as failure:
            zoo.start(package, {"HF_ENDPOINT": site.address})

        assert "Correct hub.model" in str(failure.value)


class TestImageStylization:
    def test_the_module_is_fetched_and_paints(
        self,
        zoo: Any,
        site: Site,
        stylizer: bytes,
        drawings: ModuleType,
        package_with: Callable[..., Path],
        example: Callable[[str], Any],
    ) -> None:
        site.pages["/stylization/2"] = stylizer
        package = package_with("image-stylization", url=f"{site.address}/stylization/2?tf-hub-format=compressed")

        given = example("image-stylization")
        picture = drawings.picture_in(zoo.start(package).predict(given))

        content, style = (drawings.picture_in(given[name]) for name in ("content", "style"))
        assert picture.size == content.size
        mean_colour = np.asarray(picture.convert("RGB"), float).mean(axis=(0, 1))
        assert mean_colour == pytest.approx(np.asarray(style.convert("RGB"), float).mean(axis=(0, 1)), abs=25)

    def test_without_a_network_it_says_which_host_and_what_to_do(
        self, zoo: Any, load_failed: type[Exception], package_with: Callable[..., Path]
    ) -> None:
        with pytest.raises(load_failed, match="cannot be reached") as failure:
            zoo.start(package_with("image-stylization", url=f"{NOWHERE}/stylization"))

        said = str(failure.value)
        assert "127.0.0.1 cannot be reached from this machine" in said
        assert "module.url" in said
        assert "style-transfer needs no network" in said

    @pytest.mark.parametrize(("page", "said"), [(None, "answers 404"), (b"<html>", "not a tar.gz")])
    def test_an_address_that_does_not_give_the_module_is_named(
        self,
        zoo: Any,
        load_failed: type[Exception],
        site: Site,
        package_with: Callable[..., Path],
        page: bytes | None,
        said: str,
    ) -> None:
        site.pages |= {} if page is None else {"/stylization": page}

        with pytest.raises(load_failed, match=said) as failure:
            zoo.start(package_with("image-stylization", url=f"{site.address}/stylization"))

        assert "Correct module.url" in str(failure.value)
