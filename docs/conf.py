"""The documentation site: English sources, Japanese through gettext."""

project = "souron"
author = "the souron developers"
copyright = "the souron developers"  # noqa: A001 (Sphinx's name)
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "souron (総論)"
html_static_path = ["_static"]
html_show_sphinx = False
locale_dirs = ["locale"]
gettext_compact = False
exclude_patterns = ["_build", "locale", "README.md"]
