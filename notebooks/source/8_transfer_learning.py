# %% [markdown] lang="en"
# # 8. Transfer learning: few images, borrowed eyes
#
# A network that has seen a million photographs knows edges, textures and parts. **Transfer learning** keeps these layers and trains only the last one,
# so that a few images of each class may be enough. Here you try it with eight images of each, and measure what the borrowing was worth. Two minutes.

# %% [markdown] lang="ja"
# # 8. 転移学習: 少ない画像と借りた目
#
# 100 万枚の写真を見たネットワークは、輪郭や質感や物の部分を知っています。**転移学習**はその層を残し、最後の層だけを学習するので、クラスごとに
# 数枚の画像で足りることがあります。1 クラス 8 枚で試し、借りた効果を測ります。2 分ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
BUDGET = "8s"
SEEDS = 2
SYSTEMS = ["efficientnet_lite:frozen", "efficientnet_lite:scratch", "cnn"]

# %% [markdown] lang="en"
# ## As it is: a thousand classes
#
# EfficientNet-Lite with its weights from ImageNet, which come as a Python package. It answers with the most probable of 1,000 classes, right or wrong.

# %% [markdown] lang="ja"
# ## そのまま使う: 1000 クラス
#
# ImageNet の重みをもつ EfficientNet-Lite です。重みは Python のパッケージに入っています。正しくても間違っていても、1,000 クラスの中から最も確率の高い
# ものを答えます。

# %%
import torch
from sklearn.datasets import load_sample_image

from souron.kinds.picture import Picture

network = souron.load("efficientnet_lite", pretrained=True)
photograph = torch.tensor(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)
network(Picture.of(photograph))

# %% [markdown] lang="en"
# ## Own classes, few images
#
# Scenes that souron draws hold birds, flowers, coins and more. Cut out along their boxes they become a small data set of our own: a folder for each
# part and each class, as souron reads any folder of yours.

# %% [markdown] lang="ja"
# ## 自分のクラス、少ない画像
#
# souron が描く場面には、鳥、花、硬貨などが写っています。枠に沿って切り抜くと、自分たちの小さなデータセットになります。フォルダーは部分とクラスごとに
# 分けます。souron は自分のフォルダーも同じように読みます。

# %%
from souron.data.load import load

scenes = load("drawn_scenes")
COUNTS = {"train": 8, "test": 25}  # images of each class
chosen = {}
for row, part in enumerate(scenes.part):
    for label, left, top, right, bottom in scenes.target[row].int().tolist() if part in COUNTS else ():
        cut = scenes.input[row][:, top:bottom, left:right]
        several = chosen.setdefault((part, scenes.classes[label]), [])
        if min(cut.shape[1:]) > 24 and len(several) < COUNTS[part]:
            several.append(torch.nn.functional.interpolate(cut[None].float(), (64, 64))[0].byte())
for (part, label), several in chosen.items():
    folder = Path("few images") / part / label
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(several):
        Picture.of(image).image.save(folder / f"{number:02d}.png")
sum(map(len, chosen.values()))

# %%
from souron.report import lesson_plots

names = sorted({label for part, label in chosen})
lesson_plots.gallery(
    torch.stack([image for label in names for image in chosen["train", label][:5]]),
    [label for label in names for _ in range(5)],
)

# %% [markdown] lang="en"
# ## What was the borrowing worth?
#
# `frozen` keeps the published layers and trains the last one; `scratch` has the same structure and knows nothing; `cnn` is small and knows nothing
# either. All have the same images and the same time. **Guess first**: by how many points do they differ?

# %% [markdown] lang="ja"
# ## 借りた効果はどれだけか
#
# `frozen` は公開された層を残して最後の層だけを学習します。`scratch` は同じ構造で、何も知りません。`cnn` は小さく、やはり何も知りません。画像も時間も
# 同じです。**まず予想**: 何ポイント違うでしょうか。

# %%
result = souron.compare(SYSTEMS, "few images", budget=BUDGET, seeds=SEEDS, side=64)
result

# %% [markdown] lang="en"
# ## Your turn: accuracy among the best k
#
# ImageNet's networks are compared by how often the class is among the five most probable ones. `probabilities` (N, classes) and `labels` (N,) are
# arrays, `k` a number: return the share of cases whose class is among the `k` most probable ones. `checks.check` tells you how you did.

# %% [markdown] lang="ja"
# ## やってみよう: 上位 k 個の正解率
#
# ImageNet のネットワークは、確率の高い五つの中に正解が入る割合で比べられます。`probabilities`（N, クラス数）と `labels`（N,）は配列、`k` は数です。
# 正解が確率の高い `k` 個に入る事例の割合を返してください。`checks.check` が採点します。

# %%
import numpy as np

from souron.lecture import checks


def top_k_accuracy(probabilities, labels, k):
    raise NotImplementedError


checks.check("top_k_accuracy", top_k_accuracy)

# %% [markdown] lang="en"
# **Try**: `"efficientnet_lite:pretrained"` in `SYSTEMS` trains all layers from the published ones (fine-tuning). With 8 images of each class, is that
# better than `frozen`? With your own folder of photographs in place of `"few images"`?

# %% [markdown] lang="ja"
# **試す**: `SYSTEMS` に `"efficientnet_lite:pretrained"` を加えると、公開された重みから全部の層を学習します（ファインチューニング）。1 クラス 8 枚で
# `frozen` より良くなりますか。`"few images"` の代わりに自分の写真のフォルダーではどうですか。
