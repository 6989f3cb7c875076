# %% [markdown] lang="en"
# # 4. The convolutional network (CNN) and its feature maps
#
# A small **kernel** slides over the picture; at each place it multiplies the numbers below it by its own and adds them up. The sums are a
# **feature map**. You compute one of its pixels by hand, and look into a trained network. It takes about two minutes.

# %% [markdown] lang="ja"
# # 4. 畳み込みネットワーク（CNN）と特徴マップ
#
# 小さな**カーネル**が画像の上を滑り、各位置で、下にある数と自分の数を掛けて足し合わせます。その和を並べたものが**特徴マップ**です。
# 1 画素を手で計算し、学習済みのネットワークの中をのぞきます。2 分ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
BUDGET = "20s"
SYSTEM = "cnn"
STEPS = 150

# %% [markdown] lang="en"
# ## Train
#
# On Fashion-MNIST where it is on this computer, else on digits (see lesson 2).

# %% [markdown] lang="ja"
# ## 学習
#
# Fashion-MNIST が手元にあればそれを、なければ digits を使います（第 2 回）。

# %%
from souron.data.load import load, names

name = "fashion" if names()["fashion"].where() else "digits"
record = souron.train(SYSTEM, name, budget=BUDGET)
record

# %%
from souron.kinds.plot import Plot, Series

rows = [row for row in record.curve if "loss model" in row]
Plot([Series("", [row["step"] for row in rows], [row["loss model"] for row in rows])], "step", "loss")

# %% [markdown] lang="en"
# ## Kernels
#
# The kernels of the first layer: orange is above zero, blue below. One with orange beside blue answers to an edge.

# %% [markdown] lang="ja"
# ## カーネル
#
# 最初の層のカーネルです。橙は正、青は負です。橙と青が隣り合うカーネルは、輪郭（エッジ）に反応します。

# %%
from souron.evaluation.feature_maps import convolutions, feature_maps, kernels, one_pixel
from souron.report import network_plots

cnn = record.model
print(list(convolutions(cnn)))
network_plots.kernels(kernels(cnn))

# %% [markdown] lang="en"
# ## Feature maps, layer by layer
#
# One picture on its way through the network. `Conv2d` finds, `BatchNorm2d` brings to one scale, `ReLU` sets what is below zero to zero,
# `MaxPool2d` keeps the largest of four: the maps get smaller, and where something is matters less.

# %% [markdown] lang="ja"
# ## 層ごとの特徴マップ
#
# 1 枚の画像がネットワークを通っていきます。`Conv2d` が見つけ、`BatchNorm2d` が尺度をそろえ、`ReLU` が負の値を 0 にし、`MaxPool2d` が
# 四つのうち最大のものを残します。マップは小さくなり、位置の違いは小さくなっていきます。

# %%
data = load(name).only(range(100))
image = next(iter(cnn.loader(data.only([3])).once(1))).image
layers = feature_maps(cnn, image)
network_plots.maps(layers)

# %% [markdown] lang="en"
# ## One output pixel: window times kernel
#
# Row 4, column 4 of map 0. What lies below the kernel, the kernel, their products; their sum (and the bias, where the layer has one) is the
# pixel. It equals what the layer computed.

# %% [markdown] lang="ja"
# ## 出力の 1 画素 = 窓 × カーネル
#
# マップ 0 の 4 行 4 列です。カーネルの下にある数、カーネル、その積を示します。積の和（層にバイアスがあれば足します）が画素の値で、層が計算した値と
# 一致します。

# %%
pixel = one_pixel(cnn, image, row=4, column=4, number=0)
network_plots.one_pixel(pixel, image[0])

# %%
import numpy as np

by_hand = (pixel.window.numpy() * pixel.kernel.numpy()).sum() + pixel.bias
assert np.isclose(by_hand, pixel.layer, atol=1e-4)
by_hand, pixel.layer

# %% [markdown] lang="en"
# The second convolution sees all maps of the first: its window is a block of numbers, and the sum goes over all of it.

# %% [markdown] lang="ja"
# 二つめの畳み込みは、最初の層のすべてのマップを見ます。窓は数の塊になり、そのすべてにわたって足し合わせます。

# %%
second = list(convolutions(cnn))[1]
deeper = one_pixel(cnn, image, row=1, column=1, number=0, layer=second)
print(tuple(deeper.window.shape))
deeper.value, deeper.layer

# %% [markdown] lang="en"
# ## Kernels while they learn
#
# A small CNN from its random beginning, on the same 1,797 digits as in lesson 3.

# %% [markdown] lang="ja"
# ## 学習中のカーネル
#
# 乱数から始まる小さな CNN です。第 3 回と同じ 1,797 枚の数字で学習します。

# %%
from souron.evaluation.decision_surface import learn, network

digits = load("digits")
seen = list(learn(network(digits, "cnn_tiny"), digits, STEPS))
network_plots.weight_pictures(seen, 6)

# %%
network_plots.learning(seen)

# %% [markdown] lang="en"
# ## A shift
#
# **Guess first**: the picture moves one pixel to the right. What happens to the feature maps? The first layer's maps move with it (but for
# the border); this is why a CNN needs fewer weights than an MLP, which must learn each place anew.

# %% [markdown] lang="ja"
# ## ずらしてみる
#
# **まず予想**: 画像を右に 1 画素ずらすと、特徴マップはどうなるでしょうか。最初の層のマップも一緒に動きます（端は別です）。場所ごとに学び直す
# MLP より、CNN の重みが少なくて済むのはこのためです。

# %%
moved = image.roll(1, 3)
before = feature_maps(cnn, image)[0].maps[:, :, 1:-2]
after = feature_maps(cnn, moved)[0].maps[:, :, 2:-1]
(before - after).abs().max().item()

# %% [markdown] lang="en"
# ## Your turn: a convolution
#
# `image` (H, W) and `kernel` (h, w) are arrays. At each place where the kernel fits, return the sum of window times kernel, (H - h + 1, W - w + 1). The kernel
# is not turned round, as in every network. `checks.check` compares your function with PyTorch's on inputs that you do not see.

# %% [markdown] lang="ja"
# ## やってみよう: 畳み込み
#
# `image`（H, W）と `kernel`（h, w）は配列です。カーネルが収まるすべての場所で、窓とカーネルの積の和（H - h + 1, W - w + 1）を返してください。
# ネットワークと同じく、カーネルは裏返しません。`checks.check` は見えない入力で PyTorch の関数と比べます。

# %%
from souron.lecture import checks


def convolve(image, kernel):
    raise NotImplementedError


checks.check("convolve", convolve)
