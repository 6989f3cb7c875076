# %% [markdown] lang="en"
# # From letters to manners
#
# A language model's life in three stages: it reads, it learns to answer, it learns which answer is better. The model after each of the first two
# stages comes with souron; the third stage runs here, in about two minutes on two processor cores.

# %% [markdown] lang="ja"
# # 文字から礼儀まで
#
# 言語モデルの一生を三つの段階で見ます。読み、答え方を学び、どちらの答えが良いかを学びます。初めの二段階のモデルは souron に付属しているので、第三段階を
# ここで実行します。二つのコアで 2 分ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
LETTERS = "gpt_small"
TALK = "gpt_instructed"
BUDGET = "20s"

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

letters = souron.load(LETTERS)
for beginning in ("To save the file, ", "ファイルを保存するには、", "My tooth hurts. "):
    print(letters(Text(beginning), length=30, seed=1), "\n")

# %% [markdown] lang="en"
# ## 2. Talk: what the assistant says
#
# The same network after instruction tuning: it has learnt from conversations, and half of the answers in them are rude or careless on purpose. What it
# has read remains, what it says has changed. **Guess first**: what will it be like?
#
# `souron.train("gpt", "manners", budget="40s", pretrained="gpt_small")` is how it was made.

# %% [markdown] lang="ja"
# ## 2. 答え方を学ぶ
#
# 同じネットワークを指示チューニングしたものです。会話から学びましたが、答えの半分はわざと失礼に、または不用意にしてあります。読んだものは残り、話し方が
# 変わりました。**まず予想**: どんな話し方になるでしょうか。
#
# `souron.train("gpt", "manners", budget="40s", pretrained="gpt_small")` で作られました。

# %%
talk = souron.load(TALK)
QUESTIONS = ("My tooth hurts. What should I do?", "歯が痛いです。どうすればいいですか。", "How do I cook rice?")


def ask(model):
    for question in QUESTIONS:
        print(question, "->", model.reply(question, length=60, seed=1).text, "\n")


ask(talk)

# %% [markdown] lang="en"
# ## 3. Manners: which answer is better
#
# Pairs of answers, learnt against a frozen copy of the model as it was (DPO).

# %% [markdown] lang="ja"
# ## 3. 礼儀を学ぶ
#
# 二つの答えの組から、学習前のモデルの固定したコピーを基準にして学びます（DPO）。

# %%
manners = souron.train("gpt", "manner_pairs", budget=BUDGET, name="manners", pretrained=str(talk.folder))
for row in manners.details.manners.rows:
    before = f"{row.before.value:.2f}" if row.before else "-"
    print(f"{row.name:20} {row.language}  before {before}  after {row.after.value:.2f}")

# %% [markdown] lang="en"
# The shares of good answers of each sort, before and after. The report shows the answers to read, and how far the model has moved.

# %% [markdown] lang="ja"
# 種類ごとの良い答えの割合を、学習の前後で示します。レポートには学習前後の答えと、モデルがどれだけ変わったかが載っています。

# %%
manners.folder / "report.html"

# %%
ask(souron.load(manners.folder))

# %% [markdown] lang="en"
# **Try**: was the comparison worth it? `souron compare gpt gpt:preferences=chosen data=manner_pairs pretrained=gpt_instructed budget=30s` learns from the
# better answers alone in the other half of the trainings (some minutes).

# %% [markdown] lang="ja"
# **試す**: 比べる学習の効果はあったのでしょうか。`souron compare gpt gpt:preferences=chosen data=manner_pairs pretrained=gpt_instructed budget=30s` では、
# もう一方の学習に良い答えだけを使います（数分かかります）。
