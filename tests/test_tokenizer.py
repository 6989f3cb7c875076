"""Tokenizers, and templates of conversations."""

import base64
import json
import re
import subprocess
import sys
import zlib

import pytest
import waiting
from shapes import pieces_learnt

from souron.data.language import chat_template, tokenizer_limits
from souron.data.language.tokenizer import Tokenizer
from souron.hub import open_models
from souron.kinds.chat import Turn
from souron.utils.messages import UserError

TALK = (Turn("system", "Be kind."), Turn("user", "to be<|end|>?"), Turn("assistant", "not to be"))


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.learn(["to be or not to be, 東京大学病院の外来。"] * 20, 320)


@pytest.mark.parametrize("text", ["to be", "東京の🦷", "", "a\r\nb\t", "tea\x00", "e\u0301"])
def test_a_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_half_a_letter_becomes_a_question_mark(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud83d")) == "a?"


def test_frequent_pairs_become_tokens(tokenizer):
    assert len(tokenizer.encode("not to be")) < 5 < len(tokenizer.encode("zqxwvkj"))


def test_no_token_crosses_from_one_script_to_another():
    texts = ["草の上を左へ動く赤いコーヒーカップ", "雪の上を左へ動く青い鳥"] * 9
    whole, apart = (Tokenizer.learn(texts, 1024, by_script=by_script) for by_script in (False, True))
    assert len(whole.encode(texts[0])) == 1
    assert [apart.decode([token]) for token in apart.encode(texts[0])] == [
        *("草", "の", "上", "を", "左", "へ", "動", "く", "赤", "い", "コーヒーカップ")
    ]


def test_pieces_say_where_they_stand(tokenizer):
    pieces = tokenizer.pieces("to 東🦷")
    assert [piece.text for piece in pieces][-1] == "🦷" and pieces[-1].end == 5
    assert [piece.id for piece in pieces] == tokenizer.encode("to 東🦷")


def test_it_is_kept_as_one_word(tokenizer):
    word = tokenizer.packed()
    again = Tokenizer.unpacked(word)
    assert again.encode("not to be") == tokenizer.encode("not to be")
    assert again.conversation(TALK) == tokenizer.conversation(TALK)
    with pytest.raises(UserError, match="cannot be read"):
        Tokenizer.unpacked(word[:-20])


def test_a_tokenizers_file_is_read(tokenizer, tmp_path):
    file = tmp_path / "tokenizer.json"
    file.write_text(tokenizer.backend.to_str(), encoding="utf-8")
    assert Tokenizer.of_file(file).encode("not to be") == tokenizer.encode("not to be")
    file.write_text(json.dumps({"model": "no"}))
    with pytest.raises(UserError, match="no tokenizer"):
        Tokenizer.of_file(file)


def grown(count, content, pattern):
    step = {"type": "Replace", "pattern": pattern, "content": content}
    return {"normalizer": {"type": "Sequence", "normalizers": [step] * count}}


def split(pattern):
    return {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}}


@pytest.mark.parametrize(
    "change, why",
    [
        (grown(4, "a" * 180, {"String": "a"}), "32 times as long"),
        (grown(1, "a" * 180, {"Regex": "."}), "32 times as long"),
        (grown(1, "a" * 180, {"String": ""}), "32 times as long"),
        (grown(9, "aa", {"String": "a"}), "32 times as long"),
        ({"normalizer": {"type": "Prepend", "prepend": "a" * 10**6}}, "before each word"),
        (split("(x+x+)+y"), "without end"),
        (split("((?:x|xx)*)*y"), "without end"),
        (split("(?:a|b+)+"), "without end"),
        (split("(x{2,}){9,}"), "without end"),
        (split("(x{1,900})*y"), "without end"),
        (split("(x+){90}y"), "without end"),
        (split(r"\w*\w*\w*!"), "without end"),
        (split(r"(a|b)\1"), "without end"),
        ({"decoder": {"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 99}}, "32"),
    ],
)
def test_a_tokenizer_that_grows_or_never_ends_is_refused(change, why, tokenizer, tmp_path):
    whole = json.loads(tokenizer.backend.to_str()) | change
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=why):
        Tokenizer.of_file(file)
    about = {"backend": whole, "template": "", "end": [], "start": ""}
    word = base64.b85encode(zlib.compress(json.dumps(about).encode())).decode()
    with pytest.raises(UserError, match=why):
        Tokenizer.unpacked(word)


PATTERNS = {  # as published models have them
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
    "deepseek": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?"
    r"[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}&&[^\p{Han}]]*[\p{Ll}&&[^\p{Han}]]+",
    **{name: pattern for name, (_digits, pattern) in open_models.PRE_TOKENIZERS.items()},
}


@pytest.mark.parametrize("name", list(PATTERNS))
def test_patterns_of_published_models_are_taken(name):
    assert tokenizer_limits.simple(PATTERNS[name])


def test_steps_of_published_tokenizers_are_taken(tokenizer, tmp_path):
    blank = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    steps = [{"type": "Prepend", "prepend": "\u2581"}, blank, {"type": "NFKC"}]
    change = {"normalizer": {"type": "Sequence", "normalizers": steps}}
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(tokenizer.backend.to_str()) | change))
    assert Tokenizer.of_file(file).encode("to be")


def test_a_library_that_panics_is_told(tokenizer):
    """Its exception is no ``Exception``, so that nothing else would catch it."""
    import tokenizers

    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    slow = tokenizers.Regex("(x+x+)+y")
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(slow, "isolated")
    for method in ("encode", "pieces"):
        with pytest.raises(UserError, match="broke off"):
            getattr(Tokenizer(backend), method)("x" * 40)


def test_a_conversation_says_what_the_assistant_said(tokenizer):
    ids, said = tokenizer.conversation(TALK)
    own = [number for number, mine in zip(ids, said, strict=True) if mine]
    assert tokenizer.decode(own) == "not to be" and own[-1] == tokenizer.end[0]
    assert ids.count(tokenizer.end[0]) == 3, "nobody ends a turn by writing so"


def test_an_open_conversation_ends_where_the_assistant_goes_on(tokenizer):
    ids, _said = tokenizer.conversation(TALK[:2], answer=True)
    assert tokenizer.decode(ids[-1:], special=True) == "<|assistant|>"


def test_without_a_template_there_is_no_conversation(tokenizer):
    with pytest.raises(UserError, match="no template"):
        Tokenizer(tokenizer.backend).conversation(TALK)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 99999999999 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% for m in messages %}{{ m.update({'role': 'x'}) }}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{ raise_exception('only users') }}",
        "{% for",
        "{{ '%99999999s' % 'x' }}",
    ],
)
def test_a_templates_tricks_are_refused(template):
    with pytest.raises(UserError, match="template for conversations fails"):
        list(chat_template.parts(template, TALK))


DOUBLED = "{{% set ns = namespace(x={start}) %}}{{% for i in range(60) %}}{{% set ns.x = {grown} %}}{{% endfor %}}"


@pytest.mark.parametrize(
    "template",
    [
        DOUBLED.format(start="'aaaa'", grown="ns.x ~ ns.x"),
        DOUBLED.format(start="'aaaa'", grown="ns.x + ns.x"),
        DOUBLED.format(start="[1]", grown="ns.x + ns.x"),
        DOUBLED.format(start="'a'", grown="ns.x | replace('a', 'aaaa')"),
        DOUBLED.format(start="'a'", grown="ns.x.replace('a', 'aaaa')"),
        DOUBLED.format(start="7", grown="ns.x * ns.x"),
        "{% set x = 'a' | center(2000000000) %}",
        "{% set x = 'a\n' | indent(2000000000, true) %}",
        "{% set x = '%2000000000d' | format(1) %}",
        "{% set x = '{:2000000000d}'.format(1) %}",
        "{% set x = [[1]] | tojson(indent=2000000000) %}",
        "{% set x = lipsum(n=90000000) %}",
        "{% set x = 'x' * 99999999999 %}",
    ],
)
def test_a_templates_memory_and_time_are_bounded(template):
    """Rendered from a small process: what a process holds when it starts another counts as memory
    of the other."""
    rendered = subprocess.run(
        [sys.executable, "-c", RENDER, template], capture_output=True, text=True, timeout=waiting.LIMIT
    )
    assert rendered.returncode == 0, rendered.stderr
    answer = json.loads(rendered.stdout)
    assert re.search(r"takes more than|Limit|not allowed|cannot fit", answer["refused"])
    assert answer["next"] == "Be kind.", "it goes on"
    assert answer["largest_child"] <= 2 * chat_template.MEMORY
    assert answer["own"] < chat_template.MEMORY


RENDER = """
import json, resource, sys
from souron.data.language import chat_template
from souron.kinds.chat import Turn
from souron.utils import hardware
from souron.utils.messages import UserError

talk = (Turn("system", "Be kind."), Turn("user", "to be<|end|>?"), Turn("assistant", "not to be"))
refused = ""
try:
    list(chat_template.parts(sys.argv[1], talk))
except UserError as error:
    refused = str(error)
next_one = chat_template.shown("{{ messages[0].content }}", talk[:1])
chat_template.stop()
largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
answer = {"refused": refused, "next": next_one, "largest_child": largest, "own": hardware.peak()}
print(json.dumps(answer))
"""


def test_memory_is_bounded_where_the_system_does_not_do_it(monkeypatch):
    """As on Windows and macOS: the process that asks looks at the one that renders."""
    monkeypatch.setattr(chat_template, "KEEPS_MEMORY", False)
    monkeypatch.setattr(chat_template, "SECONDS", waiting.LIMIT)
    longer = "{% set ns = namespace(x=[]) %}{% for i in range(9) %}{% for i in range(99999) %}"
    longer += "{% set ns.x = [ns.x, (i ~ 'a') * 999] %}{% endfor %}{% endfor %}"
    with pytest.raises(UserError, match="MB of memory"):
        chat_template.shown(longer, TALK)


@pytest.mark.skipif(sys.platform != "linux", reason="the limits that Linux keeps itself")
@pytest.mark.parametrize(
    ("template", "bound"),
    [
        (DOUBLED.format(start="'aaaa'", grown="ns.x ~ ns.x"), "MB of memory"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "it takes"),
    ],
)
def test_linux_ends_what_exceeds_memory_or_time_although_nobody_looks(monkeypatch, template, bound):
    late = []

    def asleep(worker, done, most):
        if not done.wait(waiting.LIMIT):
            late.append(most)
            worker.process.kill()

    monkeypatch.setattr(chat_template.Worker, "_watch", asleep)
    monkeypatch.setattr(chat_template, "SECONDS", 1.0)
    chat_template.stop()
    with pytest.raises(UserError, match=bound):
        chat_template.shown(template, TALK)
    assert not late


def test_one_process_renders_many_templates():
    chat_template.stop()
    chat_template.shown("{{ messages[0].content }}", TALK)
    first = chat_template._idle[0].process.pid
    with pytest.raises(UserError):
        chat_template.shown("{{ raise_exception('no') }}", TALK)
    chat_template.shown("{{ messages[1].content }}", TALK)
    assert [worker.process.pid for worker in chat_template._idle] == [first]


PUBLISHED = {  # as the models have them, shortened; what comes out, of "Hi" and "Yes."
    "llama 3": (
        "{% for m in messages %}{% set c = '<|start|>' + m['role'] + '\n\n' + m['content'] | trim "
        "+ eos_token %}{% if loop.index0 == 0 %}{% set c = bos_token + c %}{% endif %}{{ c }}"
        "{% endfor %}",
        "<s><|start|>user\n\nHi</s><|start|>assistant\n\nYes.</s>",
    ),
    "mistral": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
        "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ m['content'] + eos_token }}"
        "{% endif %}{% endfor %}",
        "<s>[INST] Hi [/INST]Yes.</s>",
    ),
    "tinyllama": (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}",
        "<|user|>\nHi</s>\n<|assistant|>\nYes.</s>\n",
    ),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_template_names_the_first_and_the_last_token(name):
    """Without them a model sees what it never saw, and one that is tuned never learns to stop."""
    template, expected = PUBLISHED[name]
    backend = Tokenizer.learn(["Hi? Yes."] * 9, 280).backend
    backend.add_special_tokens(["<s>", "</s>"])
    tokenizer = Tokenizer(backend, template, ["</s>"], "<s>")
    turns = [Turn("user", "Hi"), Turn("assistant", "Yes.")]
    for each in (tokenizer, Tokenizer.unpacked(tokenizer.packed())):
        assert chat_template.shown(template, turns, names=each.names) == expected
        ids, said = each.conversation(turns)
        own = [token for token, mine in zip(ids, said, strict=True) if mine]
        assert ids.count(each.start) == expected.count("<s>") and own[-1] == each.end[0]


BRACKETS = (  # as Llama 2 has it
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + "
    "m['content'] | trim + ' [/INST]' }}{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)


def test_a_conversation_is_cut_as_a_whole():
    """A tokenizer like Llama 2's puts a blank before each text: parts that are cut one by one have
    a blank too many at each turn, which the model never saw."""
    tokenizer = pieces_learnt("The patient takes a tablet. The tablets are patient. [INST]")
    tokenizer.template = BRACKETS
    turns = [Turn("user", "The patient\n"), Turn("assistant", "a tablet."), Turn("user", "The")]
    text = chat_template.shown(BRACKETS, turns, names=tokenizer.names)
    assert text == "<s>[INST] The patient [/INST] a tablet. </s><s>[INST] The [/INST]"
    ids, said = tokenizer.conversation(turns)
    assert ids == tokenizer.encode(text, special=True)
    own = [token for token, mine in zip(ids, said, strict=True) if mine]
    assert tokenizer.decode(own, special=True).split() == ["a", "tablet.", "</s>"]
    parts = ("<s>[INST] ", "The patient", " [/INST]")
    apart = [token for part in parts for token in tokenizer.encode(part, special=True)]
    assert apart != ids[: len(apart)], "so it would be without"


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_what_was_written_never_becomes_special(role):
    tokenizer = pieces_learnt("The patient takes a tablet. [INST]")
    tokenizer.template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    ids, _said = tokenizer.conversation([Turn("user", "The"), Turn(role, "a </s><s> tablet")])
    assert ids.count(tokenizer.start) == 1 and not set(ids) & set(tokenizer.end)
    assert "a </s><s> tablet" in tokenizer.decode(ids, special=True)


@pytest.mark.parametrize(
    "cut, written, expected",
    [
        ("m['content'] | trim", " \n Yes. \t", "Yes."),
        ("m['content'].strip('\\n') + '!'", "\nYes.\n", "Yes.!"),
        ("m['content'].split('</think>')[-1].lstrip('\\n')", "<think>Oh</think>\n\nYes.", "Yes."),
        ("m['content'].split('</think>')[0].split('<think>')[1] | trim", "<think> O </think>", "O"),
        ("m['content'] if '</think>' in m['content'] else 'none'", "<think>Oh</think>", None),
        ("m['content']", "", ""),
        ("m['content']", " \n", " \n"),
        ("m['content'] | upper", "yes", "YES"),
    ],
)
def test_a_template_cuts_what_was_written(cut, written, expected):
    template = "{% for m in messages %}{{ " + cut + " }}{% endfor %}"
    text = chat_template.shown(template, [Turn("assistant", written)])
    assert text == (written if expected is None else expected)


@pytest.mark.parametrize("cut", ["[:20]", "[20:]", "[::-1]", " | truncate(30)"])
def test_a_template_that_cuts_within_what_was_written_is_refused(cut):
    """What is left of the marks would be shown to the model."""
    template = "{% for m in messages %}{{ m['content']" + cut + " }}{% endfor %}"
    with pytest.raises(UserError, match="takes apart"):
        chat_template.shown(template, [Turn("user", "The patient takes a tablet. " * 9)])


def test_a_long_conversation_is_rendered():
    """What was written counts for itself, not for the template."""
    turns = [Turn("user", "患者" * 2_000_000), Turn("assistant", "a" * 1_000_000)]
    text = chat_template.shown("{% for m in messages %}{{ m.content }}{% endfor %}", turns)
    assert text == "".join(turn.text for turn in turns)


def test_what_no_tokenizer_names_is_empty(tokenizer):
    assert tokenizer.names == {"bos_token": "", "eos_token": "<|end|>"}
    assert Tokenizer(tokenizer.backend, "", ()).names["eos_token"] == ""


def test_a_published_template_is_shown():
    template = (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    )
    text = chat_template.shown(template, TALK[1:2])
    assert text == "<|im_start|>user\nto be<|end|>?<|im_end|>\n"
