"""The documentation site: English sources, Japanese through gettext."""

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform

project = "souron"
author = "the souron developers"
copyright = "the souron developers"
extensions = ["myst_parser"]
myst_heading_anchors = 3
highlight_language = "none"
html_theme = "furo"
html_title = "souron (総論)"
html_static_path = ["_static"]
html_css_files = ["style.css"]
templates_path = ["_templates"]
html_show_sphinx = False
html_copy_source = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
locale_dirs = ["locale"]
gettext_compact = False
gettext_location = False  # so that a moved paragraph leaves its translation alone
exclude_patterns = ["_build", "_templates", "locale"]


class Shades(SphinxTransform):
    """A picture that has a dark one beside it gives way to that in the dark."""

    default_priority = 900

    def apply(self, **_options: Any) -> None:
        for light in list(self.document.findall(nodes.image)):
            path = Path(light["uri"])
            uri = path.with_suffix(f".dark{path.suffix}").as_posix()
            if (Path(self.env.srcdir) / uri).exists():
                dark = light.deepcopy()
                dark["uri"] = uri
                light["classes"].append("only-light")
                dark["classes"].append("only-dark")
                light.parent.insert(light.parent.index(light) + 1, dark)


def setup(app: Any) -> None:
    app.add_transform(Shades)
