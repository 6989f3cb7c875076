"""Runs of tiny language models that learnt a few conversations, or texts."""

import json

from souron.runs import train

NAMES = ("water", "bread", "the dose", "the nurse", "a pill", "薬", "歯", "the bone")


def run_of_talks(folder):
    """A run of a GPT that learnt questions and answers; its folder's name."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {name}?"},
                {"role": "assistant", "content": f"It is {name}, number {number}."},
            ]
        }
        for number in range(4)
        for name in NAMES
    ]
    data = folder / "talks.jsonl"
    data.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return _trained(folder, data)


def run_of_texts(folder):
    """One that learnt plain texts alone."""
    (folder / "texts").mkdir()
    for name in NAMES:
        text = "".join(f"{name} and {other} are here. " for other in NAMES)
        (folder / "texts" / f"{name}.txt").write_text(text, "utf-8")
    return _trained(folder, folder / "texts")


def _trained(folder, data):
    record = train.train("gpt", str(data), budget="1ep", project=str(folder / "runs"))
    return str(record.folder)
