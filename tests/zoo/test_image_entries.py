"""The zoo's entries that take pictures, each in its own environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageFont, ImageOps
from sklearn.datasets import load_digits, load_sample_image

pytestmark = pytest.mark.slow

NO_PICTURE = {"name": "a.png", "type": "image/png", "size": 4, "data": "bm9wZQ=="}


@pytest.fixture(scope="module")
def photos(run_in: Callable[..., str]) -> dict[str, Image.Image]:
    """Photographs that come with scikit-learn and scikit-image: a temple, a flower, a cat, an astronaut, grass."""
    script = "import skimage.data, pathlib; print(pathlib.Path(skimage.data.__file__).parent)"
    folder = Path(run_in(("scikit-image>=0.25,<0.27",), script).strip())
    found = {name: Image.open(folder / f"{name}.png").convert("RGB") for name in ("chelsea", "astronaut", "grass")}
    return found | {name: Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower")}


class TestOcr:
    def test_the_example_is_read(self, zoo: Any, example: Callable[[str], Any]) -> None:
        rows = zoo("ocr").predict(example("ocr"))

        assert [row["text"] for row in rows] == ["Invoice 2041", "Total due: 318.50 EUR", "Pay by 14 March 2027"]
        assert all(row["confidence"] > 0.9 for row in rows)

    def test_text_is_found_where_it_stands(self, zoo: Any, drawings: ModuleType) -> None:
        page = Image.new("RGB", (900, 700), "#f4efe2")
        page.paste(drawings.written([("Platform 9", 40)], (300, 90)), (540, 420))

        (row,) = zoo("ocr").predict({"image": drawings.picture_file(page)})

        assert row["text"] == "Platform 9"
        left, top, width, height = row["box"]
        assert (left, top) == (pytest.approx(564, abs=15), pytest.approx(440, abs=20))
        assert (width, height) == (pytest.approx(200, abs=40), pytest.approx(40, abs=20))

    def test_places_are_those_of_the_picture_that_was_sent(self, zoo: Any, drawings: ModuleType) -> None:
        wide = drawings.written([("Departures", 160)], (3000, 400))

        (row,) = zoo("ocr").predict({"image": drawings.picture_file(wide)})

        assert row["text"] == "Departures"
        assert row["box"][0] < 60  # the boxes have some air around the text
        assert row["box"][2] == pytest.approx(ImageFont.load_default(160).getlength("Departures"), abs=140)

    def test_a_picture_without_text_has_no_rows(self, zoo: Any, drawings: ModuleType) -> None:
        blank = Image.new("RGB", (200, 100), "white")

        assert zoo("ocr").predict({"image": drawings.picture_file(blank)}) == []

    @pytest.mark.parametrize("inputs", [{}, {"image": None}, {"image": NO_PICTURE}, {"image": "%%%"}, [1]])
    def test_what_is_no_picture_is_refused(self, zoo: Any, inputs: Any) -> None:
        assert "picture" in zoo("ocr").refusal(inputs)


class TestEdgeDetection:
    def test_the_outline_of_the_house_is_drawn_and_its_wall_is_not(
        self, zoo: Any, drawings: ModuleType, example: Callable[[str], Any]
    ) -> None:
        picture = drawings.picture_in(zoo("edge-detection").predict(example("edge-detection")))

        edges = np.asarray(picture.convert("L"), float) / 255
        assert edges.shape == (256, 256)
        unit = 256 / 100
        left_wall = edges[int(50 * unit), int(15 * unit) : int(21 * unit)].max()
        inside = edges[int(57 * unit) : int(63 * unit), int(20 * unit) : int(26 * unit)].mean()
        sky = edges[int(5 * unit) : int(15 * unit), int(10 * unit) : int(50 * unit)].mean()
        assert left_wall > 0.5
        assert inside < 0.2
        assert sky < 0.1

    def test_edges_of_a_photo_are_where_it_changes(
        self, zoo: Any, drawings: ModuleType, photos: dict[str, Image.Image]
    ) -> None:
        photo = photos["china"]

        answer = zoo("edge-detection").predict({"image": drawings.picture_file(photo)})

        picture = drawings.picture_in(answer)
        assert picture.size == photo.size
        edges = np.asarray(picture.convert("L"), float)
        gray = np.asarray(photo.convert("L").filter(ImageFilter.GaussianBlur(2)), float)
        change = np.hypot(*np.gradient(gray))
        strongest = edges > np.quantile(edges, 0.95)
        assert change[strongest].mean() > 3 * change[~strongest].mean()

    def test_a_large_picture_keeps_its_shape(self, zoo: Any, drawings: ModuleType) -> None:
        large = drawings.house_at_a_lake(side=1000).resize((1200, 600))

        picture = drawings.picture_in(zoo("edge-detection").predict({"image": drawings.picture_file(large)}))

        assert picture.size == (800, 400)


class TestImageSimilarity:
    def test_pictures_that_are_one_are_closer_than_different_ones(
        self, zoo: Any, drawings: ModuleType, photos: dict[str, Image.Image]
    ) -> None:
        def similarity(first: Image.Image, second: Image.Image) -> float:
            files = {"first": drawings.picture_file(first), "second": drawings.picture_file(second)}
            return float(zoo("image-similarity").predict(files)["predictions"][0])

        china, cat, grass = photos["china"], photos["chelsea"], photos["grass"]
        width, height = china.size

        assert similarity(china, china) == pytest.approx(1, abs=1e-3)
        assert similarity(china, ImageOps.mirror(china)) > 0.97
        assert similarity(china, china.crop((60, 60, width - 60, height - 60))) > 0.97
        assert similarity(cat, cat.resize((200, 133))) > 0.97
        assert similarity(china, photos["flower"]) < 0.95
        assert similarity(cat, grass) < 0.8

    def test_its_features_make_the_similarity(self, zoo: Any, example: Callable[[str], Any]) -> None:
        answer = zoo("image-similarity").predict({**example("image-similarity"), "features": True})

        first, second = (np.array(features) for features in answer["features"])
        assert len(first) == 1472
        assert float(first @ second) == pytest.approx(answer["predictions"][0], abs=1e-3)

    def test_the_missing_picture_is_named(self, zoo: Any, example: Callable[[str], Any]) -> None:
        first = example("image-similarity")["first"]

        assert "second" in zoo("image-similarity").refusal({"first": first})


class TestContentModeration:
    def test_the_example_is_safe(self, zoo: Any, example: Callable[[str], Any]) -> None:
        assert zoo("content-moderation").predict(example("content-moderation"))["predictions"] == ["safe"]

    def test_a_face_is_found_and_is_safe(self, zoo: Any, drawings: ModuleType, photos: dict[str, Image.Image]) -> None:
        astronaut = drawings.picture_file(photos["astronaut"])

        answer = zoo("content-moderation").predict({"image": astronaut})

        assert answer["predictions"] == ["safe"]
        face = next(region for region in answer["regions"] if region["label"].startswith("FACE"))
        assert face["left"] < 225 < face["left"] + face["width"]  # her nose
        assert face["top"] < 120 < face["top"] + face["height"]

    def test_pictures_without_people_have_no_regions(
        self, zoo: Any, drawings: ModuleType, photos: dict[str, Image.Image]
    ) -> None:
        for name in ("chelsea", "flower", "china"):
            answer = zoo("content-moderation").predict({"image": drawings.picture_file(photos[name])})
            assert answer == {"predictions": ["safe"], "regions": []}, name

    def test_the_threshold_is_checked(self, zoo: Any, example: Callable[[str], Any]) -> None:
        assert "threshold" in zoo("content-moderation").refusal({**example("content-moderation"), "threshold": "high"})

    def test_the_verdict_follows_the_most_serious_part(self, zoo: Any, run_in: Callable[..., str]) -> None:
        """The rules alone: pictures that would show them are not kept here."""
        root = Path(__file__).parents[2] / "platform/tenfold_platform/zoo/entries/content-moderation"
        script = (
            "import json, sys; sys.path.insert(0, sys.argv[1]); from model.model import verdict_on; "
            "print(json.dumps([verdict_on(set(labels)) for labels in json.loads(sys.argv[2])]))"
        )
        found = [
            [],
            ["FACE_MALE", "FEET_EXPOSED", "ARMPITS_EXPOSED"],
            ["FACE_FEMALE", "BELLY_EXPOSED"],
            ["BELLY_EXPOSED", "FEMALE_BREAST_EXPOSED"],
        ]
        requirements = ("nudenet>=3.4,<4", "pillow>=11,<14", "numpy>=1.26,<3")

        verdicts = json.loads(run_in(requirements, script, str(root), json.dumps(found)))

        assert verdicts == ["safe", "safe", "suggestive", "explicit"]


class TestDigits:
    def test_the_example_is_a_seven(self, zoo: Any, example: Callable[[str], Any]) -> None:
        scores = zoo("digits").predict(example("digits"))

        assert sorted(scores) == list("0123456789")
        assert max(scores, key=lambda digit: scores[digit]) == "7"
        assert sum(scores.values()) == pytest.approx(1, abs=0.01)

    @pytest.mark.parametrize("inverted", [False, True])
    def test_pictures_of_digits_are_read(self, zoo: Any, drawings: ModuleType, inverted: bool) -> None:
        digits = load_digits()
        chosen = [int(np.flatnonzero(digits.target == digit)[3]) for digit in range(10)]
        read = []
        for index in chosen:
            ink = Image.fromarray((255 - digits.images[index] * (255 / 16)).astype("uint8"))
            picture = ImageOps.expand(ink.resize((150, 150), Image.Resampling.BICUBIC), 40, fill=255)
            file = drawings.picture_file(ImageOps.invert(picture) if inverted else picture)
            scores = zoo("digits").predict({"image": file})
            read.append(max(scores, key=lambda digit: scores[digit]))

        assert read == list("0123456789")
