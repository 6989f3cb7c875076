"""Pages of a run as Chromium's accessibility tree has them: are the asked parts there?

    python benchmarks/pages.py RUN [n=100]         (a run of text_to_page; about a minute)

First each figure of the run, by subset and language. Then, for each subset of the test, ``n`` pages
are written, opened in Chromium without scripts and without a network, and the roles of its
accessibility tree are counted beside those of the page that was asked for. Then what the grammar is
worth: how many token sequences of an unbounded network are pages at all. Needs Chromium and
playwright.
"""

import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from souron.data.composing.language.page_requests import SUBSETS
from souron.data.language import page_grammar, web_pages
from souron.data.sets import page_requests
from souron.data.texts import language
from souron.evaluation.language.web_pages import PageResult
from souron.runs import evaluate, folder
from souron.stats import intervals
from souron.tasks.text_to_page import read_again

ROLES = ("heading", "paragraph", "navigation", "link", "list", "listitem", "table", "row",
         "columnheader", "cell", "form", "textbox", "spinbutton", "button", "img", "article",
         "blockquote", "search", "searchbox", "contentinfo")  # fmt: skip
LINE = re.compile(r"^\s*- '?([a-z]+)", re.MULTILINE)


def tree(tab, parts, spoken):
    """How often each role is in Chromium's tree of the page."""
    tab.set_content(web_pages.written(parts, spoken))
    found = Counter(LINE.findall(tab.locator("body").aria_snapshot()))
    return {role: found[role] for role in ROLES}


def figures(run):
    """What the report says of each subset and language."""
    found = evaluate.examine(run).details
    assert isinstance(found, PageResult)
    for name, measures in found.apart.items():
        told = (f"{metric} {m.value:.1%} [{m.low:.1%}, {m.high:.1%}]" for metric, m in measures.items())
        print(f"{name}: " + ", ".join(told))


def main():
    run, *rest = sys.argv[1:]
    count = int(dict(word.split("=") for word in rest).get("n", 100))
    figures(Path(run))
    system, data = folder.load(Path(run)), page_requests.load()
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = chromium.new_context(java_script_enabled=True, offline=True).new_page()
        for subset in SUBSETS:
            rows = [k for k, name in enumerate(data.columns["subset"]) if name == subset][:count]
            asked, texts = [data.target[k] for k in rows], [data.input[k] for k in rows]
            made = [parts for parts, _valid in read_again(system, texts)]
            same = []
            for said, right, text in zip(made, asked, texts, strict=True):
                spoken = language(text)
                same.append(tree(tab, said, spoken) == tree(tab, right, spoken))
            found = intervals.interval(np.array([same], float))
            print(
                f"{subset}: all roles of Chromium's tree as asked for in {found.value:.3f} "
                f"({found.low:.3f}..{found.high:.3f}) of {len(rows)}"
            )
            if hasattr(system, "search"):
                lengths = [len(page_grammar.pieces(text)) for text in texts]
                for bounded in (True, False):
                    tokens = system.search(texts, bounded)
                    valid = np.mean(list(map(page_grammar.is_valid, tokens, lengths)))
                    print(f"  {'with' if bounded else 'without'} the grammar valid: {valid:.3f}")
        chromium.close()


if __name__ == "__main__":
    main()
