"""What happens to a message before and after the model."""

from __future__ import annotations

import html
import re


def clean(text: str) -> str:
    """The message without markup, quoted replies and signatures, in single spaces."""
    text = html.unescape(re.sub(r"<[^>]+>", " ", text))
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(">")]
    text = re.split(r"\n--\s*\n", "\n".join(lines))[0]
    text = re.sub(r"\s+", " ", text).strip()
    if not text:
        raise ValueError("The message is empty.")
    return text


def rank(answer: dict) -> dict:
    """The most likely team, how sure the model is of it, and its opinion of every team."""
    scores = dict(zip(answer["classes"], answer["probabilities"][0], strict=True))
    team = max(scores, key=lambda name: scores[name])
    return {"team": team, "score": scores[team], "scores": scores}


def ask_a_person(ranked: dict, text: str) -> str:
    """What the person on duty is told."""
    first, second = sorted(ranked["scores"], key=lambda name: -ranked["scores"][name])[:2]
    start = text if len(text) <= 80 else f"{text[:77]}..."
    return f"Please decide between {first} and {second}: “{start}”"


def send_to_team(ranked: dict) -> str:
    return f"Sent to {ranked['team']} ({ranked['score']:.0%} sure)."
