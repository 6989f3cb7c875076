# %% [markdown] lang="en"
# The first cell prepares the notebook and can be left as it is. On your own computer it installs nothing. In Google Colab it installs, by pip, the
# wheels of souron that you dropped into Colab's *Files* pane (`pip wheel --no-deps . ./zoo ./packages/teach` makes them), or else what `SOURON` names: packages, or the
# URLs of wheels. What you do in Colab goes to Google's computers. Results go into the folder `runs` beside the notebook, or into a temporary folder
# where nothing may be written.

# %% [markdown] lang="ja"
# 最初のセルは準備をするだけなので、そのまま実行してください。自分のコンピューターでは何もインストールしません。Google Colab では、*ファイル*欄に
# 置いた souron の wheel（`pip wheel --no-deps . ./zoo ./packages/teach` で作れます）を pip でインストールします。なければ `SOURON` に書いたパッケージ名や wheel の URL を
# 使います。Colab での作業は Google のコンピューターに送られます。結果はノートブックと同じ場所の `runs` フォルダーに入ります。書き込めない場所では、
# 一時フォルダーに入ります。

# %%
LANGUAGE = "en"
SOURON = "souron souron-zoo souron-teach"

import importlib.util
import os
import tempfile
from pathlib import Path

os.environ["SOURON_LANG"] = LANGUAGE
if importlib.util.find_spec("google") and importlib.util.find_spec("google.colab"):
    SOURON = " ".join(map(str, sorted(Path().glob("souron*.whl")))) or SOURON
    print({"en": "Google Colab. pip installs:", "ja": "Google Colab です。pip でインストールします:"}[LANGUAGE], SOURON)
    # %pip install --quiet {SOURON}
if not os.access(".", os.W_OK):
    os.chdir(tempfile.mkdtemp(prefix="souron-"))

import souron

souron.__version__, Path.cwd()
