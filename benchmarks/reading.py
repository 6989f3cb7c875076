"""Reading 100 000 tokens: how quick, and how often the right sentence is found.

    python benchmarks/reading.py FOLDER [--rounds 20]
    python benchmarks/reading.py FOLDER --windows 10000
    python benchmarks/reading.py FOLDER --wrapped 40000

FOLDER holds what was unpacked from Debian's packages debian-handbook, libreoffice-help-en-us and
libreoffice-help-ja (``apt-get download``, then ``dpkg-deb -x``).

Planted facts: in each round every one of the templates is filled from word lists with a seed and
put between two sentences of the manual, in one tenth of it; the templates that chose thresholds
(``DEVELOPMENT``) are others than those that are measured. Each fact is asked for twice in each
language: in its own words, and in words that it does not have.
Unanswerable are the same questions put to the manual without those facts. Help: the Japanese
paragraph as question, the English pages as text.

``--wrapped LETTERS`` puts each fact to the end of a paragraph in the beginning of the manual, wraps that
at several widths, and counts the facts that are quoted whole as the first passage.

``--windows LETTERS`` measures ``windows`` beside the others on the beginning of the manual alone,
since it reads all of the text for each question: every fact once, asked in English.
"""

import argparse
import dataclasses
import html
import json
import random
import re
import textwrap
import time
from pathlib import Path

import numpy as np
import torch

import souron
from souron import registry
from souron.data.language.retrieval import Search, Shelf, places
from souron.data.language.sentences import sentences
from souron.data.sets import help_questions
from souron.kinds.passages import in_one_line
from souron.metrics import retrieval
from souron.stats import intervals
from souron.tasks import retrieve

LETTERS = {"en": 455_000, "ja": 200_000}  # characters of about 100 000 tokens
SLOTS = {
    "number": [f"{n:04d}" for n in range(1103, 9800, 13)],
    "room": [str(n) for n in range(201, 690, 7)],
    "time": ["7:15", "8:40", "10:20", "13:45", "16:10", "18:30"],
    "day": [("Monday", "月曜日"), ("Tuesday", "火曜日"), ("Thursday", "木曜日"), ("Saturday", "土曜日")],
    "drug": [
        ("azithromycin", "アジスロマイシン"),
        ("amoxicillin", "アモキシシリン"),
        ("metformin", "メトホルミン"),
        ("warfarin", "ワルファリン"),
        ("prednisolone", "プレドニゾロン"),
        ("lidocaine", "リドカイン"),
    ],
    "disease": [
        ("pneumonia", "肺炎"),
        ("asthma", "喘息"),
        ("diabetes", "糖尿病"),
        ("migraine", "片頭痛"),
        ("gout", "痛風"),
    ],
    "name": [("Ogawa", "小川"), ("Tanabe", "田辺"), ("Mizuno", "水野"), ("Hirata", "平田"), ("Sakai", "酒井")],
    "part": [("left knee", "左膝"), ("right shoulder", "右肩"), ("lower jaw", "下顎"), ("left wrist", "左手首")],
}
# English fact, Japanese fact; questions in other words, English and Japanese; the same with the
# fact's own words
DEVELOPMENT = [
    (
        "Visitors may come to the ward from {time} on.",
        "病棟の面会は{time}から可能です。",
        "When can relatives see a patient?",
        "家族はいつ患者に会えますか",
        "When are visitors allowed on the ward?",
        "病棟の面会は何時からですか",
    ),
    (
        "Dr. {name} is on call on {day}.",
        "{day}の当直は{name}医師です。",
        "Who is the duty doctor?",
        "夜間に担当する医師は誰ですか",
        "Which doctor is on call?",
        "当直の医師は誰ですか",
    ),
    (
        "The patient was treated with {drug} for {disease}.",
        "患者は{disease}のため{drug}で治療された。",
        "Which medicine did the person get?",
        "どの薬が使われましたか",
        "What was the patient treated with?",
        "患者は何で治療されましたか",
    ),
    (
        "The specimens are stored in room {room}.",
        "検体は{room}号室に保管されている。",
        "Where are the tissue samples kept?",
        "組織のサンプルはどこにありますか",
        "Where are the specimens stored?",
        "検体はどこに保管されていますか",
    ),
    (
        "The swelling of the {part} went down after three days.",
        "{part}の腫れは3日後に引いた。",
        "How long did it take until the inflammation was better?",
        "炎症がおさまるまで何日かかりましたか",
        "When did the swelling go down?",
        "腫れはいつ引きましたか",
    ),
    (
        "Meals are served at {time} in the canteen.",
        "食事は食堂で{time}に出されます。",
        "When is lunch?",
        "昼食は何時ですか",
        "When are meals served?",
        "食事は何時に出ますか",
    ),
    (
        "The father of the patient died of {disease}.",
        "患者の父は{disease}で亡くなった。",
        "What illness runs in the family?",
        "家族にはどんな病気がありますか",
        "What did the patient's father die of?",
        "患者の父は何で亡くなりましたか",
    ),
    (
        "The study was paid for by the {name} foundation.",
        "研究は{name}財団の助成を受けた。",
        "Who financed the trial?",
        "試験の資金は誰が出しましたか",
        "Who paid for the study?",
        "研究の助成はどこからですか",
    ),
]
TEST = [
    (
        "Patient {number} is allergic to {drug}.",
        "患者{number}は{drug}にアレルギーがある。",
        "Which medicine must patient {number} not be given?",
        "患者{number}に与えてはいけない薬は何ですか",
        "What is patient {number} allergic to?",
        "患者{number}は何にアレルギーがありますか",
    ),
    (
        "The operation on the {part} is planned for {day}.",
        "{part}の手術は{day}に予定されている。",
        "On which day will the surgery take place?",
        "外科手術は何曜日に行われますか",
        "When is the operation on the {part}?",
        "{part}の手術はいつですか",
    ),
    (
        "The key of the medicine cabinet lies in room {room}.",
        "薬品棚の鍵は{room}号室にある。",
        "How does one get into the locked cupboard with the drugs?",
        "薬の入った棚を開ける鍵はどこにありますか",
        "Where is the key of the medicine cabinet?",
        "薬品棚の鍵はどこにありますか",
    ),
    (
        "Dr. {name} leads the department of radiology.",
        "放射線科の科長は{name}医師である。",
        "Who is the head of the X-ray department?",
        "レントゲンの部署の責任者は誰ですか",
        "Who leads the department of radiology?",
        "放射線科の科長は誰ですか",
    ),
    (
        "The pain in the {part} began after a fall from a ladder.",
        "{part}の痛みは脚立からの転落後に始まった。",
        "What accident caused the injury?",
        "けがの原因になった事故は何ですか",
        "When did the pain in the {part} begin?",
        "{part}の痛みはいつ始まりましたか",
    ),
    (
        "Blood is taken on {day} before breakfast.",
        "採血は{day}の朝食前に行われる。",
        "When are the lab tests done?",
        "血液検査はいつですか",
        "On which day is blood taken?",
        "採血は何曜日ですか",
    ),
    (
        "The child was diagnosed with {disease} at the age of six.",
        "その子は6歳で{disease}と診断された。",
        "How old was the boy or girl when the illness was recognised?",
        "病気がわかったのは何歳のときですか",
        "At what age was the child diagnosed with {disease}?",
        "その子は何歳で{disease}と診断されましたか",
    ),
    (
        "The ambulance arrived at {time}, two hours after the call.",
        "救急車は通報の2時間後、{time}に到着した。",
        "When did the paramedics come?",
        "救急隊はいつ来ましたか",
        "When did the ambulance arrive?",
        "救急車はいつ到着しましたか",
    ),
    (
        "Nurse {name} noticed that the wound had become infected.",
        "看護師の{name}が傷の感染に気づいた。",
        "Who found out that bacteria had got into the cut?",
        "傷口に菌が入ったことに誰が気づきましたか",
        "Who noticed that the wound was infected?",
        "傷の感染に気づいたのは誰ですか",
    ),
    (
        "The scanner in room {room} is out of order until spring.",
        "{room}号室の撮影装置は春まで故障中である。",
        "Which machine is broken?",
        "壊れている機械はどれですか",
        "Which scanner is out of order?",
        "故障中の装置はどれですか",
    ),
    (
        "The patient smoked two packs of cigarettes a day.",
        "患者は1日に2箱のたばこを吸っていた。",
        "How much tobacco did the patient use?",
        "喫煙量はどのくらいですか",
        "How many cigarettes did the patient smoke?",
        "患者は1日にたばこを何箱吸っていましたか",
    ),
    (
        "The cost of the crown is not covered by insurance.",
        "被せ物の費用は保険の対象外である。",
        "Who has to pay for the artificial tooth?",
        "人工の歯の代金は誰が払いますか",
        "Does the insurance cover the crown?",
        "被せ物は保険の対象ですか",
    ),
    (
        "Mr. {name} lost 12 kilograms within half a year.",
        "{name}氏は半年で12キログラム痩せた。",
        "How did the man's weight change?",
        "男性の体重はどう変わりましたか",
        "How much weight did Mr. {name} lose?",
        "{name}氏は何キログラム痩せましたか",
    ),
    (
        "The tumour in the {part} was benign.",
        "{part}の腫瘍は良性だった。",
        "Was the growth malignant?",
        "できものは悪性でしたか",
        "Was the tumour in the {part} benign?",
        "{part}の腫瘍は良性でしたか",
    ),
    (
        "The wheelchair must be returned to the entrance by {time}.",
        "車椅子は{time}までに入口へ返却すること。",
        "Where does one bring back the mobility aid?",
        "借りた車いすはどこに返しますか",
        "Where must the wheelchair be returned?",
        "車椅子はどこへ返却しますか",
    ),
    (
        "The interpreter for Portuguese comes on {day}.",
        "ポルトガル語の通訳は{day}に来る。",
        "When can someone translate for patients from Brazil?",
        "ブラジル人の患者に訳してくれる人はいつ来ますか",
        "When does the interpreter come?",
        "通訳はいつ来ますか",
    ),
    (
        "The vaccine against influenza is given free of charge to staff.",
        "職員はインフルエンザの予防接種を無料で受けられる。",
        "What do employees pay for the flu shot?",
        "従業員の流感ワクチンはいくらですか",
        "Is the influenza vaccine free of charge for staff?",
        "職員のインフルエンザの予防接種は無料ですか",
    ),
    (
        "The twins were born by caesarean section on {day}.",
        "双子は{day}に帝王切開で生まれた。",
        "How were the babies delivered?",
        "赤ちゃんはどのように出産されましたか",
        "When were the twins born?",
        "双子はいつ生まれましたか",
    ),
    (
        "The therapist recommends swimming for the {part}.",
        "理学療法士は{part}のために水泳を勧めている。",
        "Which sport is advised?",
        "どんな運動がよいと言われましたか",
        "What does the therapist recommend for the {part}?",
        "理学療法士は{part}に何を勧めていますか",
    ),
    (
        "Professor {name} retired after thirty years at the university.",
        "{name}教授は大学に30年勤めて退職した。",
        "Who stopped working after three decades?",
        "長年勤めて辞めた先生は誰ですか",
        "How long was Professor {name} at the university?",
        "{name}教授は大学に何年勤めましたか",
    ),
    (
        "A power failure stopped the refrigerator with the vaccines.",
        "停電でワクチンの冷蔵庫が止まった。",
        "Why were the immunisation supplies no longer cold?",
        "予防接種の薬が冷えていなかったのはなぜですか",
        "Why did the refrigerator with the vaccines stop?",
        "ワクチンの冷蔵庫はなぜ止まりましたか",
    ),
    (
        "The parking area behind the clinic is closed on {day}.",
        "診療所の裏の駐車場は{day}に閉鎖される。",
        "When can one not leave the car at the practice?",
        "車を停められないのはいつですか",
        "When is the parking area behind the clinic closed?",
        "診療所の裏の駐車場はいつ閉鎖されますか",
    ),
    (
        "Contact lenses must be removed before the examination.",
        "検査の前にコンタクトレンズを外すこと。",
        "What has to be taken out of the eyes?",
        "目から取り出すべきものは何ですか",
        "What must be removed before the examination?",
        "検査の前に何を外しますか",
    ),
    (
        "The deaf patient asks for a letter instead of a phone call.",
        "耳の聞こえない患者は電話でなく手紙を希望している。",
        "How should one get in touch with someone who cannot hear?",
        "聴覚に障害のある人にはどう連絡しますか",
        "How does the deaf patient want to be contacted?",
        "耳の聞こえない患者はどんな連絡を希望していますか",
    ),
]


ASKED = {2: "en, other words", 3: "ja, other words", 4: "en, own words", 5: "ja, own words"}


def filled(template, rng):
    """The four texts of a template, each slot the same in all."""
    chosen = {name: rng.choice(values) for name, values in SLOTS.items()}
    said = [{n: v if isinstance(v, str) else v[k] for n, v in chosen.items()} for k in (0, 1)]
    return tuple(text.format(**said[k % 2]) for k, text in enumerate(template))


def manual(folder, language):
    """About 100 000 tokens of a manual."""
    pages = sorted(folder.rglob("html/en-US/*.html")) if language == "en" else sorted(folder.rglob("html/ja-JP/*.html"))
    texts = []
    for page in pages:
        raw = page.read_text("utf-8")
        raw = re.sub(r"</(p|h\d|div|li|dt|pre)>|<br/?>", "\n", raw.partition("<body")[2])
        texts += map(str.strip, html.unescape(re.sub(r"<[^>]+>", "", raw)).splitlines())
    whole = "\n\n".join(text for text in dict.fromkeys(texts) if text)
    return whole[: LETTERS[language]]


def planted(systems, base, language, templates, rounds, seed):
    """Rows (system, question, tenth, rank, score with, score without, template)."""
    cut = [one.text for one in sentences(base)]
    rng = random.Random(f"{seed} {language}")
    fact, rows = int(language == "ja"), []
    bases = {name: last(system.index(cut)) for name, system in systems.items()}
    for number in range(rounds):
        made = [filled(template, rng) for template in templates]
        where = sorted((rng.randrange(len(cut)), k) for k in range(len(made)))
        for name, system in systems.items():
            index = with_facts(name, system, bases[name], cut, [each[fact] for each in made])
            for asked, text in ASKED.items():
                for place, k in where:
                    score = system.rank(index, made[k][asked]).numpy()
                    right = np.arange(len(score)) == len(cut) + k
                    numbers = retrieve.missing_numbers(made[k][asked], [base])
                    without = 0.0 if numbers else float(score[: len(cut)].max())
                    tenth = 10 * place // len(cut)
                    rows.append((name, text, tenth, retrieval.rank(score, right), float(score.max()), without, k))
        if number == 0:
            check_whole(systems["encoder"], cut, made, fact)
    return rows


def with_facts(name, system, base, cut, facts):
    """The index of the manual with the facts: their own vectors behind the manual's, which are the
    same wherever a sentence stands; words are counted anew."""
    if name == "encoder":
        return torch.cat([base, last(system.index(facts))])
    return last(system.index([*cut, *facts]))


def check_whole(encoder, cut, made, fact):
    """That the short way and a text with the facts in it give the same scores."""
    some, facts = cut[:200], [each[fact] for each in made]
    text = "\n\n".join([*some[:100], *facts, *some[100:]])
    said = encoder.predict(souron_text(text), question=made[0][2], passages=3)
    index = torch.cat([last(encoder.index(some)), last(encoder.index(facts))])
    best = encoder.rank(index, made[0][2]).topk(3).values
    assert np.allclose([quote.score for quote in said.quotes], best.numpy(), atol=2e-3)


def souron_text(text):
    from souron.kinds.text import Text

    return Text(text)


def last(steps):
    *_before, (_done, index) = steps
    return index


def told(name, values, groups=None):
    """A share with its interval."""
    found = intervals.share_interval(np.asarray(values, float)[None], groups)
    print(f"{name:58} {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] n = {found.n}")


def speed(base):
    """Seconds of the index and of one question, text and model in memory."""
    encoder = souron.load("encoder").system
    last(encoder.index(["warm"]))
    cut = [one.text for one in sentences(base)]
    wall, cpu = time.perf_counter(), time.process_time()
    begun = time.perf_counter()
    cut = [one.text for one in sentences(base)]
    splitting = time.perf_counter() - begun
    index = last(encoder.index(cut))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    begun = time.perf_counter()
    for _time in range(20):
        encoder.rank(index, f"Which medicine must patient {_time} not be given?")
    asked = (time.perf_counter() - begun) / 20
    print(
        json.dumps(
            {
                "letters": len(base),
                "sentences": len(cut),
                "splitting": splitting,
                "index": wall,
                "index cpu": cpu,
                "question": asked,
            }
        )
    )


def through_windows(base, letters, templates, seed, model):
    """``windows`` beside the others: the facts of all templates put into one short text, and asked
    of it and of the text without them. The seconds are those of one thread's processor time."""
    systems = {name: souron.load(name).system for name in ("encoder", "bm25")}
    kind, config = registry.load_system("windows")
    systems["windows"] = kind(dataclasses.replace(config, model=model), None).eval()
    rng = random.Random(f"{seed} windows")
    cut = [one.text for one in sentences(base[:letters])]
    made = [filled(template, rng) for template in templates]
    places_of = sorted(rng.sample(range(len(cut)), len(made)))
    mixed = list(cut)
    for k, place in reversed(list(enumerate(places_of))):
        mixed.insert(place, made[k][0])
    where = [mixed.index(fact[0]) for fact in made]
    for name, system in systems.items():
        index, bare = last(system.index(mixed)), last(system.index(cut))
        found = {asked: [] for asked in (2, 4)}
        begun = time.process_time()
        for asked, rows in found.items():
            for k, fact in enumerate(made):
                score = system.rank(index, fact[asked]).numpy()
                rank = retrieval.rank(score, np.arange(len(score)) == where[k])
                rows.append((rank, float(score.max())))
        spent = (time.process_time() - begun) / (len(found) * len(made))
        without = [float(system.rank(bare, fact[4]).max()) for fact in made]
        for asked, rows in found.items():
            for most in retrieval.HITS:
                hit = retrieval.hits([rank for rank, _best in rows], most)
                told(f"{name}, {letters} letters, {ASKED[asked]}, hit@{most}", hit)
        best = [best for rows in found.values() for _rank, best in rows]
        tried = retrieval.best_threshold([*best, *without], [True] * len(best) + [False] * len(made))
        least, wrong = min(tried, key=lambda pair: pair[1])
        print(
            f"{name}: {spent:.3f} processor seconds a question; least {least:.3f} would tell "
            f"{wrong:.3f} wrongly, the config has {float(system.least):.3f}"
        )
        told(f"{name}, there: told so", [one >= float(system.least) for one in best])
        told(f"{name}, not there: told so", [one < float(system.least) for one in without])
    tokens = sum(map(len, last(systems["windows"].index(mixed))))
    print(f"{len(mixed)} sentences, {tokens} tokens")


def when_wrapped(base, letters, language, seed):
    """Facts that are quoted whole, asked in their own words and in others, by the width of the lines."""
    encoder, rng, fact = souron.load("encoder").system, random.Random(seed), int(language == "ja")
    made, paragraphs = [filled(template, rng) for template in TEST], base[:letters].split("\n\n")
    places = rng.sample(range(len(paragraphs)), len(made))
    for place, each in zip(places, made, strict=True):
        before = paragraphs[place] if paragraphs[place].rstrip()[-1:] in (".", "。") else ""
        paragraphs[place] = f"{before} {each[fact]}".strip() if language == "en" else before + each[fact]
    for width in (10**6, 30, 40, 72, 140):
        cut = sentences("\n\n".join("\n".join(lines(each, width, language)) for each in paragraphs))
        index = last(encoder.index([in_one_line(one.text) for one in cut]))
        for asked in (4 + fact, 2 + fact):
            best = [cut[int(encoder.rank(index, each[asked]).argmax())] for each in made]
            right = sum(each[fact] in in_one_line(one.text) for each, one in zip(made, best, strict=True))
            print(f"{language}, lines of {width} columns, {ASKED[asked]}: {right} of {len(made)} quoted whole")


def lines(paragraph, width, language):
    if language == "en":
        return textwrap.wrap(paragraph, width)
    return [paragraph[start : start + width // 2] for start in range(0, len(paragraph), width // 2)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--windows", type=int, default=0, metavar="LETTERS")
    parser.add_argument("--wrapped", type=int, default=0, metavar="LETTERS")
    parser.add_argument("--model", default="smollm2", help="that windows read with")
    parser.add_argument("--development", action="store_true", help="the facts that chose limits")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.wrapped:
        for language in ("en", "ja"):
            when_wrapped(manual(given.folder, language), given.wrapped, language, given.seed)
        return
    if given.windows:
        base = manual(given.folder, "en")
        templates = DEVELOPMENT if given.development else TEST
        through_windows(base, given.windows, templates, given.seed, given.model)
        return
    systems = {name: souron.load(name).system for name in ("encoder", "bm25")}
    bases = {language: manual(given.folder, language) for language in ("en", "ja")}
    for language, base in bases.items():
        print(f"manual in {language}: {len(base)} characters")
    speed(bases["en"])
    found = {
        (part, language): planted(systems, base, language, templates, given.rounds, given.seed)
        for language, base in bases.items()
        for part, templates in (("development", DEVELOPMENT), ("test", TEST))
    }
    for name in systems:
        rows = [row for (part, _l), some in found.items() if part == "development" for row in some]
        with_, without = ([row[k] for row in rows if row[0] == name] for k in (4, 5))
        truth = np.repeat([True, False], len(with_))
        tried = retrieval.best_threshold([*with_, *without], truth)
        least, wrong = min(tried, key=lambda pair: pair[1])
        print(
            f"{name}: least {least:.3f}, told wrongly {wrong:.3f} on development questions; "
            f"the config has {float(systems[name].least):.3f}"
        )
    for language in bases:
        rows = found["test", language]
        for name in systems:
            for asked in ASKED.values():
                some = [row for row in rows if row[:2] == (name, asked)]
                title = f"{name}, text {language}, question {asked}"
                template = [row[6] for row in some]
                ranks = np.array([row[3] for row in some])
                for most in retrieval.HITS:
                    told(f"{title}, hit@{most}", retrieval.hits(ranks, most), template)
                least = float(systems[name].least)
                told(f"{title}, there: told so", [row[4] >= least for row in some], template)
                told(f"{title}, not there: told so", [row[5] < least for row in some], template)
                by = [retrieval.hits(ranks[[row[2] == t for row in some]], 8).mean() for t in range(10)]
                print(
                    f"    hit@8 by tenth: {' '.join(f'{x:.2f}' for x in by)}; templates that "
                    f"fail: {failing(ranks, template)}"
                )
    in_domain(given.folder, systems)


def failing(ranks, template):
    return sorted({t for t, rank in zip(template, ranks, strict=True) if rank > 8})


def in_domain(folder, systems):
    """Japanese paragraphs of the help as questions to its English pages."""
    pairs = help_questions.pairs(next(folder.rglob("en-US/text")).parents[1])
    rng = random.Random(0)
    pages = sorted({page for page, *_rest in pairs})
    rng.shuffle(pages)
    inside, letters = set(), 0
    for page in pages:
        if letters < LETTERS["en"]:
            inside.add(page)
            letters += sum(len(pair[2]) for pair in pairs if pair[0] == page)
    there = [pair for pair in pairs if pair[0] in inside]
    absent = rng.sample([pair for pair in pairs if pair[0] not in inside], 200)
    shelf = Shelf([pair[2] for pair in there])
    chosen = rng.sample(range(len(there)), 400)
    for name, system in systems.items():
        ranks, best, _found = system.asked(
            retrieve.Batch([Search(there[k][3], shelf.text) for k in chosen], [places(shelf.spans[k]) for k in chosen])
        )
        _rank, none, _found = system.asked(
            retrieve.Batch([Search(ja, shelf.text) for _p, _i, _e, ja, _t in absent], [places()] * len(absent))
        )
        groups = [there[k][0] for k in chosen]
        for most in retrieval.HITS:
            told(f"{name}, help, Japanese question, hit@{most}", retrieval.hits(ranks, most), groups)
        half = len(best) // 2
        learnt = retrieval.best_threshold(
            [*best[:half].tolist(), *none[:100].tolist()], np.repeat([True, False], [half, 100])
        )
        least = min(learnt, key=lambda pair: pair[1])[0]
        told(f"{name}, help, there: told so (least {least:.2f})", best[half:].numpy() >= least)
        told(f"{name}, help, not there: told so", none[100:].numpy() < least)


if __name__ == "__main__":
    main()
