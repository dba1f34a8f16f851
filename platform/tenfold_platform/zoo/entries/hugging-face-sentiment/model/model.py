"""A text classifier of the Hugging Face Hub, as a pipeline of transformers."""

from __future__ import annotations

from typing import Any

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError
from transformers import pipeline

from model.texts import text_of

PATIENCE_SECONDS = 20


class Model:
    def __init__(self, config: dict[str, Any]) -> None:
        self._hub = config["model_metadata"]["hub"]

    def load(self) -> None:
        check_reachable(**self._hub)
        self._pipeline = pipeline("text-classification", **self._hub, top_k=None, device="cpu")

    def predict(self, inputs: Any) -> dict[str, float]:
        """{"text": "..."} to {label: score}, the best first."""
        scores = self._pipeline([text_of(inputs)], truncation=True)[0]
        return {one["label"]: round(one["score"], 4) for one in sorted(scores, key=lambda one: -one["score"])}


def check_reachable(model: str, revision: str) -> None:
    """Asks the Hub for the model once, to say at once what is wrong; transformers would try for a minute."""
    hub = constants.ENDPOINT
    try:
        HfApi().model_info(model, revision=revision, timeout=PATIENCE_SECONDS)
    except HfHubHTTPError as error:
        raise RuntimeError(
            f"{hub} does not give {model} at revision {revision}: {error}. "
            "Correct hub.model and hub.revision in config.yaml; a private model needs a token in HF_TOKEN."
        ) from None
    except Exception as error:  # of whichever HTTP library the hub's client uses
        raise RuntimeError(
            f"{hub} cannot be reached from this machine ({error}), and the weights of {model} are fetched from there. "
            "Let the machine reach it over HTTPS, or set HF_ENDPOINT under environment_variables in config.yaml to a "
            "mirror. The zoo's entry sentiment needs no network."
        ) from None
