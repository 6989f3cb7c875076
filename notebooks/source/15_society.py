# %% [markdown] lang="en"
# # 15. Society: whose work, whose alarm, whose mistake
#
# A figure about AI in society depends on who labelled, on how it was counted, and on whom an error hits. You compute how exposed occupations are to
# language models, count the people whom a false alarm accuses, and see for whom a filter fails. It takes half a minute.

# %% [markdown] lang="ja"
# # 15. 社会: 誰の仕事か、誰への警報か、誰にとっての誤りか
#
# 社会の中の AI についての数字は、誰がラベルを付けたか、どう数えたか、誤りが誰に及ぶかで変わります。職業が言語モデルからどれだけ影響を受けるかを計算し、
# 誤報で疑われる人を数え、フィルターが誰に対して失敗するかを見ます。30 秒ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
OCCUPATION = "Registered Nurses"
WAY = "both"

# %% [markdown] lang="en"
# ## The tasks of an occupation
#
# *GPTs are GPTs* (2023) asked of each task in the American O*NET database: does a language model halve its time, at equal quality? **E0**: no. **E1**:
# the model alone. **E2**: software built on one. **Guess first**: which of the tasks below are E0? `OCCUPATION` takes others, such as `"dentist"`.
#
# Exposure is a property of tasks. It does not say that a job is lost.

# %% [markdown] lang="ja"
# ## 職業の作業
#
# 論文 *GPTs are GPTs*（2023）は、アメリカの O*NET データベースの作業ごとに、同じ質で時間が半分になるかを尋ねました。**E0**: ならない。**E1**: 言語モデル
# だけで半分になる。**E2**: 言語モデルを使ったソフトウェアがあれば半分になる。**まず予想**: 下の作業のうち、E0 はどれでしょうか。`OCCUPATION` には
# `"dentist"` なども書けます。
#
# 曝露度は作業の性質です。仕事がなくなるという意味ではありません。

# %%
import matplotlib.pyplot as plt
import numpy as np

from souron.actions.work import exposure, tables, titles

table = tables.usual()
occupation = titles.find(OCCUPATION, table).occupation
for task in occupation.tasks[:12]:
    print(task.people, task.gpt4, "core " if task.core else "other", task.text[:90])

# %% [markdown] lang="en"
# First the label of people, then that of GPT-4. They do not always agree.

# %% [markdown] lang="ja"
# 先が人の、後が GPT-4 のラベルです。一致しないこともあります。

# %% [markdown] lang="en"
# ## Your turn: beta
#
# `labels` is a list of "E0", "E1" and "E2", `core` a list of True and False for the same tasks. Return beta, the weighted mean of E0 = 0, E1 = 1,
# E2 = 1/2; a core task has the weight 1, another one 1/2. `checks.check` compares your function on inputs that you do not see.

# %% [markdown] lang="ja"
# ## やってみよう: beta
#
# `labels` は "E0"、"E1"、"E2" のリスト、`core` は同じ作業が主要なら True のリストです。E0 = 0、E1 = 1、E2 = 1/2 の加重平均 beta を返してください。
# 重みは、主要な作業が 1、その他が 1/2 です。`checks.check` は見えない入力で比べます。

# %%
from souron.lecture import checks


def exposure_beta(labels, core):
    raise NotImplementedError


checks.check("exposure_beta", exposure_beta)

# %% [markdown] lang="en"
# souron's figures for this occupation, by the labels of people and by those of GPT-4: alpha counts E1 alone, zeta all of E1 and E2.

# %% [markdown] lang="ja"
# この職業についての souron の値です。人のラベルと GPT-4 のラベルで計算しました。alpha は E1 だけ、zeta は E1 と E2 をすべて数えます。

# %%
for who in ("people", "gpt4"):
    print(who, {name: round(value, 3) for name, value in exposure.exposure(occupation.tasks, who)._asdict().items()})

# %% [markdown] lang="en"
# ## Two judges, and a rule
#
# Left: each dot is an occupation, its beta by people and by GPT-4. Right: the share of workers in occupations with at least that beta. **Guess first**:
# does GPT-4 call more or less of the work exposed than people do?

# %% [markdown] lang="ja"
# ## 二人の判定者と、一つの規則
#
# 左は職業ごとの点で、人と GPT-4 それぞれの beta です。右は、beta がその値以上の職業で働く人の割合です。**まず予想**: GPT-4 は、曝露される仕事を人より
# 多いとみるでしょうか、少ないとみるでしょうか。

# %%
people, gpt4 = exposure.betas(table), exposure.betas(table, "gpt4")
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
left.scatter(people, gpt4, s=8, alpha=0.5)
left.plot([0, 1], [0, 1], color="grey", linestyle=":")
left.set(xlabel="beta by people", ylabel="beta by GPT-4")
for who in ("people", "gpt4"):
    right.plot(np.linspace(0, 1, exposure.STEPS + 1), exposure.curve(table, who, "list"), label=who)
right.set(xlabel="beta of at least", ylabel="share of workers")
right.legend()
figure.tight_layout()
plt.show()

agreement = exposure.agreement(table.tasks)
agreement.same.value, agreement.kappa.value, exposure.nearness(gpt4, people).bias

# %% [markdown] lang="en"
# The share of tasks with the same label, Cohen's kappa (0: as by chance, 1: always), and how much higher GPT-4's betas are. "19 % of workers have
# half of their tasks exposed" is one figure of several: it also depends on how occupations are matched with employment. Three defensible rules, each
# with its 95 % interval:

# %% [markdown] lang="ja"
# 同じラベルの作業の割合、Cohen のカッパ係数（0 なら偶然、1 なら完全な一致）、GPT-4 の beta がどれだけ高いかです。「働く人の 19 % では作業の半分が曝露
# される」という数字は、一つの見方にすぎません。職業と雇用者数をどう対応させるかでも変わります。どれも筋の通った三つの規則と、その 95 % 信頼区間です。

# %%
for who in ("people", "gpt4"):
    for rule in exposure.RULES:
        share = exposure.share_of_workers(table, who, rule, 0.5)
        print(f"{who:7} {rule:6} {share.value:.1%} ({share.low:.1%}..{share.high:.1%})")

# %% [markdown] lang="en"
# Which differs more, the judge or the rule? And is either difference larger than the interval? Whoever quotes one figure has chosen both.

# %% [markdown] lang="ja"
# 判定者と規則では、どちらによる差が大きいでしょうか。その差は区間より大きいでしょうか。数字を一つだけ引用する人は、両方を選んだことになります。

# %% [markdown] lang="en"
# ## Whom an alarm accuses
#
# A detector finds 80 % of generated images and raises a false alarm for 1 % of real ones. Of 10,000 images that are sent in, a share is generated.
# **Guess first**: of those who are accused, how many are honest?

# %% [markdown] lang="ja"
# ## 警報は誰を疑うか
#
# ある検出器は生成画像の 80 % を見つけ、本物の 1 % に誤報を出します。送られてきた 10,000 枚のうち、ある割合が生成画像です。**まず予想**: 疑われた人のうち、
# 本物を送った人はどれだけでしょうか。

# %%
from souron.metrics.net_benefit import frequencies

for prevalence in (0.2, 0.05, 0.01, 0.001):
    counted = frequencies(0.8, 0.99, prevalence, people=10_000)
    print(f"{prevalence:.1%} generated: {counted.called} accused, {counted.alarms / counted.called:.0%} of them honest")

# %% [markdown] lang="en"
# The detector is the same in each line. Where most people are honest, most of the accused are: an alarm is a reason to ask, not a proof.

# %% [markdown] lang="ja"
# 検出器はどの行でも同じです。ほとんどの人が正直なら、疑われた人もほとんどが正直です。警報は問い合わせる理由にはなりますが、証拠にはなりません。

# %% [markdown] lang="en"
# ## For whom a filter fails
#
# A filter withholds harmful sentences of a language model. It makes two errors: it **misses** harmful sentences, and it **withholds** harmless ones.
# Both are measured on sentences that it was not trained on, in two languages, and clinical sentences by themselves. `WAY` is `"lexicon"` (a list of
# words), `"classifier"`, or `"both"`. **Guess first**: is the filter equally good for both languages?

# %% [markdown] lang="ja"
# ## フィルターは誰に対して失敗するか
#
# フィルターは、言語モデルの有害な文を止めます。誤りは二つあり、有害な文を**見逃す**ことと、無害な文を**止めてしまう**ことです。どちらも学習に使っていない
# 文で、言語ごとに測ります。臨床の文は別に数えます。`WAY` は `"lexicon"`（単語のリスト）、`"classifier"`（分類器）、`"both"`（両方）です。
# **まず予想**: このフィルターは、どちらの言語にも同じくらい良いでしょうか。

# %%
from souron.evaluation.harmful import judges

measured = [each for each in judges.record(judges.judge(WAY)) if each.way == WAY]
_, axes = plt.subplots(figsize=(6, 3.4))
for shift, each in zip((-0.1, 0.1), measured, strict=True):
    shares = (each.catch, each.clinical, each.harmless)
    values = np.array([share.value for share in shares])
    reach = np.abs([[share.low, share.high] for share in shares] - values[:, None]).T
    axes.errorbar(np.arange(3) + shift, values, reach, fmt="o", capsize=4, label=each.language)
axes.set(
    xticks=range(3), xticklabels=["harmful", "clinical", "other harmless"], ylabel="share withheld", ylim=(-0.02, 1)
)
axes.legend()
plt.show()

for each in measured:
    print(
        each.language,
        [f"{share.value:.3f} ({share.low:.3f}..{share.high:.3f})" for share in (each.catch, each.clinical)],
    )
    print("withheld though clinical:", each.alarms[:3])

# %% [markdown] lang="en"
# For each language the share of harmful sentences that is withheld, then that of clinical ones, with 95 % intervals. Intervals that do not overlap are
# more than luck: readers of one language are protected less. And whoever writes about the body is withheld by mistake. One average over all sentences
# would have hidden both.

# %% [markdown] lang="ja"
# 言語ごとに、止められた有害な文の割合、次に止められた臨床の文の割合を 95 % 信頼区間とともに示します。区間が重ならなければ、運だけの差ではありません。
# 一方の言語の読者は、あまり守られていないのです。また、体について書く人の文が誤って止められます。すべての文の平均を一つだけ見ていたら、どちらも
# 隠れていたでしょう。

# %%
for each in measured:
    kinds = sorted(each.kinds.items(), key=lambda kind: kind[1].value)
    print(each.language, {name: f"{share.value:.0%}" for name, share in kinds})

# %% [markdown] lang="en"
# The kinds of harm, the worst found first. Try `WAY = "lexicon"`: which error grows, and who pays for it?

# %% [markdown] lang="ja"
# 有害な文の種類を、見つかりにくい順に並べました。`WAY = "lexicon"` も試してください。どちらの誤りが増え、そのつけを払うのは誰でしょうか。

# %% [markdown] lang="en"
# ## None found
#
# An audit looked at 100 generated images and found no copy of a training image. The interval says how many copies there may be all the same.

# %% [markdown] lang="ja"
# ## 見つからなかった
#
# ある監査で、生成画像 100 枚を調べ、学習用データの複製は 1 枚も見つかりませんでした。それでも複製がどれだけありうるかは、区間が示します。

# %%
from souron.stats.intervals import proportion_interval

for count in (100, 1000, 10_000):
    print(count, f"at most {proportion_interval(0, count).high:.2%}")
