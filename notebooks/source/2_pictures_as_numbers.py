# %% [markdown] lang="en"
# # 2. Pictures as numbers: MNIST, Fashion-MNIST, CIFAR-10
#
# To a network a picture is a table of numbers. Here you look at the three data sets of every first lesson, and see what each step of
# **preprocessing** does to a picture and to the histogram of all its values. It takes half a minute.

# %% [markdown] lang="ja"
# # 2. 画像は数の表: MNIST、Fashion-MNIST、CIFAR-10
#
# ネットワークにとって画像は数の表です。入門の定番である三つのデータセットを眺め、**前処理**の各段階が画像とヒストグラムをどう変えるかを
# 見ます。30 秒ほどで終わります。

# %% first_cell

# %% [markdown] lang="en"
# ## Which data is on this computer?
#
# `souron fetch mnist`, `souron fetch fashion` and `souron fetch cifar10` bring them once from their own sites (12, 31 and 162 MB). On Debian and
# Ubuntu the package `dataset-fashion-mnist` holds Fashion-MNIST too. Without any of them the lesson takes `digits`, which is always there.
# Files that you have already go into a folder with the data set's name below the one that `SOURON_DATA` names.

# %% [markdown] lang="ja"
# ## 手元にあるデータ
#
# `souron fetch mnist`、`souron fetch fashion`、`souron fetch cifar10` で、それぞれの公開元から一度だけ取得します（12、31、162 MB）。
# Debian と Ubuntu ではパッケージ `dataset-fashion-mnist` にも Fashion-MNIST が入っています。どれもなければ、いつでもある `digits` を使います。
# すでに持っているファイルは、`SOURON_DATA` で指定したフォルダーの下の、データセット名のフォルダーに置きます。

# %% tags=["parameters"]
WANTED = ["mnist", "fashion", "cifar10", "digits"]

# %%
from souron.data.load import load, names

{name: str(names()[name].where() or f"souron fetch {name}") for name in WANTED}

# %%
here = [name for name in WANTED if names()[name].where()]
data = load(here[0])
data

# %% [markdown] lang="en"
# ## Look first
#
# Some pictures of each class, how many there are, and how often each value occurs. Does every class have as many cases? Are there more dark
# or more bright pixels? Could you name the small ones yourself?

# %% [markdown] lang="ja"
# ## まず見る
#
# 各クラスの画像、枚数、画素値の頻度です。クラスの枚数はそろっていますか。暗い画素と明るい画素のどちらが多いですか。小さな画像を自分で
# 見分けられますか。

# %%
from souron.report import lesson_plots

lesson_plots.overview(data)

# %%
picture = data.input[0]
print(tuple(picture.shape), picture.dtype)
picture[0]

# %% [markdown] lang="en"
# ## Each step, its picture and its histogram
#
# - **Resize**: a network takes pictures of one size. New pixels are means of old ones, so that new values appear between them.
# - **Scale** to 0...1: the shape of the histogram stays, only the axis changes.
# - **Standardise**: subtract the mean, divide by the standard deviation. Values lie around 0 with a deviation of 1: blue is below the mean,
#   orange above. Learning is faster then, since all weights see values of one size.
#
# Mean and deviation come from the *training* pictures alone. Whoever takes them from all pictures lets the test leak into learning.

# %% [markdown] lang="ja"
# ## 各段階の画像とヒストグラム
#
# - **サイズ変更**: ネットワークは決まった大きさの画像を受け取ります。新しい画素は古い画素の平均なので、間の値が現れます。
# - **スケーリング**（0〜1）: ヒストグラムの形は同じで、軸だけが変わります。
# - **標準化**: 平均を引き、標準偏差で割ります。値は 0 を中心に、標準偏差 1 になります。青は平均より下、橙は上です。
#   すべての重みが同じ大きさの値を見るので、学習が速くなります。
#
# 平均と標準偏差は*学習*データだけから求めます。全データから求めると、テストの情報が学習に漏れます。

# %%
from souron.data.preprocessing import one_hot, preparation

some = data.input[:500]
steps = preparation(some, side=data.side * 2)
lesson_plots.preparation(steps, row=0)

# %%
{step.name: [round(v, 3) for v in (step.low, step.high, step.mean, step.deviation)] for step in steps}

# %% [markdown] lang="en"
# ## Colour to grey
#
# A colour picture has three channels. Grey is their weighted mean, 0.299 red + 0.587 green + 0.114 blue, since the eye is most sensitive to
# green. Here a photograph that scikit-learn brings; each channel has a histogram of its own.

# %% [markdown] lang="ja"
# ## カラーからグレーへ
#
# カラー画像には三つのチャンネルがあります。目は緑に最も敏感なので、グレーは 0.299 赤 + 0.587 緑 + 0.114 青の加重平均です。
# scikit-learn に入っている写真で見ます。ヒストグラムはチャンネルごとに描きます。

# %%
import torch
from sklearn.datasets import load_sample_image

photo = torch.tensor(load_sample_image("flower.jpg")[:420, :420]).permute(2, 0, 1)[None]
lesson_plots.preparation(preparation(photo, side=96, grey=True))

# %% [markdown] lang="en"
# ## Labels as numbers
#
# A class is a name, not a quantity: 9 is not "more" than 1. **One-hot** gives each class a column of its own, with a single 1. A network
# answers with one number a column, its probabilities.

# %% [markdown] lang="ja"
# ## ラベルも数にする
#
# クラスは名前であって量ではありません。9 は 1 より「大きい」わけではないのです。**one-hot** はクラスごとに列を用意し、一つだけ 1 にします。
# ネットワークは列ごとに一つの数、つまり確率を答えます。

# %%
lesson_plots.one_hot(one_hot(data.target[:8], len(data.classes)), data.classes)

# %% [markdown] lang="en"
# ## It is what souron does
#
# The last step, made by hand, equals what a classifier of souron is given. `souron data digits` draws the same for any folder of yours.

# %% [markdown] lang="ja"
# ## souron も同じことをする
#
# 手で作った最後の段階は、souron の分類器に渡される値と一致します。`souron data digits` は、自分のフォルダーについても同じ図を描きます。

# %%
from souron.evaluation.decision_surface import network

few = data.only(range(500))
given = next(iter(network(few).loader(few).once(500))).image
by_hand = preparation(few.input)[-1].values
(given - by_hand).abs().max().item()

# %% [markdown] lang="en"
# **Guess, then try**: what becomes of the histogram if all pictures are made darker by half before they are standardised?

# %% [markdown] lang="ja"
# **予想してから試す**: 標準化の前にすべての画像を半分の明るさにしたら、ヒストグラムはどうなるでしょうか。

# %%
lesson_plots.preparation(preparation(some // 2))

# %% [markdown] lang="en"
# ## Your turn: one-hot
#
# `labels` is a list of class numbers, `classes` their number: return a table with a row for each label and a single 1 in each row. Replace the last line.
# `checks.check` compares your function with souron's own on inputs that you do not see, says for which one it differs, and notes in
# `runs/exercises.jsonl` whether it was right, without a name.

# %% [markdown] lang="ja"
# ## やってみよう: one-hot
#
# `labels` はクラス番号のリスト、`classes` はクラスの数です。ラベルごとに 1 行で、各行に 1 が一つだけある表を返してください。最後の行を書き換えます。
# `checks.check` は、見えない入力で souron の関数と比べ、どの入力で違うかを述べ、正解かどうかを名前なしで `runs/exercises.jsonl` に記録します。

# %%
from souron.lecture import checks


def one_hot(labels, classes):
    raise NotImplementedError


checks.check("one_hot", one_hot)
