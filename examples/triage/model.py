"""Trains a small text classifier on tickets.csv and deploys it as the model "tickets", which the triage app calls."""

from __future__ import annotations

import csv
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

import tenfold

TICKETS = Path(__file__).with_name("tickets.csv")


def read_tickets() -> tuple[list[str], list[str]]:
    """The messages and their teams."""
    with TICKETS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["team"] for row in rows]


def train() -> Pipeline:
    texts, teams = read_tickets()
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(vectors, LogisticRegression(C=30.0, max_iter=1000)).fit(texts, teams)


def main() -> None:
    classifier = train()
    tickets = tenfold.deploy(
        classifier,
        "tickets",
        example=["Where is my parcel?", "I was charged twice"],
        alias="production",
        description="Which team a message to the support desk belongs to.",
    )
    for message in ("My invoice is wrong", "The app crashes on start", "I lost my password", "My parcel is broken"):
        print(f"{message}: {tickets.predict([message])[0]}")


if __name__ == "__main__":
    main()
