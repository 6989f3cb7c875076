# %% [markdown] lang="en"
# # 6. Maps and clusters: data without labels
#
# 64 numbers are too many to look at. **Dimensionality reduction** draws cases as points of a map, **clustering** puts them into groups; neither
# is told the labels. Here you compute a map by hand, ask how far it can be trusted, and find groups with k-means. It takes a minute.

# %% [markdown] lang="ja"
# # 6. 地図とクラスター: ラベルのないデータ
#
# 64 個の数は、そのままでは眺められません。**次元削減**は事例を地図の上の点にし、**クラスタリング**は事例をグループに分けます。どちらもラベルは
# 使いません。地図を手で計算し、どこまで信頼できるかを調べ、k-means でグループを見つけます。1 分ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
BUDGET = "20s"
GROUPS = 10

# %% [markdown] lang="en"
# ## PCA by hand
#
# Each digit is a point with 64 coordinates. Subtract the mean; the singular value decomposition then gives the directions along which the points
# differ most. Two of them make a map.

# %% [markdown] lang="ja"
# ## 手で計算する PCA
#
# 数字 1 枚は 64 個の座標をもつ点です。平均を引いて特異値分解をすると、点のばらつきが最も大きい方向が順に得られます。そのうち二つで地図ができます。

# %%
import matplotlib.pyplot as plt
import torch

from souron.data.load import load

digits = load("digits")
points = digits.input.flatten(1).float() / 255  # (1797, 64)
centred = points - points.mean(0)
_, scale, directions = torch.linalg.svd(centred, full_matrices=False)
plane = centred @ directions[:2].T  # (1797, 2)
explained = scale.square() / scale.square().sum()
explained[:2].sum().item(), explained[:20].sum().item()

# %% [markdown] lang="en"
# The two numbers are the shares of the variance that 2 and 20 of the 64 directions keep. **Guess first**: which digits lie apart on the map, which
# on top of each other?

# %% [markdown] lang="ja"
# 二つの数は、64 方向のうち 2 方向と 20 方向に残る分散の割合です。**まず予想**: 地図の上で離れる数字はどれで、重なる数字はどれでしょうか。


# %%
def show_map(place, groups, title):
    """Draw points (N, 2) in the colours of their groups (N,)."""
    figure, axes = plt.subplots(figsize=(6, 5))
    dots = axes.scatter(place[:, 0], place[:, 1], c=groups, s=6, cmap="tab10")
    figure.colorbar(dots)
    axes.set_title(title)


show_map(plane, digits.target, "PCA")

# %% [markdown] lang="en"
# ## UMAP, and trust
#
# UMAP bends: it tries to keep neighbours together and gives up large distances. **Trustworthiness** counts whether neighbours on the map were
# neighbours in the data (1 is perfect). The map of `shuffled` data, in which every pixel was permuted by itself, has nothing to show.

# %% [markdown] lang="ja"
# ## UMAP と信頼性
#
# UMAP は空間を曲げます。近い点どうしを近くに保とうとし、遠い距離はあきらめます。**信頼性**（trustworthiness）は、地図で隣の点が元のデータでも
# 隣だったかを数えます（1 が最高）。画素ごとに並べ替えた `shuffled` のデータには、地図に描くべきものが何もありません。

# %%
from souron.metrics.reduction import shuffled_columns, trustworthiness

record = souron.train("umap", "digits", budget=BUDGET)
flat = record.model(points).detach()
show_map(flat, digits.target, "UMAP")

# %%
shuffled = shuffled_columns(points, torch.Generator().manual_seed(0))
noise = shuffled - shuffled.mean(0)
noise_plane = noise @ torch.linalg.svd(noise, full_matrices=False)[2][:2].T
{
    "PCA": trustworthiness(points, plane).mean().item(),
    "UMAP": trustworthiness(points, flat).mean().item(),
    "shuffled, PCA": trustworthiness(shuffled, noise_plane).mean().item(),
}

# %% [markdown] lang="en"
# ## k-means
#
# Each point joins its nearest centre; each centre moves to the mean of its points; again, until nothing changes. The centres are pictures
# themselves. **Guess first**: will every digit have a centre of its own?

# %% [markdown] lang="ja"
# ## k-means
#
# 点は最も近い中心に加わり、中心は自分の点の平均へ動きます。変化がなくなるまで繰り返します。中心も画像として見られます。
# **まず予想**: どの数字にも中心が一つずつできるでしょうか。

# %%
kmeans = souron.train("kmeans", "digits", config={"groups": GROUPS}).model
figure, panels = plt.subplots(1, GROUPS, figsize=(9, 1.2))
for panel, centre in zip(panels, kmeans.centres, strict=True):
    panel.imshow(centre.view(8, 8).numpy(), cmap="gray")
    panel.axis("off")
plt.show()

# %%
cluster = kmeans(points)
table = torch.zeros(GROUPS, 10, dtype=torch.int64)
for group, label in zip(cluster, digits.target, strict=True):
    table[group, label] += 1
table  # a row for each cluster, a column for each digit

# %% [markdown] lang="en"
# Rows with two large numbers are clusters that mix two digits; a digit in two rows is written in two ways. The **adjusted Rand index** says in one
# number how far clusters and labels agree: 0 is chance, 1 is perfect. In real life there are no labels, and this number cannot be had.

# %% [markdown] lang="ja"
# 大きな数が二つある行は、二つの数字が混ざったクラスターです。二つの行に分かれた数字は、書き方が二通りあります。**調整ランド指数**は、クラスターと
# ラベルの一致を一つの数で表します（0 は偶然、1 は完全な一致）。実際のデータにはラベルがなく、この数は求められません。

# %%
from souron.metrics.clustering import adjusted_rand

adjusted_rand(cluster, digits.target)

# %% [markdown] lang="en"
# ## Your turn: the nearest centre
#
# Write the first step of k-means: `points` (N, D) and `centres` (K, D) are arrays; return the number of the nearest centre of each point, (N,).
# Replace the last line. `checks.check` compares your function with souron's own on inputs that you do not see, says for which one it differs,
# and notes in `runs/exercises.jsonl` whether it was right, without a name.

# %% [markdown] lang="ja"
# ## やってみよう: 最も近い中心
#
# k-means の最初の一歩を書いてください。`points`（N, D）と `centres`（K, D）は配列です。各点に最も近い中心の番号（N,）を返します。最後の行を
# 書き換えてください。`checks.check` は、見えない入力で souron の関数と比べ、どの入力で違うかを述べ、正解かどうかを名前なしで
# `runs/exercises.jsonl` に記録します。

# %%
import numpy as np

from souron.lecture import checks


def nearest_centre(points, centres):
    raise NotImplementedError


checks.check("nearest_centre", nearest_centre)

# %% [markdown] lang="en"
# **Try**: `GROUPS = 20`. Does the agreement with the labels rise? Which digits get two clusters?

# %% [markdown] lang="ja"
# **試す**: `GROUPS = 20` にすると、ラベルとの一致は上がりますか。どの数字が二つのクラスターに分かれますか。
