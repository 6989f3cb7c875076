"""The documentation site: English sources, Japanese through gettext."""

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
