# %% [markdown] lang="en"
# # 14. Meaning as a place: embeddings, retrieval and CLIP
#
# A network can turn a sentence or an image into a vector, so that what means the same lies close together. Search, answers with sources and text to
# image all stand on this. You compute the table of cosines, search in it, and see where it fails. It takes half a minute.

# %% [markdown] lang="ja"
# # 14. 意味を位置で表す: 埋め込み、検索、CLIP
#
# ネットワークは、文や画像をベクトルに変え、意味の近いものを近くに置けます。検索も、出典つきの回答も、文からの画像生成も、これを土台にしています。
# コサインの表を計算し、その中で検索し、どこで失敗するかを見ます。30 秒ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
PAIRS = 8

# %% [markdown] lang="en"
# ## Sentences as vectors
#
# The encoder that comes with souron puts English and Japanese into one space of 512 dimensions. **Guess first**: which of these sentences will be neighbours?

# %% [markdown] lang="ja"
# ## 文をベクトルに
#
# souron に付属するエンコーダーは、英語と日本語を同じ 512 次元の空間に置きます。**まず予想**: 次の文のうち、どれとどれが近くなるでしょうか。

# %%
import matplotlib.pyplot as plt
import numpy as np

sentences = [
    "The patient has a toothache.",
    "患者は歯が痛い。",
    "The patient has no toothache.",
    "The ward opens at nine o'clock.",
    "病棟は9時に開きます。",
    "Bananas are cheap today.",
]
encode = souron.pipeline("feature-extraction")
vectors = np.array([encode(sentence) for sentence in sentences]).reshape(len(sentences), -1)
vectors.shape

# %% [markdown] lang="en"
# ## Your turn: a table of cosines
#
# `one` (N, D) and `other` (M, D) are arrays. Return the cosine of the angle between every row of the one and every row of the other, (N, M): products divided
# by both lengths. `checks.check` compares your function on inputs that you do not see.

# %% [markdown] lang="ja"
# ## やってみよう: コサインの表
#
# `one`（N, D）と `other`（M, D）は配列です。一方の各行と他方の各行の間の角のコサイン（N, M）を返してください。内積を二つの長さで割ったものです。
# `checks.check` は見えない入力で比べます。

# %%
from souron.lecture import checks


def cosine_table(one, other):
    raise NotImplementedError


checks.check("cosine_table", cosine_table)

# %% [markdown] lang="en"
# The same table by scikit-learn. Numbers are those of the sentences above. Look at rows 0 and 2: a "no" changes everything for a patient, and nearly nothing
# for the vector.

# %% [markdown] lang="ja"
# 同じ表を scikit-learn で計算します。番号は上の文の順です。0 行目と 2 行目を見てください。「ない」の一語は患者にとってはすべてを変えますが、ベクトルは
# ほとんど変わりません。

# %%
from sklearn.metrics.pairwise import cosine_similarity

table = cosine_similarity(vectors)


def show_table(table):
    """Draw a table of cosines with its numbers."""
    _, axes = plt.subplots(figsize=(5, 4))
    axes.imshow(table, cmap="Blues")
    for row, column in np.ndindex(table.shape):
        colour = "white" if table[row, column] > 0.6 else "black"
        axes.text(column, row, f"{table[row, column]:.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set(xticks=range(table.shape[1]), yticks=range(table.shape[0]))


show_table(table)

# %% [markdown] lang="en"
# ## Retrieval
#
# A question finds the nearest sentence. **There is always a nearest one**, also where no sentence holds the answer: the second question shows it.

# %% [markdown] lang="ja"
# ## 検索
#
# 質問に最も近い文を探します。答えがどの文にもなくても、**最も近い文は必ずあります**。二つめの質問を見てください。

# %%
for question in ("When can I visit?", "Who won the match?"):
    scores = cosine_similarity(np.array(encode(question)).reshape(1, -1), vectors)[0]
    print(question, sentences[scores.argmax()], round(float(scores.max()), 2))

# %% [markdown] lang="en"
# ## Your turn: the reciprocal rank
#
# Search is measured by the place of the first right hit: 1 for the first, 1/2 for the second, and so on. `scores` (N,) are numbers, `right` (N,) says which
# items are right: return one divided by the rank of the best right one, 0 where none is right. No two scores are equal.

# %% [markdown] lang="ja"
# ## やってみよう: 逆順位
#
# 検索は、最初の正解が何番目かで測ります。1 番目なら 1、2 番目なら 1/2 です。`scores`（N,）は数、`right`（N,）は正解の印です。最も上の正解の順位で 1 を
# 割って返してください。正解がなければ 0 です。同じスコアはありません。


# %%
def reciprocal_rank(scores, right):
    raise NotImplementedError


checks.check("reciprocal_rank", reciprocal_rank)

# %% [markdown] lang="en"
# ## CLIP: images and sentences in one space
#
# A small CLIP that comes with souron has learnt from scenes and their captions. Row: an image. Column: a caption. It is right where the largest number of a
# row lies on the diagonal. **Guess first**: what will it confuse, the thing, its colour or its place?

# %% [markdown] lang="ja"
# ## CLIP: 画像と文を同じ空間に
#
# souron に付属する小さな CLIP は、場面と説明文から学びました。行は画像、列は説明文です。行で最大の数が対角線の上にあれば正解です。
# **まず予想**: 取り違えるのは物でしょうか、色でしょうか、位置でしょうか。

# %%
import torch

from souron.data.load import load
from souron.kinds.picture import Picture
from souron.report import lesson_plots

clip = souron.load("clip").system.eval()
scenes = load("drawn_captioned_scenes")
rows = [row for row, part in enumerate(scenes.part) if part == "test"][:PAIRS]
captions = [scenes.target[row][0].text for row in rows]
with torch.no_grad():
    seen = clip.see(torch.stack([clip.pixels(Picture.of(scenes.input[row])) for row in rows]))
    read = clip.read(clip.tokens(captions))
print(*enumerate(captions), sep="\n")
lesson_plots.gallery(scenes.input[rows], [str(number) for number in range(PAIRS)])

# %%
show_table((seen @ read.T).numpy())

# %% [markdown] lang="en"
# **Try**: change one word of a caption (the colour, the place) and look at its column. And `souron ask guide.txt "..."` answers a question with the
# sentence that it found, or says that the text does not hold the answer.

# %% [markdown] lang="ja"
# **試す**: 説明文の一語（色や位置）を変えて、その列を見てください。また `souron ask guide.txt "..."` は、質問に、見つけた文を示して答えるか、
# 答えが文章にないことを述べます。
