"""Questions about pictures: what the picture is worth, by sort of question, subset and language.

    python benchmarks/questions.py answer  [--budget 20min] [--data scene_questions]
    python benchmarks/questions.py picture [--budget 20min] [--seeds 3]    visual_qa beside
                                                     question_only: a verdict

``answer`` trains both and prints every figure beside the same questions with other pictures.
Without ``--data`` the scenes are made of stamps (``souron fetch stamps``). Folders go to --project.
"""

import argparse
import time

import torch

import souron
from souron.evaluation.vision.visual_questions import AnswerResult
from souron.metrics import answer as metrics
from souron.stats.records import Measure

SYSTEMS = ("visual_qa", "question_only")
GOAL = 0.2  # better with the picture than without


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("what", choices=("answer", "picture"))
    parser.add_argument("--budget", default="20min")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default="scene_questions")
    parser.add_argument("--project", default="runs/benchmark")
    told = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, budget {told.budget}, data {told.data}")
    (answer if told.what == "answer" else image)(told)


def text(measure: Measure) -> str:
    return f"{measure.value:6.1%} [{measure.low:.1%}, {measure.high:.1%}]"


def answer(told: argparse.Namespace) -> None:
    """Each system's figures, and how far apart the two are."""
    reached = {}
    for name in SYSTEMS:
        begun = time.perf_counter()
        record = souron.train(name, data=told.data, budget=told.budget, project=told.project)
        reached[name] = record.measures[metrics.ACCURACY].value
        print(f"\n{name}, {time.perf_counter() - begun:.0f} s in all")
        for metric, measure in record.measures.items():
            print(f"  {metric:30} {text(measure)}")
        assert isinstance(record.details, AnswerResult)
        for part in record.details.parts:
            of = ", ".join(filter(None, (part.subset, part.language, part.sort)))
            own, other = part.measures[metrics.ACCURACY], part.measures[metrics.OTHERS]
            print(f"  {of:30} {text(own)}   other pictures {text(other)}   {part.questions}")
    gain = reached["visual_qa"] - reached["question_only"]
    print(f"\nwith the picture {100 * gain:+.1f} points (goal {100 * GOAL:+.0f})")


def image(told: argparse.Namespace) -> None:
    record = souron.compare(list(SYSTEMS), data=told.data, budget=told.budget, seeds=told.seeds, project=told.project)
    for row in record.rows:
        print(f"{row.system:32} {row.value:.4f} [{row.low:.4f}, {row.high:.4f}]")
    for verdict in record.verdicts:
        print(verdict)


if __name__ == "__main__":
    main()
