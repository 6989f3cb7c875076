"""Pages from texts: the grammar, harmless HTML, what a screen reader gets, and what is learnt."""

import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from browsing import CHROMIUM
from dropping import made_run
from shapes import requested

from souron import model as models_api
from souron import registry
from souron.data import load
from souron.data.composing.language import page_requests as composing
from souron.data.composing.language import page_words
from souron.data.dataset import ListColumn
from souron.data.language import page_grammar, web_pages
from souron.data.language.web_pages import KINDS, Part
from souron.data.sets import page_requests
from souron.evaluation.language.web_pages import PageResult
from souron.kinds.codecs import browser, hypertext, provenance
from souron.kinds.page import Page
from souron.kinds.text import Text
from souron.metrics.text_to_page import ratio, scores, tally
from souron.systems.text_to_page.keyword_page import Config as OfKeywords
from souron.systems.text_to_page.keyword_page import KeywordPage
from souron.systems.text_to_page.page_writer import PAD, UNKNOWN, Attention, Batch, Config, PageWriter
from souron.tasks.text_to_page import PageSystem, Spec, Written, read_again
from souron.training.loop import Run
from souron.utils.messages import UserError

SMALL = {"train": 300, "val": 40, **dict.fromkeys(composing.SUBSETS, 60)}
EVERY = (
    Part("menu", "blue", 3, 0, ("Home", "Shop", "A & <b>")),
    Part("heading", "red", words=("<script>alert(1)</script>",)),
    Part("text", many=2),
    Part("list", many=3, numbered=True),
    Part("table", many=4, across=2, words=("Price", "Year")),
    Part("form", "green", 3, 0, ("name", "email", "message"), press="Go"),
    Part("picture", words=('a "cat"',)),
    Part("cards", "yellow", 3),
    Part("quote", words=("To be.",)),
    Part("search"),
    Part("button", "pink"),
    Part("footer", "black", words=("Bye",)),
)


@pytest.fixture(scope="module")
def made():
    return list(composing.requests(counts=SMALL))


def wandering(request, chance):
    """Tokens that the grammar allows, drawn blindly."""
    state = page_grammar.State(len(page_grammar.pieces(request)))
    tokens = []
    while not state.ended:
        tokens.append(chance.choice(state.allowed()))
        assert state.follow(tokens[-1])
    return tokens


def test_whatever_the_grammar_allows_is_a_harmless_page_of_these_parts():
    chance = random.Random(0)
    request = "<script>alert('x')</script> onclick=\"a\" javascript:b <img src=http://x.y> 見出し &lt;"
    for _page in range(150):
        tokens = wandering(request, chance)
        assert page_grammar.is_valid(tokens, len(page_grammar.pieces(request)))
        parts, _copied = page_grammar.read(tokens, request)
        html = web_pages.written(parts, chance.choice(("en", "ja")))
        found = web_pages.read(html)  # which refuses all that is not harmless
        assert Page(html).title
        kinds = [part.kind for part in parts]
        merged = [k for n, k in enumerate(kinds) if k != "text" or kinds[n - 1 : n] != ["text"]]
        assert sorted(part.kind for part in found) == sorted(merged) or kinds.count("text") > 1


def test_the_grammar_ends_and_refuses_what_does_not_fit():
    of = page_grammar.NUMBER_OF
    assert not page_grammar.is_valid([of["end"]], 5)  # a page has a part
    assert page_grammar.is_valid([of["search"], of["end"]], 5)
    assert not page_grammar.is_valid([of["search"], of["red"], of["end"]], 5)
    assert not page_grammar.is_valid([of["heading"], page_grammar.TOKENS + 1, of["end"]], 5)
    backwards = [of["heading"], page_grammar.TOKENS + 3, page_grammar.TOKENS + 2, of["end"]]
    assert not page_grammar.is_valid(backwards, 5)
    assert not page_grammar.is_valid([of["search"]] * 17 + [of["end"]], 5)
    assert not page_grammar.is_valid([of["search"]], 5)


def test_requests_become_tokens_and_html_and_come_back(made):
    for one in made:
        tokens = page_grammar.written(one.parts, one.text)
        assert tokens and page_grammar.is_valid(tokens, len(page_grammar.pieces(one.text)))
        assert page_grammar.read(tokens, one.text)[0] == one.parts
        assert web_pages.read(web_pages.written(one.parts, one.language)) == one.parts


def test_what_the_test_holds_out_is_not_in_training(made):
    """And what the subsets are of is in them."""
    by = {name: [one for one in made if one.subset == name] for name in SMALL}
    kinds = {name: [tuple(part.kind for part in one.parts) for one in some] for name, some in by.items()}
    known = {frozenset(some) for some in kinds["train"]}
    assert not any(composing.has_pair(some) for some in kinds["train"] + kinds["new wordings"])
    assert all(composing.has_pair(some) for some in kinds["new pairs"])
    assert not known & set(map(frozenset, kinds["new combinations"]))
    joined = {part for pair in composing.PAIRS for part in pair}
    assert joined == set(KINDS)  # each part has one that it never met
    words = page_words.TITLES["en"][1]
    last = words[round(len(words) * (1 - page_words.HELD_WORDS)) :]
    assert not any(word in one.text for one in by["train"] for word in last)
    assert any(word in one.text for one in made for word in last)
    frames = [frame.partition("{parts}")[0] for frame in page_words.FRAMES["en"][-2:]]
    new = [one.text for one in by["new wordings"] if one.language == "en"]
    assert all(text.startswith(tuple(frames)) for text in new)
    assert not any(one.text.startswith(tuple(frames)) for one in by["train"])
    assert len({one.text for one in made}) == len(made)
    again = list(composing.requests(counts=SMALL))
    assert again == made


HARMFUL = [
    "<script>1</script>", "<p onclick='x'>a</p>", "<a href='http://x.y'>a</a>",
    "<a href='javascript:x'>a</a>", "<a href='//x.y'>a</a>", "<img src=x>", "<iframe></iframe>",
    "<style>p { background: url(//x.y) }</style>", "<style>@import 'x'</style>",
    "<meta http-equiv='refresh' content='0;url=http://x.y'>", "<p style='color:red'>a</p>",
    "<form action='http://x.y'></form>", "<button type='submit'>a</button>", "<p>a",
    "<!-- a -->", "<svg></svg>", "</p>", "<base href='#'>", "<div>" * 100, "<?xml ?>",
    "<link href='#'>", "<input type='image'>", "<div role='application'></div>", "<object>",
]  # fmt: skip


@pytest.mark.parametrize("html", HARMFUL)
def test_html_that_could_do_something_is_no_page(html):
    with pytest.raises(UserError) as caught:
        Page(html, ["a heading"])
    assert caught.value.code == "unsafe page" and caught.value.exit == 3
    assert hypertext.read("<p>a</p><a href='#top'>b</a>").told("link")[0].name == "b"


def test_a_page_is_shown_in_a_frame_that_may_do_nothing():
    page = Page(web_pages.written(EVERY), web_pages.outline(EVERY))
    shown = page._repr_html_()
    frame = re.search(r"<iframe ([^>]*?)srcdoc='([^']*)'", shown)
    assert frame and frame[1].strip() == "sandbox"
    assert "<script" not in shown and "<b>" not in shown
    assert str(page).splitlines()[0] == "menu: 3 (Home, Shop, A & <b>), blue"


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here: apt-get install chromium")
@pytest.mark.parametrize("language", ["en", "ja"])
def test_chromium_has_the_same_roles_and_axe_finds_nothing(language):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    html = web_pages.written(EVERY, language)
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = chromium.new_page()
        tab.set_content(html)
        told = tab.locator("body").aria_snapshot()
        tab.close()
        bare = html.replace(web_pages.POLICY, "img-src data:")  # axe is a script
        tab = chromium.new_page()
        tab.set_content(bare)
        found = Axe().run(tab).response["violations"]
        chromium.close()
    root = hypertext.read(html)
    for role in (
        "heading",
        "navigation",
        "link",
        "list",
        "listitem",
        "table",
        "columnheader",
        "cell",
        "textbox",
        "searchbox",
        "button",
        "img",
        "article",
        "blockquote",
        "search",
        "contentinfo",
        "form",
    ):
        theirs = len(re.findall(rf"^\s*- '?{role}\b", told, re.MULTILINE))
        assert theirs == len(root.told(role)), role
    assert 'button "Go"' in told and "alert(1)" in told
    assert [each["id"] for each in found] == []


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here: apt-get install chromium")
def test_a_page_is_drawn(tmp_path):
    from PIL import Image

    Page(web_pages.written([Part("footer", "red")])).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert (0xB3, 0x26, 0x1E) in {c for _n, c in image.convert("RGB").getcolors(100_000)}


def test_without_a_chromium_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(browser, "found", lambda: "")
    with pytest.raises(UserError, match="no Chromium"):
        Page("<p>a</p>").save(tmp_path / "a.png")


def test_parts_colours_counts_and_labels_are_counted():
    asked = (Part("heading", "red"), Part("menu", "", 3), Part("list", "", 2, 0, ("a", "b")))
    said = (Part("heading", "blue"), Part("list", "", 2, 0, ("a", "c")), Part("search"))
    assert tally(asked, asked)[:4] == (1, 3, 3, 3)
    assert tally(asked[::-1], asked).right == 0  # another order
    found = tally(said, asked)
    assert (found.matched, found.pred, found.asked) == (2, 3, 3)
    assert (found.colours, found.coloured, found.counts, found.counted) == (0, 1, 1, 2)
    assert (found.labels, found.labelled) == (1, 2)
    form = Part("form", words=("a",), press="Go")
    assert tally([form._replace(press="")], [form])[-3:] == (1, 2, 1)
    table = scores(np.array([tally(said, asked), tally(asked, asked)], float))
    assert table["F1 of parts"].mean() == pytest.approx(2 * 5 / (2 * 6))
    assert table["colours right"].mean() == pytest.approx(0.5)


def test_pseudo_values_vary_as_the_ratio_does():
    """Their standard error beside that of many samples drawn anew."""
    random_ = np.random.default_rng(0)
    whole = random_.integers(1, 6, (2000, 100)).astype(float)
    right = random_.binomial(whole.astype(int), 0.8).astype(float)
    drawn = (right.sum(1) / whole.sum(1)).std()
    own = np.mean([ratio(a, b).std() / 10 for a, b in zip(right[:50], whole[:50], strict=True)])
    assert own == pytest.approx(drawn, rel=0.1)


def writer(seed=0, **how):
    torch.manual_seed(seed)
    model = PageWriter(Config(32, 2, 2, 2, **how), Spec("a and heading menu page with")).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model


@torch.inference_mode()
def test_every_page_of_a_network_that_learnt_nothing_is_valid_by_its_grammar():
    texts = ["a page with a heading", "メニュー", "x", "a " * 40]
    lengths = [len(page_grammar.pieces(text)) for text in texts]
    kept, loose = 0, 0
    for seed in range(2):
        bounded, free = (writer(seed).search(texts, bounded) for bounded in (True, False))
        kept += sum(map(page_grammar.is_valid, bounded, lengths))
        loose += sum(map(page_grammar.is_valid, free, lengths))
    assert kept == 8 and loose < 8


@torch.inference_mode()
def test_step_by_step_and_beside_others_it_writes_what_one_pass_does():
    model = writer()
    texts = ["a page with a heading and a menu", "menu"]
    together = model.search(texts)
    assert together == [model.search([text])[0] for text in texts]
    words = model.words(texts[0])[None]
    page = torch.tensor([[0, *together[0]]])
    whole = model(words, page)
    memory, mask = model.understood(words)
    known = [{} for _layer in model.decoder]
    for place in range(page.shape[1]):
        token = page[:, place : place + 1]
        step = model.follow(token, memory, mask, None, known, place)
        assert torch.allclose(step[:, 0], whole[:, place], atol=1e-4)


def test_the_words_of_labels_are_not_told_apart():
    """What is copied is told by its place: two labels that nobody knows give the same scores."""
    model = writer()
    first, second = (model.words(f'a heading "{name}"') for name in ("Zebra", "Quagga"))
    assert torch.equal(first, second) and PAD not in first


@torch.inference_mode()
def test_places_behind_a_request_cannot_be_pointed_at():
    model = writer()
    words = model.words("a menu with")
    source = torch.cat([words, torch.full((4,), PAD)])[None]
    scores = model(source, torch.tensor([[0, page_grammar.NUMBER_OF["menu"]]]))
    there = scores.isfinite()[0]
    assert there[:, : page_grammar.TOKENS + 3].all()
    assert not there[:, page_grammar.TOKENS + 3 :].any()


@torch.inference_mode()
def test_which_place_was_pointed_at_is_seen_afterwards():
    model = writer()
    words = model.words("a menu with a heading")[None]
    first, second = (
        model(words, torch.tensor([[0, page_grammar.NUMBER_OF["menu"], page_grammar.TOKENS + k]])) for k in (1, 4)
    )
    torch.testing.assert_close(first[:, :2], second[:, :2])
    assert not torch.allclose(first[:, 2], second[:, 2], atol=1e-2)


@torch.inference_mode()
def test_some_words_count_as_unknown_while_it_learns():
    model = writer(strange=1.0, drop=0.0)
    words = model.words("a menu with a heading")[None]
    page = torch.tensor([[0, page_grammar.NUMBER_OF["menu"], 0]])
    known, unknown = (float(model.loss(Batch(source, page))) for source in (words, torch.full_like(words, UNKNOWN)))
    assert known != pytest.approx(unknown, rel=1e-3)
    assert float(model.train().loss(Batch(words, page))) == pytest.approx(unknown, rel=1e-5)


@torch.inference_mode()
def test_tokens_look_at_each_other_by_how_far_they_stand_apart():
    torch.manual_seed(0)
    attention = Attention(16, 2)
    one, other = torch.randn(2, 1, 1, 16)

    def near(place, behind):
        query, key = attention.apart(one, place), attention.apart(other, place - behind)
        return (query * key).sum(3)

    torch.testing.assert_close(near(9, 2), near(4, 2), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(near(9, 2), near(9, 3), atol=1e-2)


@torch.inference_mode()
def test_a_layer_begins_by_adding_the_same_to_all_that_it_sees():
    model = PageWriter(Config(32, 2, 2, 2), Spec("a menu")).eval()
    one, other = torch.randn(2, 1, 5, 32)
    for layer in [*model.encoder, *model.decoder]:
        added, again = (layer(x, None, torch.randn(1, 3, 32)) - x for x in (one, other))
        torch.testing.assert_close(added, again, rtol=0, atol=1e-5)


def counted(*pairs):
    """What five requests of each of these texts teach about keywords."""
    requests, asked = zip(*pairs, strict=True)
    words = sorted({piece.text for text in requests for piece in page_grammar.pieces(text)})
    model = KeywordPage(OfKeywords(), Spec(" ".join(words)))
    model.count(requests * 5, asked * 5)
    return model


MENU_AND_MORE = (
    ("a menu of 3", [Part("menu", "", 3)]),
    ("a list of 3", [Part("list", "", 3)]),
    ("a search", [Part("search")]),
    ("a heading", [Part("heading", "", 1)]),
)


def test_a_keyword_stands_nearly_always_for_the_same_and_was_met_often():
    model = counted(*MENU_AND_MORE)
    assert model.keywords == {
        "3": "3",
        "heading": "heading",
        "list": "list",
        "menu": "menu",
        "of": "3",
        "search": "search",
    }
    pairs = [(text, tuple(parts)) for text, parts in MENU_AND_MORE]
    model.count(*zip(*pairs * 4, strict=True))
    assert model.met.max() == 16 and model.keywords == {"3": "3", "of": "3"}


def test_what_stands_between_quotation_marks_is_a_label_and_no_keyword():
    [made] = counted(*MENU_AND_MORE).write(['a menu "list"'])
    assert made.parts == (Part("menu", words=("list",)),)


def test_a_number_goes_to_the_nearest_part_that_takes_one():
    [made] = counted(*MENU_AND_MORE).write(["a menu here and there, a search 3"])
    assert made.parts == (Part("menu", "", 3), Part("search"))


class Says(PageSystem):
    """A page of these parts, whatever is asked for."""

    parts = (Part("heading"), Part("text"), Part("text"))

    def write(self, requests):
        return [Written(self.parts) for _request in requests]


def test_a_page_is_judged_by_its_own_html():
    [(parts, valid)] = read_again(Says(None, Spec()), ["a heading and two texts"])
    assert valid and parts == (Part("heading"), Part("text", many=2))


def test_words_are_known_that_asked_for_something_often_enough():
    """And not those that were on labels alone."""
    cases = requested(600)
    requests, asked = list(cases.input), list(cases.target)
    requests[0], asked[0] = 'a splendid menu "Zebra"', (Part("menu", words=("Zebra",)),)
    cases = replace(cases, input=ListColumn(requests), target=ListColumn(asked))
    many, few = (
        set(registry.load_task("text_to_page").spec(cases.only(range(count))).vocabulary.split()) for count in (600, 60)
    )
    assert {"menu", "list"} <= many & few
    assert "splendid" in few - many and "zebra" not in few | many


def learnt(kind, config, cases, steps):
    torch.manual_seed(0)
    model = kind(config, kind.spec_for(cases))
    for _progress in model.fit(model.loader(cases, seed=0), Run(steps, 64)):
        pass
    return model.eval()


@pytest.fixture(scope="module")
def cases():
    return requested(700)


@pytest.fixture(scope="module")
def wrote(cases):
    config = Config(32, 1, 1, 2, 0.0, 0.02, 1e-2)
    return learnt(PageWriter, config, cases.only(range(600)), 60)


@pytest.fixture(scope="module")
def keyed(cases):
    return learnt(KeywordPage, OfKeywords(), cases.only(range(600)), 3)


def test_it_learns_to_write_what_it_never_saw(wrote, cases):
    test = cases.only(range(600, 700))
    said = [made.parts for made in wrote.write(list(test.input))]
    assert sum(map(tuple.__eq__, said, test.target)) >= 85


def test_keywords_find_the_parts_and_what_stands_nearest(keyed, cases):
    test = cases.only(range(600, 700))
    found = [tally(m.parts, t) for m, t in zip(keyed.write(list(test.input)), test.target, strict=True)]
    assert sum(each.matched for each in found) > 0.9 * sum(each.asked for each in found)
    [parts] = [made.parts for made in keyed.write(["a menu with 3 links and a list of 5 items"])]
    assert parts == (Part("menu", "", 3), Part("list", "", 5))
    assert keyed.write(["nothing there"])[0].parts == ()


def test_figures_stand_apart_by_what_was_held_out(keyed, cases, tmp_path):
    task = registry.load_task("text_to_page")
    test = cases.only(range(600, 640))
    from souron.evaluation.answers import Setup, Trainings

    setup = Setup(None, test)
    [*_steps, last] = task.answer(keyed, test, {}, setup)
    result = task.result(Trainings.of_one(test, last.result, {}), setup)
    assert isinstance(result, PageResult)
    assert {"new pairs", "new pairs, ja", "new wordings"} <= set(result.apart)
    rows = [k for k, name in enumerate(test.columns["subset"]) if name == "new pairs"]
    right = last.result["tally"][rows, 0].mean().item()
    assert result.apart["new pairs"]["all right"].value == pytest.approx(right)
    assert all(0 <= m.low <= m.value <= m.high <= 1 for s in result.apart.values() for m in s.values())
    whole = task.measures([last.result], setup)
    assert whole["F1 of parts"].low <= whole["F1 of parts"].value <= whole["F1 of parts"].high


def test_unknown_words_are_named_and_harmless(wrote, keyed):
    for model in (wrote, keyed):
        page = model.predict(Text("a menu with 3 links and a <script>alert(1)</script> hologram 🎈"))
        assert "hologram" in page.notes[0] and "🎈" in page.notes[0] and "links" not in page.notes[0]
        assert "<script" not in page.html.lower()
    assert not wrote.predict(Text("a menu with 3 links")).notes
    assert not keyed.predict(Text('a menu "Zebra" with 3 links')).notes  # it stands on a label
    assert "Mine" in wrote.predict(Text("a menu with 3 links"), title="Mine").html


BAD = [
    ("", "empty request"),
    ("  \n", "empty request"),
    ("!?…", "empty request"),
    ("🎈🎈", "empty request"),
    ("hologram xyzzy", "unknown words"),
    ("a menu " * 200, "long request"),
]


@pytest.mark.parametrize(("text", "code"), BAD)
def test_requests_that_cannot_be_answered(keyed, text, code):
    with pytest.raises(UserError) as caught:
        keyed.predict(Text(text))
    assert caught.value.code == code and caught.value.exit == 3 and caught.value.expected


def test_a_request_is_typed_or_read_from_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my request").write_text("a", encoding="utf-8")
    assert models_api.is_typed("a page with a menu") and models_api.is_typed("メニュー")
    assert models_api.is_typed("a page " * 500)
    for name in ("my request", "my request.txt", "text.txt", "menu", "表.csv"):
        assert not models_api.is_typed(name), name


def test_a_typed_request_becomes_a_page_that_is_marked(keyed, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURON_LANG", "en")
    folder = made_run(tmp_path / "run", "keyword_page", keyed, keyed.config, keyed.spec)
    model = models_api.load(folder)
    [(name, page)] = models_api.predict(model, ["a menu with 3 links"])
    path = models_api.keep(page, name, tmp_path / "out", "", model)
    assert path.name == "a-menu-with-3-links.html"
    found = provenance.look(path)
    assert found.mark.settings == {"prompt": "a menu with 3 links"}
    assert web_pages.read(path.read_text(encoding="utf-8")) == (Part("menu", many=3),)
    [(_name, trouble)] = models_api.predict(model, ["🎈 🎈"])
    assert trouble.code == "empty request"


def test_own_requests_with_their_pages(tmp_path):
    good = web_pages.written([Part("heading", words=("Hello",)), Part("menu", many=3)])
    bad = "<p onclick='x()'>a</p>"
    lines = [("a heading Hello and a menu with three links", good), ("a text", bad), ("a heading", good)]
    file = tmp_path / "own.jsonl"
    file.write_text("\n".join(json.dumps({"request": a, "html": b}) for a, b in lines))
    data = load.load(str(file), formats=registry.load_task("text_to_page").formats)
    assert list(data.target) == [(Part("heading", words=("Hello",)), Part("menu", many=3))]
    assert [skip.code for skip in data.skipped] == ["unsafe page", "other words"]


def test_the_data_set_has_its_parts_apart(made):
    data = page_requests.of(made)
    assert set(data.part) == {"train", "val", "test"}
    assert {s for s, p in zip(data.columns["subset"], data.part, strict=True) if p != "test"} == {""}
    registry.load_task("text_to_page").check(data, None)
    with pytest.raises(UserError, match="no requests with pages"):
        registry.load_task("text_to_page").check(load.load("digits"), None)
