#!/usr/bin/env python3
"""Writes train.jsonl: `python3 benches/cpu/make.py`. Twenty-four texts of our own, each far longer than 256 tokens."""

import json
import random
from pathlib import Path

WHO = ["The ferryman", "A young baker", "The keeper of the lighthouse", "An old painter", "The smith's daughter", "A travelling doctor"]
WHEN = ["On the first day of spring", "Late in the evening", "When the market had closed", "After three days of rain", "Long before sunrise"]
DID = ["carried a heavy basket across the bridge", "mended the broken clock in the tower", "walked along the harbour wall",
       "wrote a long letter to a friend", "counted the boats that had come home", "cooked soup for everyone in the house"]
WHY = ["because nobody else had time", "although the wind was cold", "while the children watched from the window",
       "so that the village could sleep in peace", "and thought of the summer that had passed"]
THEN = ["In the end it was worth the trouble.", "Nobody spoke about it afterwards.", "The neighbours laughed and brought fresh bread.",
        "The next morning the sea was calm again.", "It took longer than anyone had expected."]


def text(rng):
    sentences = []
    for _ in range(32):
        sentences.append(f"{rng.choice(WHEN)}, {rng.choice(WHO).lower()} {rng.choice(DID)}, {rng.choice(WHY)}.")
        if rng.random() < 0.5:
            sentences.append(rng.choice(THEN))
    return " ".join(sentences)


def main():
    rng = random.Random(42)
    path = Path(__file__).resolve().parent / "train.jsonl"
    with path.open("w", encoding="utf-8") as out:
        for _ in range(24):
            out.write(json.dumps({"text": text(rng)}) + "\n")
    print(f"{path.name}: 24 texts, {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
