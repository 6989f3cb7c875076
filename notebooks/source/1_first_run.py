# %% [markdown] lang="en"
# # 1. Notebooks, and a first run
#
# A notebook is a page of **cells**: some hold text, some hold Python. *Run* executes a cell (`Shift` + `Enter`) and shows the value of
# its last line below it. Google Colab runs notebooks on Google's computers; JupyterLab (`pip install jupyterlab`, then `jupyter lab`)
# and VS Code run them on yours. These lessons need no network, no graphics card and no account, and what you open stays with you.
# This one takes about a minute.

# %% [markdown] lang="ja"
# # 1. ノートブックと最初の実行
#
# ノートブックは**セル**の並びです。文章のセルと Python のセルがあります。*実行*（`Shift` + `Enter`）するとセルのコードが動き、最後の行の値が
# その下に表示されます。Google Colab は Google のコンピューターで、JupyterLab（`pip install jupyterlab` のあと `jupyter lab`）や VS Code は
# 自分のコンピューターで実行します。この授業にはネットワークも GPU もアカウントも要りません。開いたデータは手元に残ります。
# この回は約 1 分で終わります。

# %% first_cell

# %% tags=["parameters"]
BUDGET = "10s"

# %% [markdown] lang="en"
# ## Cells remember
#
# All cells share one memory, the **kernel**. What counts is the order in which cells were *run*, not the order on the page. Run the next
# cell three times and watch the number: that is why a notebook may work for you and fail for others. *Restart and run all* is the test.

# %% [markdown] lang="ja"
# ## セルは覚えている
#
# すべてのセルは一つの記憶（**カーネル**）を共有します。大切なのはページ上の順序ではなく、*実行した*順序です。次のセルを 3 回実行して数字を見て
# ください。自分の所では動くのに他の人の所では動かない、という失敗はここから起こります。*再起動してすべて実行*で確かめましょう。

# %%
times = globals().get("times", 0) + 1
times

# %% [markdown] lang="en"
# ## Data
#
# 1,797 digits written by 13 people, each of 8 x 8 pixels. They come with scikit-learn, so that they are always there.

# %% [markdown] lang="ja"
# ## データ
#
# 13 人が書いた数字の画像 1,797 枚で、1 枚は 8 × 8 画素です。scikit-learn に含まれているので、いつでも使えます。

# %%
from souron.data.load import load
from souron.report import lesson_plots

digits = load("digits")
lesson_plots.gallery(digits.input[:20], [digits.classes[k] for k in digits.target[:20]])

# %% [markdown] lang="en"
# ## Train
#
# `souron.train` splits the cases into three parts: it **learns** from the training part, picks the best moment on the **validation** part,
# and measures once on the **test** part, which it never saw. An MLP is a network of simple units (lesson 3). The table shows each figure
# with its 95 % interval, because another test set would give another figure.

# %% [markdown] lang="ja"
# ## 学習
#
# `souron.train` はデータを三つに分けます。**学習**データから学び、**検証**データで最良の時点を選び、一度も見ていない**テスト**データで
# 一度だけ測ります。MLP は単純なユニットを並べたネットワークです（第 3 回）。表の数値には 95 % 信頼区間が付きます。
# 別のテストデータなら別の値になるからです。

# %%
record = souron.train("mlp", "digits", budget=BUDGET)
record

# %%
record.parts

# %% [markdown] lang="en"
# ## Validate
#
# A run is a folder. Anyone who has it can open it and measure it again: the figures are the same.

# %% [markdown] lang="ja"
# ## 検証
#
# 実行結果は一つのフォルダーです。持っている人なら誰でも開いて測り直せます。同じ値になります。

# %%
model = souron.load(record.folder)
again = model.val()
again["accuracy"], again["accuracy"].value == record.measures["accuracy"].value

# %% [markdown] lang="en"
# ## Predict
#
# The model answers about one picture with a probability for each class. A file works as well: `model("photo.png")`.

# %% [markdown] lang="ja"
# ## 予測
#
# モデルは画像 1 枚について、各クラスの確率を答えます。ファイルも渡せます: `model("photo.png")`。

# %%
from souron.kinds.picture import Picture

picture = Picture.of(digits.input[3])
model(picture)

# %% [markdown] lang="en"
# ## Where runs lie
#
# `report.html` is the whole result as one file that opens in any browser. `args.yaml` says how it was made, `split.csv` which case was in
# which part, `weights` what was learnt. Nothing is overwritten: run the notebook again and a second folder appears.

# %% [markdown] lang="ja"
# ## 結果の場所
#
# `report.html` は結果のすべてを一つにまとめたファイルで、どのブラウザーでも開けます。`args.yaml` は作り方、`split.csv` は各データの行き先、
# `weights` は学習した重みです。上書きはしません。もう一度実行すると、二つめのフォルダーができます。

# %%
print(record.folder)
sorted(file.name for file in record.folder.iterdir())

# %% [markdown] lang="en"
# The same on the command line: `souron train mlp data=digits budget=10s`, `souron val runs/classify/mlp-digits`,
# `souron predict runs/classify/mlp-digits photo.png`; and with forms in a browser: `souron studio`.

# %% [markdown] lang="ja"
# コマンドでも同じことができます: `souron train mlp data=digits budget=10s`、`souron val runs/classify/mlp-digits`、
# `souron predict runs/classify/mlp-digits photo.png`。ブラウザーのフォームなら `souron studio` です。
