# %% [markdown] lang="en"
# # 3. The multilayer perceptron (MLP), inference and learning
#
# First **inference**: two matrix products by hand give what the network answers. Then **learning**: the loss falls, the weights move, and
# the plane is parted. It takes about two minutes.

# %% [markdown] lang="ja"
# # 3. 多層パーセプトロン（MLP）の推論と学習
#
# まず**推論**です。行列の積を手で計算すると、ネットワークの答えと一致します。次に**学習**です。損失が下がり、重みが動き、平面が分かれていく
# 様子を見ます。2 分ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
BUDGET = "10s"
STEPS = 400

# %% [markdown] lang="en"
# ## Inference by hand
#
# An MLP with one hidden layer of 16 units, trained on digits:  h = max(0, W1 x + b1),  y = W2 h + b2,  p = softmax(y).

# %% [markdown] lang="ja"
# ## 手で計算する推論
#
# 隠れ層が 16 ユニットの MLP を数字で学習させます:  h = max(0, W1 x + b1),  y = W2 h + b2,  p = softmax(y)。

# %%
import numpy as np

from souron.data.load import load

digits = load("digits")
record = souron.train("mlp", "digits", budget=BUDGET, config={"widths": (16,)})
mlp = record.model
image = next(iter(mlp.loader(digits.only([3])).once(1))).image
weights = {name: weight.detach().numpy() for name, weight in mlp.named_parameters()}
{name: weight.shape for name, weight in weights.items()}

# %%
x = image.flatten().numpy()
h = np.maximum(weights["hidden.0.weight"] @ x + weights["hidden.0.bias"], 0)
y = weights["fc.weight"] @ h + weights["fc.bias"]
p = np.exp(y - y.max()) / np.exp(y - y.max()).sum()
of_network = mlp(image).detach().numpy()[0]
assert np.allclose(y, of_network, atol=1e-4)
np.abs(y - of_network).max()

# %%
print(*(f"{name}: {share:.3f}" for name, share in zip(digits.classes, p, strict=True)), sep="\n")
digits.classes[digits.target[3]]

# %% [markdown] lang="en"
# ## Learning, moment by moment
#
# Points in a plane are easier to see than 64 pixels. The network is the same, a point has two values. At some steps it is stopped, and what
# it answers *everywhere* in the plane is drawn: the **decision surface**. Pale areas are those where it is unsure.

# %% [markdown] lang="ja"
# ## 学習の一歩一歩
#
# 64 画素より平面上の点のほうが見やすいので、二つの値をもつ点で見ます。ネットワークは同じです。途中で止めて、平面の*あらゆる場所*での答えを
# 描いたものが**決定境界**の図です。色の薄い所は自信のない所です。

# %%
from souron.evaluation.decision_surface import learn, network, points
from souron.report import network_plots

moons = points("moons")
seen = list(learn(network(moons, widths=(8,), rate=2e-2), moons, STEPS))
network_plots.learning(seen)

# %%
network_plots.surfaces(seen, moons)

# %% [markdown] lang="en"
# Each **hidden unit** answers 0 on one side of a line and grows on the other: it can only fold the plane along a line. The last layer
# adds such folds, so that curves come out. Some units hardly move; some end up at 0 everywhere ("dead").

# %% [markdown] lang="ja"
# **隠れユニット**はそれぞれ、一本の直線の片側で 0、反対側で大きくなります。平面を一本の線で折ることしかできません。最後の層がそれを足し合わせて
# 曲線を作ります。ほとんど動かないユニットや、どこでも 0 になるユニット（「死んだ」ユニット）もあります。

# %%
network_plots.units(seen)

# %% [markdown] lang="en"
# The **weights** start small and random; orange is above zero, blue below. Large steps come first: look at the step numbers.

# %% [markdown] lang="ja"
# **重み**は小さな乱数から始まります。橙は正、青は負です。大きく変わるのは初めのほうです。ステップの数を見てください。

# %%
network_plots.weights(seen)

# %% [markdown] lang="en"
# ## How many units are needed?
#
# **Guess first**: can 1, 2, 4 or 32 hidden units part the two spirals? Two circles? Change the name and the widths.

# %% [markdown] lang="ja"
# ## ユニットはいくつ必要か
#
# **まず予想**: 隠れユニットが 1、2、4、32 個のとき、二つの渦（spirals）や円（circles）を分けられるでしょうか。名前と個数を変えて試してください。

# %%
spirals = points("spirals")
ends = [
    list(learn(network(spirals, widths=(width,), rate=2e-2), spirals, STEPS, at=[STEPS]))[-1] for width in (1, 2, 4, 32)
]
network_plots.surfaces(ends, spirals)

# %% [markdown] lang="en"
# ## Digits in the plane
#
# The two directions along which digits differ most (principal components, lesson on dimension reduction) make a plane. Ten classes share it.
# Two numbers of 64 cannot tell all digits apart: accuracy stays low however long it learns. That is the data's limit, not the network's.

# %% [markdown] lang="ja"
# ## 平面上の数字
#
# 数字の違いが最も大きい二つの方向（主成分。次元削減の回を参照）で平面を作ります。10 クラスが入ります。64 の値のうち二つだけでは、すべての
# 数字は見分けられません。どれだけ学習しても正解率は低いままです。これはネットワークではなく、データの限界です。

# %%
flat = points("digits", 800)
seen = list(learn(network(flat, widths=(32,), rate=2e-2), flat, STEPS))
network_plots.surfaces(seen, flat)

# %% [markdown] lang="en"
# ## What a unit looks for
#
# With all 64 pixels, the weights of a unit can be laid out as a picture. Strokes appear where there was noise.

# %% [markdown] lang="ja"
# ## ユニットは何を見ているか
#
# 64 画素すべてを使うと、一つのユニットの重みを画像として並べられます。初めは雑音ですが、やがて線が現れます。

# %%
seen = list(learn(network(digits, widths=(12,), rate=5e-3), digits, STEPS))
network_plots.weight_pictures(seen, 6)

# %%
network_plots.learning(seen)

# %% [markdown] lang="en"
# This last accuracy is on the cases that it learnt from, and so it flatters. The honest one is that of `record`, on cases never seen:

# %% [markdown] lang="ja"
# 最後の正解率は学習に使ったデータでの値なので、良く見えすぎます。見たことのないデータでの正直な値は `record` にあります。

# %%
record

# %% [markdown] lang="en"
# ## Your turn: softmax
#
# `scores` is an array (N,): return e to the power of each score, divided by their sum. **Guess first**: what happens to a score of 1000? Subtracting the
# largest score from all changes nothing in the result. `checks.check` compares your function on inputs that you do not see.

# %% [markdown] lang="ja"
# ## やってみよう: ソフトマックス
#
# `scores` は配列（N,）です。e のスコア乗を、その和で割って返してください。**まず予想**: スコアが 1000 だとどうなるでしょうか。すべてのスコアから最大値を
# 引いても結果は変わりません。`checks.check` は見えない入力で比べます。

# %%
from souron.lecture import checks


def softmax(scores):
    raise NotImplementedError


checks.check("softmax", softmax)
