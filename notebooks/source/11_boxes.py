# %% [markdown] lang="en"
# # 11. Boxes: overlap, suppression and average precision by hand
#
# A detector answers with boxes, each with a class and a score. How good a box is, which of several boxes stays, and how a list of boxes becomes one
# number: each is a few lines, and you write two of them. It takes half a minute.

# %% [markdown] lang="ja"
# # 11. 枠: 重なり、抑制、平均適合率を手で
#
# 検出器はクラスとスコアの付いた枠を答えます。枠の良さ、複数の枠から残すもの、枠の並びを一つの数にする方法は、どれも数行で書けます。そのうち二つを
# 自分で書きます。30 秒ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
IMAGES = 12

# %% [markdown] lang="en"
# ## A detector at work
#
# A small YOLO that comes with souron, trained on scenes that souron draws. `detect` returns a row for each box: class, left, top, right, bottom, score.

# %% [markdown] lang="ja"
# ## 検出器を動かす
#
# souron に付属する小さな YOLO です。souron が描いた場面で学習しました。`detect` は枠ごとに 1 行（クラス、左、上、右、下、スコア）を返します。

# %%
import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle

from souron.data.load import load

scenes = load("drawn_scenes")
rows = [row for row, part in enumerate(scenes.part) if part == "test"][:IMAGES]
images = scenes.input[rows].float() / 255  # (IMAGES, 3, 128, 128)
truth = [scenes.target[row] for row in rows]  # each (objects, 5): class, left, top, right, bottom
yolo = souron.load("yolo").system.eval()
with torch.no_grad():
    found = yolo.detect(images, conf=0.05, iou=0.6)
found[0]


# %%
def draw(panel, image, boxes, colour, score=None):
    """Draw boxes (n, 4) on an image (3, H, W)."""
    panel.imshow(image.permute(1, 2, 0).numpy())
    panel.axis("off")
    for number, (left, top, right, bottom) in enumerate(boxes.tolist()):
        panel.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.5))
        if score is not None:
            panel.text(left, top - 2, f"{score[number]:.2f}", color=colour, fontsize=7)


figure, panels = plt.subplots(2, 4, figsize=(9, 4.6))
for number in range(4):
    sure = found[number][found[number][:, 5] > 0.25]
    draw(panels[0, number], images[number], truth[number][:, 1:], "lime")
    draw(panels[1, number], images[number], sure[:, 1:5], "red", sure[:, 5])
figure.tight_layout()
plt.show()

# %% [markdown] lang="en"
# Above, the true boxes; below, the predicted ones with their scores.

# %% [markdown] lang="ja"
# 上は正解の枠、下は予測した枠とスコアです。

# %% [markdown] lang="en"
# ## Your turn: intersection over union
#
# `one` and `other` are boxes: left, top, right, bottom. Return the area that both share, divided by the area that they cover together. **Guess first**:
# two squares of 10 x 10, one moved by 5 to the right: what is their IoU? Mind the boxes that do not touch.

# %% [markdown] lang="ja"
# ## やってみよう: IoU
#
# `one` と `other` は枠（左、上、右、下）です。共通する面積を、二つが覆う面積で割って返してください。**まず予想**: 10 × 10 の正方形二つの片方を右に 5
# ずらすと、IoU はいくつでしょうか。離れている枠にも注意してください。

# %%
from souron.lecture import checks


def box_overlap(one, other):
    raise NotImplementedError


checks.check("box_overlap", box_overlap)

# %% [markdown] lang="en"
# ## Which box stays?
#
# The network proposes many boxes for each object. **Non-maximum suppression** takes the one with the highest score and removes those that overlap with it
# by more than a threshold. **Guess first**: what happens at 0.95, what at 0.05?

# %% [markdown] lang="ja"
# ## どの枠が残るか
#
# ネットワークは一つの物に多くの枠を出します。**非最大抑制**は、スコアが最も高い枠を取り、しきい値より大きく重なる枠を消します。
# **まず予想**: しきい値が 0.95 のとき、0.05 のときは、どうなるでしょうか。

# %%
figure, panels = plt.subplots(1, 3, figsize=(9, 3.2))
for panel, iou in zip(panels, (0.95, 0.6, 0.05), strict=True):
    with torch.no_grad():
        [several] = yolo.detect(images[:1], conf=0.1, iou=iou)
    draw(panel, images[0], several[:, 1:5], "red")
    panel.set_title(f"IoU {iou}: {len(several)}")
plt.show()

# %% [markdown] lang="en"
# ## From boxes to one number
#
# All boxes of all images in one list, the highest score first. A box is right if it overlaps by at least half with an object of its class that no
# box before it took. Going down the list, **recall** rises with every hit, and **precision** falls with every mistake.

# %% [markdown] lang="ja"
# ## 枠から一つの数へ
#
# すべての画像の枠を一つの列にし、スコアの高い順に並べます。同じクラスで、まだ取られていない物と半分以上重なれば正解です。列を下るにつれて、
# **再現率**は当たるたびに上がり、**適合率**は外れるたびに下がります。

# %%
from souron.metrics.detection import coco, curve, match

objects = [each.double().numpy() for each in truth]
boxes = [each.double().numpy() for each in found]
matches = match(objects, boxes, labels=len(scenes.classes))
figure, axes = plt.subplots(figsize=(5, 3.4))
for label, name in enumerate(scenes.classes):
    recall, precision, score = curve(matches, label)
    axes.plot(recall, precision, ".-", label=name)
axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.05), ylim=(0, 1.05))
axes.legend(fontsize=7)
plt.show()

# %% [markdown] lang="en"
# ## Your turn: average precision
#
# `right` says of each box, by falling score, whether it is right; `objects` is the number of objects. At each recall of 0, 0.01, ... 1 take the highest
# precision that is reached at this recall or a higher one, 0 where none is; return the mean of these 101 numbers. This is what COCO's evaluator does.

# %% [markdown] lang="ja"
# ## やってみよう: 平均適合率
#
# `right` はスコアの高い順に、枠が正解かどうかを並べたもの、`objects` は物の数です。再現率 0、0.01、…、1 のそれぞれで、その再現率以上で得られる最も高い
# 適合率を取り（なければ 0）、101 個の平均を返してください。COCO の評価プログラムと同じ計算です。


# %%
def average_precision(right, objects):
    raise NotImplementedError


checks.check("average_precision", average_precision)

# %% [markdown] lang="en"
# The mean over the classes is the figure in papers. `AP50` counts a box from an overlap of 0.5; `AP` is the mean over ten stricter and stricter
# thresholds up to 0.95. With so few images, both are far from certain.

# %% [markdown] lang="ja"
# クラスごとの値の平均が、論文に出てくる数字です。`AP50` は重なり 0.5 から正解とし、`AP` は 0.95 まで少しずつ厳しくした十個のしきい値の平均です。
# 画像がこれだけ少ないと、どちらも確かな値ではありません。

# %%
figures = coco(objects, boxes, labels=len(scenes.classes))
figures["AP50"], figures["AP"]
