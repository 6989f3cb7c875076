# %% [markdown] lang="en"
# # 7. Tokens, attention and a small GPT
#
# A language model reads numbers, not words: a text is cut into **tokens**. **Attention** then mixes what the tokens before a position know, and the
# model answers with a probability for every possible next token. All of it happens here on your computer, in about a minute.

# %% [markdown] lang="ja"
# # 7. トークン、アテンション、小さな GPT
#
# 言語モデルが読むのは単語ではなく数です。文章はまず**トークン**に分けられます。次に**アテンション**が、それまでのトークンの情報を混ぜ合わせ、モデルは
# 次のトークンの候補すべてに確率を答えます。すべて手元のコンピューターで、1 分ほどで見られます。

# %% first_cell

# %% tags=["parameters"]
BUDGET = "15s"

# %% [markdown] lang="en"
# ## A text as tokens
#
# The number of characters, of tokens, and the tokens, by the tokenizer of a small GPT that comes with souron and has read the help of an office program in both languages. **Guess first**: does a frequent word have one token? And a Japanese one?

# %% [markdown] lang="ja"
# ## 文章をトークンに
#
# 文字数、トークン数、トークンの順に示します。souron に付属する小さな GPT のトークナイザーです。オフィスソフトのヘルプを両方の言語で読んでいます。**まず予想**: よく使う単語は 1 トークンで
# しょうか。日本語の単語はどうでしょうか。

# %%
gpt = souron.load("gpt_small")
tokenizer = gpt.system.tokenizer
for text in ("Save the file in the folder.", "ファイルをフォルダーに保存します。"):
    pieces = tokenizer.pieces(text)
    print(len(text), len(pieces), [piece.text for piece in pieces])

# %% [markdown] lang="en"
# ## Your turn: one step of byte-pair encoding
#
# Tokens are learnt from a text: the two neighbours that stand together most often become one token, again and again. Here is the count; the merge is
# yours. `tokens` is a list of texts, `pair` two of them: return the list in which each occurrence of the pair, from the left, has become one token.
# `checks.check` compares with a right solution on inputs that you do not see, and notes the result in `runs/exercises.jsonl`.

# %% [markdown] lang="ja"
# ## やってみよう: バイト対符号化の一歩
#
# トークンは文章から学びます。最も多く隣り合う二つを一つにまとめることを繰り返します。数えるところまでは下にあります。まとめる関数を書いてください。
# `tokens` は文字列のリスト、`pair` はそのうちの二つです。左から順に、この組を一つのトークンにまとめたリストを返します。
# `checks.check` は見えない入力で正しい関数と比べ、結果を `runs/exercises.jsonl` に記録します。

# %%
from collections import Counter
from itertools import pairwise

letters = list("the cat that sat at the table")
Counter(pairwise(letters)).most_common(3)

# %%
from souron.lecture import checks


def merge_pair(tokens, pair):
    raise NotImplementedError


checks.check("merge_pair", merge_pair)

# %% [markdown] lang="en"
# ## Attention, head by head
#
# Row: the token that attends. Column: the token that it attends to. Nothing is right of the diagonal, since no token may look at what comes after it.
# The first row of panels is the first layer. **Guess first**: will the heads look at the same tokens?

# %% [markdown] lang="ja"
# ## ヘッドごとのアテンション
#
# 行は注目する側、列は注目される側のトークンです。後のトークンを見てはいけないので、対角線の右側は空です。一番上の段が最初の層です。
# **まず予想**: どのヘッドも同じトークンを見るでしょうか。

# %%
import matplotlib.pyplot as plt
import torch

from souron.evaluation.language.inside_decoder import trace

numbers = tokenizer.encode("To save the file, open the menu and save the")
with torch.no_grad():
    seen = trace(gpt.system.decoder, torch.tensor(numbers))
attention = seen.attention.numpy()  # (layers, heads, T, T)
layers, heads = attention.shape[:2]
figure, panels = plt.subplots(layers, heads, figsize=(2 * heads, 2 * layers), squeeze=False)
for layer in range(layers):
    for head in range(heads):
        panels[layer, head].imshow(attention[layer, head], cmap="Blues", vmin=0, vmax=1)
        panels[layer, head].set(xticks=[], yticks=[], title=f"{layer + 1}.{head + 1}")
figure.tight_layout()
plt.show()
print([tokenizer.decode([number]) for number in numbers])

# %% [markdown] lang="en"
# ## Your turn: attention
#
# `query`, `key` and `value` are tensors (T, D). Scores are `query @ key.T` divided by the square root of D; what comes later gets minus infinity; the
# softmax of each row gives the weights; the answer is weights times `value`, (T, D).

# %% [markdown] lang="ja"
# ## やってみよう: アテンション
#
# `query`、`key`、`value` はテンソル（T, D）です。スコアは `query @ key.T` を D の平方根で割ったもの、後のトークンは負の無限大にします。行ごとの
# ソフトマックスが重みで、答えは重みと `value` の積（T, D）です。


# %%
def causal_attention(query, key, value):
    raise NotImplementedError


checks.check("causal_attention", causal_attention)

# %% [markdown] lang="en"
# ## The next token
#
# The last position's scores become probabilities. The **temperature** divides the scores first: below 1 the favourite wins more often, above 1 the
# others get their turn.

# %% [markdown] lang="ja"
# ## 次のトークン
#
# 最後の位置のスコアが確率になります。**温度**は先にスコアを割る数です。1 より小さいと本命がさらに強くなり、大きいとほかの候補にも出番がきます。

# %%
with torch.no_grad():
    scores = gpt.system(torch.tensor([numbers]))[0, -1]  # (vocabulary,)
for temperature in (0.5, 1.0, 2.0):
    share = (scores / temperature).softmax(0)
    best = share.topk(5)
    print(
        temperature,
        [(tokenizer.decode([k]), round(p, 2)) for p, k in zip(*map(torch.Tensor.tolist, best), strict=True)],
    )

# %%
from souron.kinds.text import Text

for seed in (1, 2):
    print(gpt(Text("To save the file, "), length=30, seed=seed), "\n")

# %% [markdown] lang="en"
# ## Learning
#
# A tiny GPT and a table of counts (`ngram`) learn from the reference of the Python language, which comes with Python. **Bits per byte** say how
# surprising the test texts are to them: lower is better. **Guess first**: which of the two is better after so short a time?

# %% [markdown] lang="ja"
# ## 学習
#
# 小さな GPT と出現回数の表（`ngram`）が、Python に付属する言語リファレンス（英語）から同じ予算で学びます。**1 バイトあたりのビット数**は、テストの文章が
# どれだけ意外かを表し、小さいほど良い値です。**まず予想**: これだけ時間が短いとき、優れているのはどちらでしょうか。

# %%
from pydoc_data.topics import topics

folder = Path("texts")
folder.mkdir(exist_ok=True)
for name, words in topics.items():
    (folder / f"{name}.txt").write_text(words, encoding="utf-8")
souron.compare(["ngram", "gpt_tiny"], "texts", budget=BUDGET, seeds=1)
