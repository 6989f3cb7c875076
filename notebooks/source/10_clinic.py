# %% [markdown] lang="en"
# # 10. A classifier for a clinic: threshold, prevalence, calibration
#
# A network answers with a probability; a clinic needs a decision. Where to put the **threshold**, what a positive result means where the disease is
# **rare**, and whether 80 % means 80 %: these three questions decide about its use, more than the accuracy does. It takes half a minute.

# %% [markdown] lang="ja"
# # 10. 臨床で使う分類器: しきい値、有病率、較正
#
# ネットワークが答えるのは確率ですが、臨床に必要なのは決定です。**しきい値**をどこに置くか、病気が**まれ**な所で陽性は何を意味するか、80 % は本当に
# 80 % か。使えるかどうかを決めるのは、正解率よりもこの三つです。30 秒ほどで終わります。

# %% first_cell

# %% [markdown] lang="en"
# ## A stand-in for a disease
#
# No patient's data may be shipped with a notebook. In their place: digits under heavy noise; "ill" are the eights, one in ten. A logistic regression is
# trained on 600 of them, everything below is computed on the other 1,197.

# %% [markdown] lang="ja"
# ## 病気の代わり
#
# 患者のデータをノートブックに付けるわけにはいきません。代わりに強い雑音を加えた数字を使い、10 枚に 1 枚の「8」を病気とみなします。600 枚でロジスティック
# 回帰を学習し、以下はすべて残りの 1,197 枚で計算します。

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

from souron.data.load import load

digits = load("digits")
chance = np.random.default_rng(0)
pixels = digits.input.flatten(1).numpy() / 255
noisy = pixels + chance.normal(0, 0.35, pixels.shape)
ill = digits.target.numpy() == 8
train, test = np.arange(600), np.arange(600, len(ill))
model = LogisticRegression(C=0.3, max_iter=2000).fit(noisy[train], ill[train])
probability, y_true = model.predict_proba(noisy[test])[:, 1], ill[test]
y_true.mean(), (y_true == (probability >= 0.5)).mean()

# %% [markdown] lang="en"
# The prevalence, and the accuracy at a threshold of 0.5. **Guess first**: what would the accuracy be if it called nobody ill?

# %% [markdown] lang="ja"
# 有病率と、しきい値 0.5 での正解率です。**まず予想**: 誰も病気としなければ、正解率はいくつでしょうか。

# %% [markdown] lang="en"
# ## The threshold
#
# Left: how the probabilities of the ill and of the healthy are spread. Right: the **ROC curve**, every threshold at once; the dots are three of them.

# %% [markdown] lang="ja"
# ## しきい値
#
# 左は病気の人と健康な人の確率の分布です。右は **ROC 曲線**で、あらゆるしきい値を一度に示します。点はそのうちの三つです。

# %%
from souron.metrics.classification import roc, sensitivity_and_specificity

THRESHOLDS = (0.05, 0.2, 0.5)
alarms, found = roc(y_true, probability)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
left.hist([probability[~y_true], probability[y_true]], bins=25, label=["healthy", "ill"], log=True)
left.set_xlabel("probability")
left.legend()
right.plot(alarms, found)
for threshold in THRESHOLDS:
    called = probability >= threshold
    right.plot(called[~y_true].mean(), called[y_true].mean(), "o", label=f"{threshold}")
right.set(xlabel="1 - specificity", ylabel="sensitivity")
right.legend(title="threshold")
figure.tight_layout()
plt.show()

# %%
for threshold in THRESHOLDS:
    for measure in sensitivity_and_specificity(y_true, probability >= threshold)[:2]:
        print(threshold, f"{measure.value:.3f} ({measure.low:.3f}..{measure.high:.3f})")

# %% [markdown] lang="en"
# For each threshold the sensitivity, then the specificity, with 95 % intervals. The sensitivity's is wide: few are ill, and only they count for it.

# %% [markdown] lang="ja"
# しきい値ごとに感度、次に特異度を 95 % 信頼区間とともに示します。感度の区間は広くなります。病気の人は少なく、感度はその人たちだけで決まるからです。

# %% [markdown] lang="en"
# ## Your turn: the predictive value
#
# Of those with a positive result, how many are ill? `sensitivity`, `specificity` and `prevalence` are numbers in 0...1: return the share of the positive
# results that are true. (Imagine 1,000 people and count.) `checks.check` tells you how you did.

# %% [markdown] lang="ja"
# ## やってみよう: 陽性的中率
#
# 陽性と出た人のうち、本当に病気の人はどれだけでしょうか。`sensitivity`、`specificity`、`prevalence` は 0〜1 の数です。陽性のうち正しいものの割合を返して
# ください（1,000 人を思い浮かべて数えてみましょう）。`checks.check` が採点します。

# %%
from souron.lecture import checks


def predictive_value(sensitivity, specificity, prevalence):
    raise NotImplementedError


checks.check("predictive_value", predictive_value)

# %% [markdown] lang="en"
# ## Where the disease is rare
#
# The same test, sensitivity and specificity 90 %, in a clinic and in a screening. Count the columns: ill, positive, ill and positive, ill and
# missed, false alarms, healthy and negative.

# %% [markdown] lang="ja"
# ## 病気がまれな所では
#
# 感度も特異度も 90 % の同じ検査を、外来と検診で使います。順に、病気、陽性、病気で陽性、病気の見逃し、偽の警報、健康で陰性の人数です。

# %%
from souron.metrics.net_benefit import frequencies

for prevalence in (0.3, 0.01):
    print(prevalence, tuple(frequencies(0.9, 0.9, prevalence, people=1000)))

# %% [markdown] lang="en"
# ## Calibration
#
# Of the cases with a probability of about 80 %, are 80 % ill? Each dot is a group of cases; on the line the answer is yes. The model is then made
# more confident: the ranking, and so the ROC curve, stays; the calibration does not.

# %% [markdown] lang="ja"
# ## 較正
#
# 確率が約 80 % の事例のうち、80 % が本当に病気でしょうか。点は事例のグループで、線の上なら「はい」です。次に自信を強めます。順位も ROC 曲線も変わり
# ませんが、較正は崩れます。


# %%
def groups_of(probability, width=0.2, fewest=10):
    """Group cases of similar probability: mean probability and share of ill ones of each group."""
    number = (probability / width).astype(int)
    groups = [number == k for k in np.unique(number) if (number == k).sum() >= fewest]
    return [probability[rows].mean() for rows in groups], [y_true[rows].mean() for rows in groups]


odds = np.log(probability / (1 - probability))
bolder = 1 / (1 + np.exp(-3 * odds))  # the same ranking
figure, axes = plt.subplots(figsize=(4.5, 4))
axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
axes.plot(*groups_of(probability), "o-", label="as learnt")
axes.plot(*groups_of(bolder), "s--", label="odds to the power of 3")
axes.set(xlabel="probability", ylabel="share of ill")
axes.legend()
plt.show()

# %% [markdown] lang="en"
# ## Is it worth using?
#
# **Net benefit** weighs hits against false alarms at the threshold that a patient would accept: above the line of treating all and that of treating
# none, the model helps. **Guess first**: does the bolder one help less?

# %% [markdown] lang="ja"
# ## 使う価値はあるか
#
# **純便益**（net benefit）は、患者が受け入れるしきい値で、発見と偽の警報を比べます。全員を治療する線と誰も治療しない線より上なら、モデルは役に立ちます。
# **まず予想**: 自信を強めたほうは、役に立たなくなるでしょうか。

# %%
from souron.metrics.net_benefit import net_benefit, treat_all

thresholds = np.linspace(0.02, 0.6, 30)
figure, axes = plt.subplots(figsize=(6, 3.4))
for name, score in (("as learnt", probability), ("bolder", bolder)):
    axes.plot(thresholds, [net_benefit(y_true, score >= t, t).value for t in thresholds], label=name)
axes.plot(thresholds, [treat_all(y_true, t).value for t in thresholds], label="treat all", linestyle=":")
axes.axhline(0, color="black", linewidth=0.8, label="treat none")
axes.set(xlabel="threshold", ylabel="net benefit", ylim=(-0.02, y_true.mean() * 1.1))
axes.legend()
plt.show()
