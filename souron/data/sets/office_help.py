"""LibreOffice's help in English and Japanese, cut into pieces to write on.

The Document Foundation: LibreOffice Help 25.2. https://help.libreoffice.org/

Pieces of consecutive pages, divided as those of ``manuals`` are, which contain the help as well:
about 6 000 characters each, 3 000 in Japanese, with other folders in the test part.
"""

from souron.data.dataset import Dataset
from souron.data.load import found
from souron.data.sets import manuals
from souron.utils.messages import _

ja = "LibreOffice ヘルプの日本語と英語の文章"
task = "complete"
licence = "MPL-2.0"
source = "https://help.libreoffice.org/"
cases = 1_000
needs = ("en-US/text", "ja/text")
debian = (("libreoffice-help-en-us", "libreoffice-help-ja"), "usr/share/libreoffice/help")
keeps = (".html",)
only_needed = True
megabytes = 5


def load(side: int | None = None) -> Dataset:
    folder = found("office_help")
    every = manuals.help_pages({"en": folder / needs[0], "ja": folder / needs[1]})
    return manuals.pieces("office_help", every, grouped=_("folders of the help"), source=source, licence=licence)
