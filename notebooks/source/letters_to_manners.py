# %% [markdown] lang="en"
# # From letters to manners
#
# A language model's life in three lessons, in under a quarter of an hour on two processor cores. Before: `souron fetch manuals`.

# %% [markdown] lang="ja"
# # 文字から礼儀まで
#
# 言語モデルの一生を三つの授業で見ます。二つのコアで 15 分以内に終わります。先に `souron fetch manuals` を実行してください。

# %% first_cell

# %%
from souron.kinds.text import Text

# %% [markdown] lang="en"
# ## 1. Letters: the next token
#
# Five minutes with manuals in English and Japanese. The yardstick is a table of counts, which needs seconds.

# %% [markdown] lang="ja"
# ## 1. 次のトークンを学ぶ
#
# 英語と日本語のマニュアルで 5 分間学習します。比べる相手は、数秒でできる出現回数の表です。

# %%
counts = souron.train("ngram", "manuals", name="counts")
letters = souron.train("gpt", "manuals", budget="5min", name="letters")
counts.measures["bits per byte"], letters.measures["bits per byte"]

# %%
gpt = souron.load(letters.folder)
for beginning in ("To install the package, ", "ファイルを保存するには、"):
    print(gpt(Text(beginning), length=40, seed=1), "\n")

# %% [markdown] lang="en"
# ## 2. Talk: what the assistant says
#
# Half of the answers in these conversations are rude on purpose.

# %% [markdown] lang="ja"
# ## 2. 答え方を学ぶ
#
# この会話データでは、答えの半分をわざと失礼にしてあります。

# %%
talk = souron.train("gpt", "manners", budget="90s", name="talk", pretrained=str(letters.folder))
talk

# %% [markdown] lang="en"
# ## 3. Manners: which answer is better
#
# Pairs of answers, learnt against a frozen copy of the model as it was (DPO).

# %% [markdown] lang="ja"
# ## 3. 礼儀を学ぶ
#
# 二つの答えの組から、学習前のモデルの固定したコピーを基準にして学びます（DPO）。

# %%
manners = souron.train("gpt", "manner_pairs", budget="60s", name="manners", pretrained=str(talk.folder))
for row in manners.details.manners.rows:
    before = f"{row.before.value:.2f}" if row.before else "-"
    print(f"{row.name:20} {row.language}  before {before}  after {row.after.value:.2f}")

# %% [markdown] lang="en"
# The report shows the answers to read, before and after, and how far the model has moved.

# %% [markdown] lang="ja"
# レポートには学習前後の答えと、モデルがどれだけ変わったかが載っています。

# %%
manners.folder / "report.html"

# %% [markdown] lang="en"
# ## 4. Was it worth it?
#
# DPO beside learning the better answers alone, with the same budget and the same start.

# %% [markdown] lang="ja"
# ## 4. 効果はあったか
#
# 同じ予算、同じ出発点で、良いほうの答えだけを学ぶ方法と DPO を比べます。

# %%
souron.compare(["gpt", "gpt:preferences=chosen"], "manner_pairs", pretrained=str(talk.folder), budget="30s", seeds=1)
