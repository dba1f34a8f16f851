"""The zoo's entries that take sounds and other files, each in its own environment."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

SAY = """
import ctypes, sys, wave
import espeakng_loader
library = ctypes.CDLL(espeakng_loader.get_library_path())
rate = library.espeak_Initialize(2, 0, str(espeakng_loader.get_data_path()).encode(), 0)
parts = []
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
def heard(samples, count, event):
    if samples and count > 0:
        parts.append(ctypes.string_at(samples, count * 2))
    return 0
library.espeak_SetSynthCallback(heard)
library.espeak_SetVoiceByName(b"en")
text = sys.argv[2].encode()
library.espeak_Synth(text, len(text) + 1, 0, 0, 0, 1, None, None)
with wave.open(sys.argv[1], "wb") as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(rate)
    file.writeframes(b"".join(parts))
print(rate)
"""


@pytest.fixture(scope="module")
def sentence(run_in: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, int]:
    """A sentence spoken by eSpeak NG, and its rate."""
    path = tmp_path_factory.mktemp("speech") / "sentence.wav"
    words = "The weather will be fine tomorrow, with light wind from the west."
    rate = int(run_in(("espeakng-loader>=0.2,<0.3",), SAY, str(path), words))
    return np.frombuffer(path.read_bytes()[44:], "<i2") / 32768, rate


class TestVoiceActivity:
    def test_the_example_has_its_vowels_in_the_middle(self, zoo: Any, example: Callable[[str], Any]) -> None:
        rows = zoo("voice-activity").predict(example("voice-activity"))

        assert rows
        assert rows[0]["start"] == pytest.approx(0.5, abs=0.2)
        assert rows[-1]["end"] < 2.1

    def test_a_sentence_between_silences_is_found(
        self, zoo: Any, drawings: ModuleType, sentence: tuple[np.ndarray, int]
    ) -> None:
        spoken, rate = sentence
        quiet = np.zeros(rate)
        file = drawings.as_file(
            drawings.recording(np.concatenate([quiet, spoken, quiet, quiet, spoken, quiet]), rate),
            "sentence.wav",
            "audio/wav",
        )
        length = len(spoken) / rate

        rows = zoo("voice-activity").predict({"file": file})

        def heard(start: float, end: float) -> float:
            return float(sum(max(0, min(row["end"], end) - max(row["start"], start)) for row in rows))

        assert heard(1, 1 + length) > 0.8 * length
        assert heard(3 + length, 3 + 2 * length) > 0.8 * length
        assert heard(0, 0.9) + heard(1.1 + length, 2.9 + length) < 0.2
        assert all(row["seconds"] == pytest.approx(row["end"] - row["start"], abs=0.002) for row in rows)
        assert all(0.5 < row["confidence"] <= 1 for row in rows)

    def test_silence_noise_and_a_tone_are_no_speech(self, zoo: Any, drawings: ModuleType) -> None:
        random = np.random.default_rng(0)
        tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(drawings.RATE * 2) / drawings.RATE)
        for sound in (np.zeros(drawings.RATE * 2), random.normal(0, 0.1, drawings.RATE * 2), tone):
            file = drawings.as_file(drawings.recording(sound), "sound.wav", "audio/wav")
            assert zoo("voice-activity").predict({"file": file}) == []

    def test_one_recording_does_not_change_the_next(
        self, zoo: Any, drawings: ModuleType, sentence: tuple[np.ndarray, int]
    ) -> None:
        file = drawings.as_file(drawings.recording(*sentence), "a.wav", "audio/wav")

        assert zoo("voice-activity").predict({"file": file}) == zoo("voice-activity").predict({"file": file})

    def test_an_empty_recording_has_no_speech(self, zoo: Any, drawings: ModuleType) -> None:
        file = drawings.as_file(drawings.recording(np.zeros(0)), "empty.wav", "audio/wav")

        assert zoo("voice-activity").predict({"file": file}) == []

    def test_what_is_no_recording_is_refused(self, zoo: Any, drawings: ModuleType) -> None:
        mp3 = drawings.as_file(b"ID3\x04" + bytes(200), "a.mp3", "audio/mpeg")

        assert "WAV" in zoo("voice-activity").refusal({"file": mp3})
        assert "file" in zoo("voice-activity").refusal({})


class TestFileType:
    def test_the_example_is_python(self, zoo: Any, example: Callable[[str], Any]) -> None:
        (row,) = zoo("file-type").predict(example("file-type"))

        assert (row["type"], row["mime_type"], row["group"]) == ("python", "text/x-python", "code")
        assert "py" in row["extensions"]
        assert row["confidence"] > 0.9

    def test_files_are_told_apart_by_their_content(self, zoo: Any, drawings: ModuleType) -> None:
        archive = BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("a.txt", "hello " * 50)
        contents = {
            "png": drawings.picture_file(drawings.invoice())["data"],
            "zip": drawings.as_file(archive.getvalue(), "", "")["data"],
            "wav": drawings.as_file(drawings.recording(drawings.spoken(0.3)), "", "")["data"],
            "json": drawings.as_file(json.dumps({"rows": [{"a": 1, "b": None}] * 9}).encode(), "", "")["data"],
            "elf": drawings.as_file(Path("/bin/true").read_bytes(), "", "")["data"],
        }

        found = {
            kind: zoo("file-type").predict({"file": {"name": "unnamed", "type": "", "size": 0, "data": data}})[0][
                "type"
            ]
            for kind, data in contents.items()
        }

        assert found == {kind: kind for kind in contents}

    def test_what_is_no_file_is_refused(self, zoo: Any) -> None:
        assert "file" in zoo("file-type").refusal({"file": 7})
        assert "base64" in zoo("file-type").refusal({"file": {"data": "*"}})
