# %% [markdown] lang="en"
# # 5. Data augmentation, and what it is worth
#
# **Augmentation** changes training pictures by chance in ways that leave their label true: a shoe moved by a pixel is still a shoe. Look at
# what each change does, then measure whether it helps, with an interval. It takes about two minutes.

# %% [markdown] lang="ja"
# # 5. データ拡張とその効果
#
# **データ拡張**は、ラベルが変わらない範囲で学習画像をランダムに変える方法です。1 画素ずらした靴も、やはり靴です。それぞれの変化を見てから、
# 本当に効くのかを信頼区間つきで測ります。2 分ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
BUDGET = "20ep"
SEEDS = 3
AUGMENTATIONS = ["none", "shift", "mirror", "erase"]

# %%
from souron.data.load import load
from souron.report import lesson_plots, sliders

digits = load("digits")
picture = load("digits", 28).input[3]

# %% [markdown] lang="en"
# ## A slider for each
#
# From -1 to 1 is the range from which training draws by chance. (Without `ipywidgets`, and in a notebook that was saved, the grid below
# shows the same.)

# %% [markdown] lang="ja"
# ## 一つずつスライダーで
#
# -1 から 1 までが、学習のときにランダムに選ばれる範囲です。（`ipywidgets` がない場合や保存したノートブックでは、下の表が同じものを示します。）

# %%
sliders.augmentations(picture)

# %%
lesson_plots.strengths(picture)

# %% [markdown] lang="en"
# As training sees it, each picture in its own way every time:

# %% [markdown] lang="ja"
# 学習のときは、画像ごとに毎回違う変わり方をします。

# %%
import torch

from souron.data.transforms import augmentation

chance = torch.Generator().manual_seed(0)
change = augmentation(["shift", "rotate", "erase"])
lesson_plots.gallery(change(picture.expand(20, -1, -1, -1).contiguous(), chance))

# %% [markdown] lang="en"
# ## Which keep the label true?
#
# **Guess first**: which of these hurts with digits? A mirrored 2 is no digit; 6 upside down is a 9. With clothes a mirror is harmless; in an
# X-ray of the chest it moves the heart to the other side.

# %% [markdown] lang="ja"
# ## ラベルが変わらないのはどれか
#
# **まず予想**: 数字ではどれが害になるでしょうか。左右反転した 2 は数字ではありません。さかさまの 6 は 9 です。服なら反転しても問題ありません。
# 胸部 X 線写真では、心臓が反対側に移ってしまいます。

# %% [markdown] lang="en"
# ## Measured
#
# `souron.compare` gives each the same split, the same budget and the same seeds; `cnn_tiny:augment=shift` says what is done to its training
# pictures. The sentence says whether one is better, or that it cannot be told and what would be needed to tell.

# %% [markdown] lang="ja"
# ## 測る
#
# `souron.compare` は、同じ分割、同じ予算、同じ乱数シードで比べます。`cnn_tiny:augment=shift` は学習画像に何をするかを指定します。結論の文は、
# どれが優れているか、または判断できないこと、判断には何が必要かを述べます。

# %%
result = souron.compare([f"cnn_tiny:augment={each}" for each in AUGMENTATIONS], "digits", budget=BUDGET, seeds=SEEDS)
result

# %%
for verdict in result.verdicts:
    if "cnn_tiny:augment=none" in (verdict.a, verdict.b):
        sign = 1 if verdict.b.endswith("none") else -1
        low, high = sorted((sign * 100 * verdict.low, sign * 100 * verdict.high))
        name = (verdict.a if sign == 1 else verdict.b).split("=")[1]
        print(f"{name:10} {sign * 100 * verdict.difference:+.1f} ({low:+.1f}..{high:+.1f})", verdict.verdict)

# %% [markdown] lang="en"
# Points of accuracy against none, with the 95 % interval. An interval that holds 0 means: **it cannot be told**, not that there is no effect.
# Small sets gain most from augmentation, and long trainings more than short ones, which have no time to learn by heart. Try `BUDGET = "100ep"`,
# more seeds, or `"fashion"` in place of digits.

# %% [markdown] lang="ja"
# 拡張なしと比べた正解率の差（ポイント）と 95 % 信頼区間です。区間が 0 を含むのは「効果がない」ではなく、**判断できない**という意味です。
# データが少ないほど、また学習が長いほど、拡張の効果は大きくなりがちです。短い学習では丸暗記する時間がないからです。`BUDGET = "100ep"` や、
# シードを増やすこと、digits の代わりに `"fashion"` も試してください。
