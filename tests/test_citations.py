"""References in an answer: what cannot exist, a reader's own library, registries that are asked."""

import json
import threading
import time
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import waiting

from souron.actions.references import library
from souron.actions.references.findings import check, counts
from souron.actions.references.identifiers import find, identify
from souron.actions.references.record import ReferencesRecord
from souron.cli.main import run
from souron.hub import references
from souron.report import page
from souron.utils.messages import UserError

TODAY = date(2026, 11, 27)
BIB = r"""
@string{cvpr = "IEEE Conference on Computer Vision and Pattern Recognition"}
@comment{ignored}
@inproceedings{he2016, title={Deep Residual Learning for Image Recognition},
  author={He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing}, booktitle=cvpr,
  pages={770--778}, year=2016, doi={10.1109/CVPR.2016.90}}
@article{lecun, title={Deep learning}, author={Yann LeCun and Yoshua Bengio}, journal={Nature},
  volume=521, pages={436--444}, year={2015}, doi={https://doi.org/10.1038/nature14539}}
@article(maaten, title="Visualizing data using t-{SNE}", author={van der Maaten, Laurens},
  journal={Journal of } # "Machine Learning Research", volume=9, pages={2579--2605}, year=2008)
@article{yamada, title={深層学習による画像診断の支援}, author={山田, 太郎 and 鈴木, 花子},
  journal={日本医学会雑誌}, volume=12, pages={33--40}, year=2019}
@misc{vaswani, title={Attention Is All You Need}, author={Ashish Vaswani}, year={2017},
  eprint={1706.03762}, archivePrefix={arXiv}}
@book{muller, title={{\"U}ber {\'E}coles}, author={M{\"u}ller, J{\"o}rg}, year=1999,
  isbn={0-306-40615-2}}
"""


@pytest.fixture
def shelf(tmp_path):
    file = tmp_path / "refs.bib"
    file.write_text(BIB, encoding="utf-8")
    return library.read([file])


def states(text, entries=()):
    return [found.state for found in check(text, entries, TODAY)]


REAL = (
    "doi:10.1038/nature14539",
    "https://doi.org/10.1016/S0140-6736(20)30183-5",
    "10.1002/(SICI)1097-0258(19980815/30)17:15/16<1661::AID-SIM968>3.0.CO;2-2",
    "doi: 10.1007/978-3-319-24574-4_28",
    "PMID: 31978945",
    "PMC3060408",
    "arXiv:1706.03762v7",
    "arxiv.org/abs/hep-th/9901001",
    "arXiv:0704.0001",
    "arXiv:math.GT/0309136",
    "ISBN 0-306-40615-2",
    "ISBN-13: 978-3-16-148410-0",
    "ISBN 10: 0306406152",
    "ISSN 0378-5955",
    "ISSN: 2434-561X",
    "https://orcid.org/0000-0002-1825-0097",
    "ORCID 0000-0002-1694-233X",
)
WRONG = {
    "doi:10.103/nature14539": "registrant",
    "doi: 11.1038/nature14539": "begins with 10.",
    "doi:10.0038/nature14539": "registrant",
    "doi:10.1038/": "nothing follows",
    "doi:10.1007/978-3-319-24574-5_28": "ISBN within",
    "10.1016/S0140-6737(20)30183-5": "ISSN within",
    "10.48550/arXiv.2313.00001": "month 13",
    "PMID: 99999999": "as high",
    "PMID: 0123": "zeros",
    "PMC99999999": "as high",
    "arXiv:2300.12345": "month 00",
    "arXiv:2612.00001": "not come yet",
    "arXiv:1301.12345": "4 digits",
    "arXiv:1706.0376": "5 digits",
    "arXiv:0703.0001": "April 2007",
    "arXiv:hep-th/0704001": "March 2007",
    "arXiv:hep-xx/9901001": "archive",
    "arXiv:2106.00000": "never",
    "arXiv:2106.01234v0": "v1",
    "ISBN 0-306-40615-3": "check digit",
    "ISBN 978-3-16-148410-1": "check digit",
    "ISBN 977-3-16-148410-0": "978 or 979",
    "ISBN 0-306-4061-2": "9",
    "ISSN 0378-5956": "check digit",
    "ISSN 0378-595": "7",
    "ORCID 0000-0002-1825-0098": "check digit",
}


@pytest.mark.parametrize("text", REAL)
def test_what_is_real_can_exist(text):
    (found,) = find(f"As shown ({text}).", TODAY)
    assert found.why == "" and states(f"As shown ({text}).") == ["possible"]


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_exist_says_why(text):
    found = find(f"参考は{text}です。", TODAY)
    assert [WRONG[text] in one.why for one in found] == [True]


def test_every_wrong_digit_is_seen_where_there_is_a_check_digit():
    for kind, value in (
        ("isbn", "0306406152"),
        ("isbn", "9783161484100"),
        ("issn", "0378-5955"),
        ("orcid", "0000-0002-1825-0097"),
    ):
        for place, digit in enumerate(value):
            for other in set("0123456789") - {digit} if digit != "-" else ():
                assert identify(kind, value[:place] + other + value[place + 1 :], TODAY).why


def test_full_width_digits_and_what_follows_in_japanese():
    found = find("詳細は（ｄｏｉ：１０．１０３８／ｎａｔｕｒｅ１４５３９）。PMID：３１９７８９４５を参照", TODAY)
    assert [(one.kind, one.value) for one in found] == [("doi", "10.1038/nature14539"), ("pmid", "31978945")]
    found = find('See [a](https://doi.org/10.1/x), "10.1038/a.b.", 10.5/20', TODAY)
    assert [one.value for one in found] == ["10.1/x", "10.1038/a.b"]
    text = "(doi:10.1016/S0140-6736(20)30183-5), as ever"
    (one,) = find(text, TODAY)
    assert text[one.start : one.end] == "10.1016/S0140-6736(20)30183-5"


def test_a_year_that_has_not_come():
    text = "References\n1. Smith J, Lee K. Braces of tomorrow. J Dent Res. {};12:1-9."
    assert states(text.format(2031)) == ["impossible"]
    assert states(text.format(2026)) == states(text.format(2027)) == ["possible"]


AGREES = (
    "1. He K, Zhang X. Deep residual learning for image recognition. CVPR. 2016:770-8. doi:10.1109/CVPR.2016.90",
    "[2] LeCun, Y., & Bengio, Y. (2015). Deep learning. Nature, 521(7553), 436–444. "
    "https://doi.org/10.1038/nature14539",
    "- van der Maaten L. Visualizing Data using t-SNE. J Mach Learn Res 2008; 9: 2579-2605.",
    "4) 山田太郎，鈴木花子．深層学習による画像診断の支援．日本医学会雑誌 2019；12：33-40．",
    "5. J. Müller, Über Écoles, 1999. ISBN 978-0-306-40615-7",
)
DIFFERS = {
    "1. LeCun Y. Deep learning. Nature. 2016;521:436-44. doi:10.1038/nature14539": ["year"],
    "1. Hinton G. Deep learning. Nature. 2015;521:436-44. doi:10.1038/nature14539": ["author"],
    "1. LeCun Y. Deep learning. Science. 2015;521:436-44. doi:10.1038/nature14539": ["journal"],
    "1. LeCun Y. Deep learning. Nature. 2015;521:430-44. doi:10.1038/nature14539": ["pages"],
    "1. LeCun Y. Deep learning. Nature. 2015;12:436-44. doi:10.1038/nature14539": ["volume"],
    "1. LeCun Y. A theory of everything that matters. Nature. 2015;521:436-44. doi:10.1038/nature14539": ["title"],
    "1. He K. Deep residual learning for image recognition. 2016. doi:10.1109/CVPR.2015.7": ["doi"],
    "1. 山田太郎. 深層学習による画像診断の支援. 日本医学会雑誌 2020; 12: 33-40.": ["year"],
    "1. He K. Deep residual learning for speech recognition. CVPR. 2016. doi:10.1109/CVPR.2016.90": ["title"],
    # a true reference with the number of another one
    "1. He K. Deep residual learning for image recognition. CVPR. 2016:770-8. doi:10.1038/nature14539": ["doi"],
}


@pytest.mark.parametrize("text", AGREES)
def test_a_reference_that_agrees_with_the_library(text, shelf):
    (found,) = check(f"参考文献\n{text}", shelf, TODAY)
    assert (found.state, found.differs) == ("agrees", ())


@pytest.mark.parametrize("text", DIFFERS)
def test_a_reference_that_differs_says_in_what(text, shelf):
    (found,) = check(f"References\n{text}\n", shelf, TODAY)
    assert (found.state, [each.field for each in found.differs]) == ("differs", DIFFERS[text])
    assert found.differs[0].library in found.told()


def test_what_is_not_in_the_library_is_not_called_wrong(shelf):
    text = "References\n1. Chen Y, Wong P. Something else entirely here. Lancet. 2012;380:11-19."
    assert states(text, shelf) == ["absent"]
    assert states("As in doi:10.1000/182 and PMID 123.", shelf) == ["absent", "absent"]


def test_a_title_alone_is_not_the_librarys_entry(shelf):
    text = "References\n1. {} Attention is all you need. J Odd Res. {};3:1-9."
    assert states(text.format("Doe J.", 2001), shelf) == ["absent"]
    assert states(text.format("Vaswani A.", 2001), shelf) == ["differs"]
    assert states(text.format("Doe J.", 2017), shelf) == ["differs"]


def test_a_field_that_a_reference_does_not_give_is_no_difference(shelf):
    text = "References\n1. LeCun Y. Deep learning. 2015. doi:10.1038/nature14539"
    assert states(text, shelf) == ["agrees"]


def test_mentions_in_running_text(shelf):
    text = (
        "He et al. (2016) and Smith and Jones (2019) agree; in Tokyo (2020) it rained, "
        "and Vaswani (2016) is early. 山田ら（2019）も同様。東京（2020）年。"
    )
    found = check(text, shelf, TODAY)
    assert [(one.reference, one.state, one.key) for one in found] == [
        ("He et al. (2016)", "agrees", "he2016"),
        ("Smith and Jones (2019)", "absent", ""),
        ("Vaswani (2016)", "absent", ""),
        ("山田ら（2019）", "agrees", "yamada"),
    ]
    assert "2017" in found[2].why


def test_each_identifier_of_a_sentence_is_judged_by_itself(shelf):
    text = "ResNet (doi:10.1109/CVPR.2016.90) came before arXiv:1706.03762; ISSN 0378-5956 is odd."
    assert states(text, shelf) == ["identified", "identified", "impossible"]


def test_a_forged_title_in_a_sentence_does_not_agree(shelf):
    text = 'As "Quantum gravity explained to dogs" (doi:10.1038/nature14539) shows, it works.'
    [found] = check(text, shelf, TODAY)
    assert (found.state, [each.field for each in found.differs]) == ("differs", ["title"])
    [true] = check(text.replace("Quantum gravity explained to dogs", "Deep learning of it"), shelf, TODAY)
    assert true.state == "differs"
    assert states('As "Deep learning" (doi:10.1038/nature14539) shows, it works.', shelf) == ["agrees"]


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("As doi:10.1038/nature14539 shows.", "identified"),
        ("Quantum gravity explained to dogs (doi:10.1038/nature14539) shows that it works.", "identified"),
        ("Doe (2021) explained quantum gravity to dogs, https://doi.org/10.1038/nature14539.", "identified"),
        ("See [Quantum gravity explained to dogs](https://doi.org/10.1038/nature14539).", "differs"),
        ("See **Quantum gravity explained to dogs**, doi:10.1038/nature14539.", "differs"),
        (f'See "Quantum gravity explained to {"patient " * 20}dogs", doi:10.1038/nature14539.', "differs"),
        ("Deep residual learning for image recognition (doi:10.1109/CVPR.2016.90) began it.", "agrees"),
        ("See [deep residual learning for image recognition](https://doi.org/10.1109/CVPR.2016.90).", "agrees"),
    ],
)
def test_a_number_in_a_sentence_without_its_title_does_not_agree(text, state, shelf):
    [found] = check(text, shelf, TODAY)
    assert found.state == state
    assert state != "identified" or "in your library: Deep learning" in found.told()


@pytest.mark.parametrize("numbers", ["2019；１２：３３－４０", "第12巻、33～40頁、2019年"])
def test_a_japanese_reference_without_a_heading_is_listed(shelf, numbers):
    said = "山田太郎，鈴木花子．深層学習による画像診断の支援．日本医学会雑誌"
    text = f"次の研究がある。\n\n{said} {numbers}．"
    found = check(text, shelf, TODAY)
    assert [one.state for one in found] == ["agrees"] and found[0].key


def as_html(findings):
    """The part of a page that lists them."""
    [part] = ReferencesRecord("answer.txt", findings, 1).sections()
    return page.html(part.drawn())


def test_findings_for_programs_and_pages(shelf):
    text = "References\n1. LeCun Y. Deep <b>learning</b>. Nature. 2016;521:436-44. 10.1038/nature14539"
    found = check(text, shelf, TODAY)
    assert found[0].as_json()["differs"] == [{"field": "year", "answer": "2016", "library": "2015"}]
    assert found[0].as_json()["identifiers"] == [{"kind": "doi", "value": "10.1038/nature14539"}]
    assert "&lt;b&gt;" in as_html(found) and "<b>" not in as_html(found)
    assert counts(found) == {"differs": 1}


RIS = """TY  - JOUR
AU  - LeCun, Yann
TI  - Deep learning
JO  - Nature
VL  - 521
SP  - 436
EP  - 444
PY  - 2015/05/28
DO  - 10.1038/nature14539
SN  - 0028-0836
ER  -
"""
NBIB = """PMID- 26017442
OWN - NLM
TI  - Deep
      learning.
FAU - LeCun, Yann
DP  - 2015 May 28
JT  - Nature
VI  - 521
PG  - 436-44
LID - 10.1038/nature14539 [doi]
"""
CSL = [
    {
        "id": "x",
        "title": ["Deep learning"],
        "author": [{"family": "LeCun"}],
        "container-title": "Nature",
        "volume": "521",
        "page": "436-444",
        "issued": {"date-parts": [[2015, 5]]},
        "DOI": "10.1038/nature14539",
    }
]


@pytest.mark.parametrize("name", ["a.ris", "a.nbib", "a.json"])
def test_the_formats_of_libraries(name, tmp_path):
    file = tmp_path / name
    text = {"a.ris": RIS, "a.nbib": NBIB, "a.json": json.dumps(CSL)}[name]
    file.write_bytes(text.encode("utf-16" if name == "a.ris" else "utf-8"))
    (entry,) = library.read([tmp_path])
    assert entry.authors == ("LeCun",) and (entry.year, entry.volume) == (2015, "521")
    assert entry.identifiers["doi"] == {"10.1038/nature14539"}
    assert states("References\n" + next(iter(DIFFERS)), [entry]) == ["differs"]


def test_libraries_that_are_none(tmp_path):
    for name, text in (("a.bib", "no entry"), ("b.txt", BIB), ("c.json", "[1, 2]")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(UserError) as trouble:
            library.read([tmp_path / name])
        assert trouble.value.code == "library" and ".bib" in trouble.value.expected


def test_a_broken_entry_leaves_the_others(tmp_path):
    file = tmp_path / "broken.bib"
    file.write_text("@article{a, title={never closed\n" + BIB, encoding="utf-8")
    assert "lecun" in {entry.key for entry in library.read([file])}


HOSTILE = {
    "brackets": "10.1234/" + ")" * 300_000,
    "digits": "ISSN " + "1" * 300_000 + "a",
    "letters": "A" * 300_000,
    "names": "Abc " * 100_000,
    "spaces": " " * 300_000,
    "marks": "- Smith J. Nothing 2019. doi:10.1000/1\n" * 3_000,
    "kanji": "漢" * 300_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_text_made_to_be_slow_is_not(name, shelf):
    begun = time.process_time()
    check(HOSTILE[name], shelf, TODAY)
    assert time.process_time() - begun < waiting.LIMIT  # without bounds it would be hours


class Registries(BaseHTTPRequestHandler):
    """As Crossref, doi.org, PubMed and arXiv answer."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/works/10.1038%2Fnature14539":
            self.say({"message": {**CSL[0], "abstract": "x" * 9_999}})
        elif self.path == "/api/handles/10.5281/zenodo.1":
            self.say({"responseCode": 1})
        elif "db=pubmed" in self.path:
            known = {"uid": "1", "title": "Old", "authors": [{"name": "He K"}], "pubdate": "1999 May"}
            self.say({"result": {"1": known, "2": {"error": "cannot get document summary"}}})
        elif "2106.00002" in self.path:
            self.say("<!DOCTYPE feed [<!ENTITY a 'aaaa'>]><feed>&a;</feed>")
        elif self.path.startswith("/api/query"):
            entry = (
                "<entry><id>x</id><title>Attention</title><published>2017-06</published>"
                "<author><name>Ashish Vaswani</name></author></entry>"
            )
            here = entry if "1706.03762" in self.path else ""
            self.say(f'<feed xmlns="http://www.w3.org/2005/Atom">{here}</feed>')
        else:
            self.send_error(500 if "broken" in self.path else 404)

    def say(self, what):
        body = (what if isinstance(what, str) else json.dumps(what)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_given):
        pass


@pytest.fixture
def registries(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registries)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(references, "HOSTS", dict.fromkeys(references.HOSTS, address))
    monkeypatch.setattr(references, "PAUSE", dict.fromkeys(references.PAUSE, 0.0))
    monkeypatch.setenv("SOURON_OFFLINE", "0")
    yield server
    server.shutdown()
    server.server_close()


def test_found_not_found_and_could_not_be_asked(registries):
    asked = [
        ("doi", "10.1038/nature14539"),
        ("doi", "10.5281/zenodo.1"),
        ("doi", "10.1000/none"),
        ("pmid", "1"),
        ("pmid", "2"),
        ("arxiv", "1706.03762"),
        ("arxiv", "2106.00001"),
        ("arxiv", "2106.00002"),
        ("isbn", "0306406152"),
        *(("doi", f"10.1/broken{k}") for k in range(4)),
    ]
    answers = {answer.value: answer for answer in references.ask(asked)}
    told = {value: answer.state for value, answer in answers.items()}
    assert told == {
        "10.1038/nature14539": "found",
        "10.5281/zenodo.1": "found",
        "10.1000/none": "not found",
        "1": "found",
        "2": "not found",
        "1706.03762": "found",
        "2106.00001": "not found",
        "2106.00002": "not asked",
        **{f"10.1/broken{k}": "not asked" for k in range(4)},
    }
    assert not any("broken3" in path for path in registries.asked)  # a host that fails is left alone
    assert "abstract" not in answers["10.1038/nature14539"].record


def test_fetched_references_make_a_library(registries, tmp_path, capsys):
    answer = tmp_path / "answer.txt"
    text = "References\n1. LeCun Y. Deep learning. Nature. 2016;521:436-44. doi:10.1038/nature14539\n"
    answer.write_text(text + "2. Doe J. None. 2020. doi:10.1000/none", encoding="utf-8")
    assert run(["fetch", "references", str(answer)]) == 5 and registries.asked == []
    assert "2 identifiers" in capsys.readouterr().err
    assert run(["fetch", "references", str(answer), "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["state"] for each in told["answers"]] == ["found", "not found"]
    assert all("LeCun" not in path for path in registries.asked)  # identifiers alone leave
    found = check(answer.read_text(), library.read([told["library"]]), TODAY)
    assert [each.state for each in found] == ["differs", "absent"]
    assert "Crossref" in found[1].why
    assert run(["fetch", "references", str(answer), "--yes"]) == 0  # added to what it made itself
    Path(told["library"]).write_text("[]x", encoding="utf-8")
    assert run(["fetch", "references", str(answer), "--yes"]) == 3  # what another made stays
    assert Path(told["library"]).read_text(encoding="utf-8") == "[]x"


def test_nothing_is_asked_offline(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("PMID 31978945", encoding="utf-8")
    assert run(["fetch", "references", str(tmp_path / "a.txt"), "--yes"]) == 4
    assert "SOURON_OFFLINE" in capsys.readouterr().err


def test_the_command_checks_references_without_sources_and_without_a_library(tmp_path, capsys):
    answer, refs = tmp_path / "answer.txt", tmp_path / "refs.bib"
    answer.write_text("Carry on, see ISBN 978-3-16-148410-1 and https://doi.org/10.1000/182.\n")
    refs.write_text("@article{a, title={Another thing}, author={Doe, Jane}, year={2015}}\n")
    assert run(["check", str(answer)]) == 0
    assert "cannot exist" in capsys.readouterr().out
    assert run(["check", str(answer), f"library={refs}", "--json"]) == 0
    states = {one["state"] for one in json.loads(capsys.readouterr().out)["citations"]}
    assert "impossible" in states


def test_a_check_against_sources_names_a_wrong_check_digit_as_well(tmp_path, capsys):
    answer, source = tmp_path / "answer.txt", tmp_path / "source.txt"
    answer.write_text("The book is ISBN 978-3-16-148410-1.\n")
    source.write_text("A book is named here, and nothing else of it is known.\n")
    assert run(["check", str(answer), f"sources={source}", "--forget"]) == 0
    assert "cannot exist" in capsys.readouterr().out


def test_the_study_reads_several_texts_and_says_what_its_results_are_not(tmp_path, capsys):
    one, other, refs = (tmp_path / name for name in ("one.txt", "two.md", "refs.bib"))
    one.write_text("See ISBN 978-3-16-148410-1.")
    other.write_text("And https://doi.org/10.1000/182.")
    refs.write_text(BIB, encoding="utf-8")
    words = ["references", str(one), str(other), f"project={tmp_path / 'runs'}"]
    assert run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"impossible": 1, "possible": 1} and told["library"] == 0
    assert len(told["notes"]) == 2 and "Without a library" in told["notes"][1]
    assert run([*words, f"library={refs}"]) == 0
    shown = capsys.readouterr()
    assert "References: 2 (cannot exist: 1, is not in your library: 1)." in shown.out
    assert "may well exist" in shown.err and "Without a library" not in shown.err
    page = (tmp_path / "runs/references/one-2/report.html").read_text(encoding="utf-8")
    assert "the check digit of the ISBN is wrong" in page
    other.write_text("Nothing is cited here.")
    assert run(["references", str(other), f"project={tmp_path / 'runs'}"]) == 0
    assert "no reference was found" in capsys.readouterr().out
