# %% [markdown] lang="en"
# # 12. Masks: segmentation, Dice, and the size of a lesion
#
# **Segmentation** gives every pixel a class. Papers report the **Dice** coefficient; here you see what it rewards, write it, and find out why the same
# error of one pixel looks harmless on a large organ and terrible on a small lesion. It takes half a minute.

# %% [markdown] lang="ja"
# # 12. マスク: 領域分割、Dice、病変の大きさ
#
# **領域分割**は、すべての画素にクラスを付けます。論文では **Dice 係数**が報告されます。Dice が何を評価するのかを見て、自分で書き、同じ 1 画素の誤差が
# 大きな臓器では目立たず、小さな病変では致命的になる理由を確かめます。30 秒ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
IMAGES = 60

# %% [markdown] lang="en"
# ## A class for every pixel
#
# A small U-Net that comes with souron, trained on scenes that souron draws. Rows: image, true classes, predicted classes, wrong pixels.
# **Guess first**: where will the errors be?

# %% [markdown] lang="ja"
# ## すべての画素にクラスを
#
# souron に付属する小さな U-Net です。souron が描いた場面で学習しました。上から、画像、正解のクラス、予測したクラス、間違った画素です。
# **まず予想**: 間違いはどこに出るでしょうか。

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from souron.data.load import load

unet = souron.load("unet").system.eval()
scenes = load("drawn_scenes", target="classes_of_pixels")
rows = [row for row, part in enumerate(scenes.part) if part == "test"][:IMAGES]
images = scenes.input[rows].float() / 255  # (IMAGES, 3, 128, 128)
true = scenes.target[rows].long()  # (IMAGES, 128, 128)
with torch.no_grad():
    predicted = torch.cat([unet(some).argmax(1) for some in images.split(10)])

figure, panels = plt.subplots(4, 6, figsize=(9, 6))
for number in range(6):
    column = panels[:, number]
    column[0].imshow(images[number].permute(1, 2, 0).numpy())
    column[1].imshow(true[number].numpy(), cmap="tab10", vmin=0, vmax=9)
    column[2].imshow(predicted[number].numpy(), cmap="tab10", vmin=0, vmax=9)
    column[3].imshow((true[number] != predicted[number]).numpy(), cmap="Reds")
for panel in panels.flat:
    panel.axis("off")
figure.tight_layout()
plt.show()

# %% [markdown] lang="en"
# ## Accuracy flatters
#
# The share of right pixels, and that of a model that answers "background" everywhere:

# %% [markdown] lang="ja"
# ## 正解率は良く見えすぎる
#
# 正しい画素の割合と、どこでも「背景」と答えるモデルの割合です。

# %%
(predicted == true).float().mean().item(), (true == 0).float().mean().item()

# %% [markdown] lang="en"
# ## Your turn: Dice
#
# `predicted` and `true` are arrays of bool of one shape. Return twice the number of pixels that are in both, divided by the number in one plus the number
# in the other. Where both are empty they agree: return 1. Dice: Measures of the Amount of Ecologic Association Between Species (1945).

# %% [markdown] lang="ja"
# ## やってみよう: Dice
#
# `predicted` と `true` は同じ形の真偽値の配列です。両方に入る画素数の 2 倍を、それぞれの画素数の和で割って返してください。どちらも空なら一致しているので
# 1 を返します。Dice: Measures of the Amount of Ecologic Association Between Species (1945)。

# %%
from souron.lecture import checks


def dice(predicted, true):
    raise NotImplementedError


checks.check("dice", dice)

# %% [markdown] lang="en"
# ## Dice of each class and image
#
# Each dot is the area of one class in one image. Large areas lie to the right.

# %% [markdown] lang="ja"
# ## クラスと画像ごとの Dice
#
# 点は、1 枚の画像の一つのクラスの領域です。大きな領域ほど右にあります。

# %%
from souron.metrics import volumes

areas, scores = [], []
for one, other in zip(predicted.numpy(), true.numpy(), strict=True):
    for label in np.unique(other)[1:]:  # without the background
        areas.append((other == label).sum())
        scores.append(volumes.dice(one == label, other == label))
figure, axes = plt.subplots(figsize=(6, 3.2))
axes.scatter(areas, scores, s=8)
axes.set(xscale="log", xlim=(100, 10_000), xlabel="true area (pixels)", ylabel="Dice")
plt.show()

# %% [markdown] lang="en"
# ## One pixel
#
# A disc that is right but for a shift of one pixel. **Guess first**: at which radius does its Dice fall below 0.8?

# %% [markdown] lang="ja"
# ## 1 画素
#
# 1 画素ずれているだけで、形は正しい円です。**まず予想**: 半径がいくつより小さいと、Dice は 0.8 を下回るでしょうか。

# %%
down, across = np.mgrid[:128, :128] - 64
radii = np.arange(1, 31)
shifted = [volumes.dice(down**2 + (across - 1) ** 2 <= radius**2, down**2 + across**2 <= radius**2) for radius in radii]
figure, axes = plt.subplots(figsize=(6, 3.2))
axes.plot(radii, shifted, "o-", markersize=3)
axes.axhline(0.8, color="grey", linestyle=":")
axes.set(xlabel="radius (pixels)", ylabel="Dice", ylim=(0, 1.02))
plt.show()

# %% [markdown] lang="en"
# So a Dice of 0.8 may be excellent for a lymph node and poor for a liver. Distances between the edges, in millimetres, do not depend on the size:

# %% [markdown] lang="ja"
# つまり、同じ Dice 0.8 でも、リンパ節なら優秀で、肝臓なら不十分です。輪郭の間の距離（ミリメートル）は、大きさに左右されません。

# %%
for radius in (3, 30):
    disc = down**2 + across**2 <= radius**2
    agreement = volumes.agreement(np.roll(disc, 1, 1), disc, spacing=(0.5, 0.5))
    print(radius, f"{agreement.dice:.3f}", agreement.hd95)
