# %% [markdown] lang="en"
# # 9. A fair comparison: patients, luck and verdict
#
# A figure of 95 % says nothing before it is known how it was measured. Here you see a classifier that learns **nothing** and yet reaches a high
# accuracy, because its patients are on both sides of the split; how far luck alone moves a figure; and when one may say that A is better than B.
# It takes a minute.

# %% [markdown] lang="ja"
# # 9. 公平な比較: 患者、運、判定
#
# 正解率 95 % という数字は、どう測ったかがわからなければ意味がありません。**何も**学んでいないのに、同じ患者が分割の両側にいるために高い正解率になる
# 分類器、運だけで数字がどれだけ動くか、そして A が B より優れていると言えるのはいつかを見ます。1 分ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
BUDGET = "3s"
SEEDS = 3
SPLITS = 200

# %% [markdown] lang="en"
# ## Patients whose diagnosis cannot be seen
#
# 60 invented patients with 6 images each: the images of one patient resemble each other, but whether he is ill was decided by a coin. Nobody can learn
# the illness from such images. **Guess first**: which accuracy will a classifier reach on its test images?

# %% [markdown] lang="ja"
# ## 診断が写っていない患者
#
# 架空の患者 60 人に画像が 6 枚ずつあります。同じ患者の画像は似ていますが、病気かどうかはコインで決めました。この画像から病気を学ぶことは誰にもでき
# ません。**まず予想**: 分類器のテスト画像での正解率はいくつになるでしょうか。

# %%
import matplotlib.pyplot as plt
import numpy as np

chance = np.random.default_rng(0)
PATIENTS, IMAGES = 60, 6
face = chance.normal(0, 1, (PATIENTS, 1, 64))  # what is a patient's own
images = (face + chance.normal(0, 0.5, (PATIENTS, IMAGES, 64))).reshape(-1, 64)  # (360, 64)
patient = np.repeat(np.arange(PATIENTS), IMAGES)  # (360,)
ill = chance.integers(0, 2, PATIENTS)[patient]  # (360,): a coin for each patient

figure, panels = plt.subplots(3, IMAGES, figsize=(6, 3))
for row, line in enumerate(panels):
    for image, panel in zip(images[patient == row], line, strict=True):
        panel.imshow(image.reshape(8, 8), cmap="gray")
        panel.axis("off")
plt.show()

# %% [markdown] lang="en"
# The classifier answers with the diagnosis of the most similar training image. Once the *images* are divided by chance, once the *patients*.

# %% [markdown] lang="ja"
# 分類器は、最もよく似た学習画像の診断を答えます。一度は*画像*を、一度は*患者*をランダムに分けます。


# %%
def accuracy(test):
    """Return the accuracy on the images that ``test`` (360,) marks; the others are learnt from."""
    distance = ((images[test][:, None] - images[~test][None]) ** 2).sum(2)
    return (ill[~test][distance.argmin(1)] == ill[test]).mean()


by_image = [accuracy(chance.random(len(images)) < 0.3) for _ in range(SPLITS)]
by_patient = [accuracy((chance.random(PATIENTS) < 0.3)[patient]) for _ in range(SPLITS)]
figure, axes = plt.subplots(figsize=(6, 3))
axes.hist(
    [by_image, by_patient],
    bins=np.linspace(0, 1, 41),
    label=["by image", "by patient"],
    histtype="stepfilled",
    alpha=0.7,
)
axes.axvline(0.5, color="black", linestyle=":")
axes.set_xlabel("accuracy")
axes.legend()
np.mean(by_image), np.mean(by_patient)

# %% [markdown] lang="en"
# Divided by image, it recognises the *patient* and remembers his diagnosis. Divided by patient, it is at chance, as it must be. The width of each hill is
# luck: the same data, the same method, another split. A single split shows one point of the hill.

# %% [markdown] lang="ja"
# 画像で分けると、*患者*を見分けて診断を思い出しているだけです。患者で分けると、当然ながら偶然と同じになります。山の幅は運です。データも方法も同じで、
# 分け方だけが違います。1 回の分割で見えるのは、山のうちの 1 点だけです。

# %% [markdown] lang="en"
# ## souron keeps patients together
#
# Given a group for each case (a column of a table, the DICOM patient, or a pattern of file names), `split` never divides one.

# %% [markdown] lang="ja"
# ## souron は患者を分けない
#
# 事例ごとのグループ（表の列、DICOM の患者、ファイル名の規則）がわかれば、`split` はグループを分割しません。

# %%
import torch

from souron.data.dataset import Dataset
from souron.data.splits import split

cases = Dataset(
    "coin",
    torch.tensor(images, dtype=torch.float32),
    torch.tensor(ill),
    ("healthy", "ill"),
    file=[f"{number}.png" for number in range(len(images))],
    group=[f"patient {number}" for number in patient],
)
parts = split(cases)
groups = {name: {cases.group[row] for row in getattr(parts, name)} for name in ("train", "val", "test")}
{name: len(found) for name, found in groups.items()}, groups["train"] & groups["test"]

# %% [markdown] lang="en"
# ## Your turn: who is on both sides?
#
# `train` and `test` are lists with the patient of each image. Return the patients who occur in both, each once, in alphabetical order.
# `checks.check` compares your function with souron's on inputs that you do not see.

# %% [markdown] lang="ja"
# ## やってみよう: 両側にいるのは誰か
#
# `train` と `test` は、画像ごとの患者名のリストです。両方に出てくる患者を、1 人 1 回ずつ、アルファベット順のリストで返してください。
# `checks.check` は見えない入力で souron の関数と比べます。

# %%
from souron.lecture import checks


def patients_on_both_sides(train, test):
    raise NotImplementedError


checks.check("patients_on_both_sides", patients_on_both_sides)

# %% [markdown] lang="en"
# ## The verdict
#
# `souron.compare` gives each system the same split, the same time and the same seeds; the interval of the difference counts the luck of the seeds and
# of the cases. **Guess first**: is a network of 32 units better than one of 64? Is a CNN better than both?

# %% [markdown] lang="ja"
# ## 判定
#
# `souron.compare` は、どのシステムにも同じ分割、同じ時間、同じ乱数の種を与えます。差の区間には、種の運と事例の運の両方が入ります。
# **まず予想**: 32 ユニットのネットワークは 64 ユニットより良いでしょうか。CNN は両方より良いでしょうか。

# %%
result = souron.compare(["mlp:widths=32", "mlp:widths=64", "cnn_tiny"], "digits", budget=BUDGET, seeds=SEEDS)
result

# %%
for verdict in result.verdicts:
    print(verdict.a, verdict.b, f"{verdict.difference:+.3f} ({verdict.low:+.3f}..{verdict.high:+.3f})", verdict.verdict)

# %% [markdown] lang="en"
# An interval that holds 0 means: nobody can say yet. More seeds narrow one part of it, more test cases the other. Try `SEEDS = 6`.

# %% [markdown] lang="ja"
# 区間が 0 を含むなら、まだ誰にも判断できません。種を増やすと区間の一部が、テスト事例を増やすと残りが狭くなります。`SEEDS = 6` を試してください。
