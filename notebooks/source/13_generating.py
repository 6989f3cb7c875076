# %% [markdown] lang="en"
# # 13. Generating: diffusion in the plane, and GAN, VAE and diffusion on images
#
# A generator makes new cases like those that it was shown. In the plane one can see how: you add noise until nothing is left, train a network to find the
# noise, and walk back. Then three generators that come with souron draw side by side. It takes a minute.

# %% [markdown] lang="ja"
# # 13. 生成: 平面の拡散モデルと、画像の GAN・VAE・拡散モデル
#
# 生成モデルは、見せられた事例に似た新しい事例を作ります。平面なら、そのしくみが見えます。何も残らなくなるまで雑音を加え、雑音を見つけるネットワークを
# 学習し、逆にたどります。最後に souron に付属する三つの生成モデルを並べます。1 分ほどで終わります。

# %% first_cell

# %% tags=["parameters"]
STEPS = 2000
DRAWN = 10

# %% [markdown] lang="en"
# ## Forwards: into noise
#
# `kept` is the share of the variance that is still the data: 1 at the beginning, 0 at the end. **Guess first**: at which `kept` do you still see the two
# moons?

# %% [markdown] lang="ja"
# ## 順方向: 雑音へ
#
# `kept` は、分散のうちまだデータである割合です。初めは 1、終わりは 0 です。**まず予想**: `kept` がいくつまで、二つの月が見えるでしょうか。

# %%
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import make_moons

torch.manual_seed(0)
moons, _ = make_moons(4000, noise=0.05, random_state=0)
data = torch.tensor(moons, dtype=torch.float32)
data = (data - data.mean(0)) / data.std(0)  # (4000, 2)
LEVELS = 50
kept = torch.cos(torch.linspace(0, 1, LEVELS) * torch.pi / 2 * 0.99).square()  # from 1 to about 0


def show(panel, points, title):
    panel.scatter(points[:1500, 0], points[:1500, 1], s=1)
    panel.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], title=title, aspect="equal")


figure, panels = plt.subplots(1, 5, figsize=(9, 2))
for panel, level in zip(panels, (0, 6, 14, 28, 49), strict=True):
    noise = torch.randn_like(data)
    show(panel, kept[level].sqrt() * data + (1 - kept[level]).sqrt() * noise, f"kept {kept[level]:.2f}")

# %% [markdown] lang="en"
# ## Your turn: add noise
#
# The line above is the whole forward process. Write it as a function that works for arrays of any shape, so that the variance stays that of the data:
# `clean` and `noise` are arrays, `kept` a number in 0...1. `checks.check` tells you how you did.

# %% [markdown] lang="ja"
# ## やってみよう: 雑音を加える
#
# 順方向の過程は、上の 1 行がすべてです。どんな形の配列にも使え、分散がデータのまま変わらない関数にしてください。`clean` と `noise` は配列、`kept` は
# 0〜1 の数です。`checks.check` が採点します。

# %%
from souron.lecture import checks


def add_noise(clean, noise, kept):
    raise NotImplementedError


checks.check("add_noise", add_noise)

# %% [markdown] lang="en"
# ## Learning to find the noise
#
# The network sees a noisy point and the level, and predicts the noise. The loss is the mean squared error. That is all of it.

# %% [markdown] lang="ja"
# ## 雑音を見つける学習
#
# ネットワークは、雑音の入った点と段階を見て、加えられた雑音を予測します。損失は平均二乗誤差です。それだけです。

# %%
network = torch.nn.Sequential(
    torch.nn.Linear(3, 128), torch.nn.SiLU(), torch.nn.Linear(128, 128), torch.nn.SiLU(), torch.nn.Linear(128, 2)
)
optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
losses = []
for _ in range(STEPS):
    clean = data[torch.randint(len(data), (256,))]
    level = torch.randint(LEVELS, (256, 1))
    noise = torch.randn_like(clean)
    noisy = kept[level].sqrt() * clean + (1 - kept[level]).sqrt() * noise
    loss = (network(torch.cat([noisy, level / LEVELS], 1)) - noise).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
figure, axes = plt.subplots(figsize=(6, 2.4))
axes.plot(torch.tensor(losses).unfold(0, 10, 10).mean(1))
axes.set(xlabel="step / 10", ylabel="loss")
plt.show()

# %% [markdown] lang="en"
# ## Backwards: out of noise
#
# Begin with pure noise. At each level, guess the clean point from the predicted noise, and take the step to the level below (DDIM). **Guess first**: at
# which level does the shape appear?

# %% [markdown] lang="ja"
# ## 逆方向: 雑音から
#
# 純粋な雑音から始めます。各段階で、予測した雑音からきれいな点を推定し、一つ下の段階へ進みます（DDIM）。**まず予想**: 形はどの段階で現れるでしょうか。

# %%
points = torch.randn(1500, 2)
figure, panels = plt.subplots(1, 6, figsize=(10, 2))
shown = dict(zip((49, 40, 30, 20, 10, 1), panels, strict=True))
with torch.no_grad():
    for level in range(LEVELS - 1, 0, -1):
        noise = network(torch.cat([points, torch.full((len(points), 1), level / LEVELS)], 1))
        guess = (points - (1 - kept[level]).sqrt() * noise) / kept[level].sqrt()
        points = kept[level - 1].sqrt() * guess + (1 - kept[level - 1]).sqrt() * noise
        if level in shown:
            show(shown[level], points, f"level {level}")

# %% [markdown] lang="en"
# ## GAN, VAE and diffusion on images
#
# Three generators that come with souron, trained on Fashion-MNIST. A GAN decides at once and is sharp; a VAE averages and is soft; diffusion goes
# through many steps. Ask of each: are there things that never appear?

# %% [markdown] lang="ja"
# ## 画像の GAN、VAE、拡散モデル
#
# souron に付属する、Fashion-MNIST で学習した三つの生成モデルです。GAN は一度で決めるので鮮明、VAE は平均するのでぼやけ、拡散モデルは多くの段階を
# 踏みます。それぞれ、決して現れないものはないか考えてみましょう。

# %%
souron.generate("gan", n=DRAWN)

# %%
souron.generate("vae", n=DRAWN)

# %%
souron.generate("ddpm", n=DRAWN)

# %% [markdown] lang="en"
# **Try**: `STEPS = 300` in the plane. Does the loss tell you that the points are worse? A generator's loss says little about its images; that is why
# `souron compare` measures distances between generated and real images.

# %% [markdown] lang="ja"
# **試す**: 平面で `STEPS = 300` にしてみましょう。損失を見て、点が悪くなったとわかりますか。生成モデルの損失からは、画像の良さはほとんどわかりません。
# そのため `souron compare` は、生成した画像と本物の画像の距離を測ります。
