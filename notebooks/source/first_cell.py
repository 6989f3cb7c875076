# %% [markdown] lang="en"
# The first cell prepares the notebook and can be left as it is. On your own computer it installs nothing. In Google Colab it installs
# the wheels of souron that you dropped into Colab's *Files* pane (`pip wheel --no-deps . ./zoo` makes them), or what `SOURON` names.
# Results go into the folder `runs` beside the notebook, or into a temporary folder where nothing may be written.

# %% [markdown] lang="ja"
# 最初のセルは準備をするだけなので、そのまま実行してください。自分のコンピューターでは何もインストールしません。Google Colab では、*ファイル*欄に
# 置いた souron の wheel（`pip wheel --no-deps . ./zoo` で作れます）、または `SOURON` で指定したものをインストールします。
# 結果はノートブックと同じ場所の `runs` フォルダーに入ります。書き込めない場所では、一時フォルダーに入ります。

# %%
LANGUAGE = "en"
SOURON = "souron*.whl"

import os
import sys
import tempfile
from pathlib import Path

os.environ["SOURON_LANG"] = LANGUAGE
if "google.colab" in sys.modules:
    # %pip install --quiet {SOURON}
    os.environ["SOURON_CACHE"] = "/content/souron-cache"
if not os.access(".", os.W_OK):
    os.chdir(tempfile.mkdtemp(prefix="souron-"))

import souron

souron.__version__, Path.cwd()
