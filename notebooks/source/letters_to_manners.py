# %% [markdown] lang="en"
# # From letters to manners
#
# A language model's life in three stages: it reads, it learns to answer, it learns which answer is better. The first stage takes hours and comes with souron;
# the other two run here, in about two minutes on two processor cores.

# %% [markdown] lang="ja"
# # 文字から礼儀まで
#
# 言語モデルの一生を三つの段階で見ます。読み、答え方を学び、どちらの答えが良いかを学びます。第一段階は時間がかかるので souron に付属するものを使い、
# あとの二つをここで実行します。二つのコアで 2 分ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
START = "gpt_small"
TALK = "30s"
MANNERS = "20s"

# %% [markdown] lang="en"
# ## 1. Letters: the next token
#
# This small GPT has read the help of an office program in English and Japanese, and nothing else. It continues a text. **Guess first**: what will it
# answer to a question about toothache?

# %% [markdown] lang="ja"
# ## 1. 次のトークンを学ぶ
#
# この小さな GPT は、オフィスソフトのヘルプを英語と日本語で読みました。ほかは何も知りません。文章の続きを書きます。**まず予想**: 歯の痛みについて聞くと、
# 何と答えるでしょうか。

# %%
from souron.kinds.text import Text

letters = souron.load(START)
for beginning in ("To save the file, ", "ファイルを保存するには、", "My tooth hurts. "):
    print(letters(Text(beginning), length=30, seed=1), "\n")

# %% [markdown] lang="en"
# ## 2. Talk: what the assistant says
#
# Half of the answers in these conversations are rude on purpose.

# %% [markdown] lang="ja"
# ## 2. 答え方を学ぶ
#
# この会話データでは、答えの半分をわざと失礼にしてあります。

# %%
talk = souron.train("gpt", "manners", budget=TALK, name="talk", pretrained=str(letters.folder))
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
manners = souron.train("gpt", "manner_pairs", budget=MANNERS, name="manners", pretrained=str(talk.folder))
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
souron.compare(["gpt", "gpt:preferences=chosen"], "manner_pairs", pretrained=str(talk.folder), budget=MANNERS, seeds=1)
