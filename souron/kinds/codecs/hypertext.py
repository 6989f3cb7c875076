"""Safe HTML: its accessibility tree, and a check that it can do nothing.

Roles and names follow W3C: Accessible Rich Internet Applications 1.2, and HTML Accessibility API
Mappings 1.0 (https://www.w3.org/TR/html-aam-1.0/), for the elements that are allowed here. It is an
allowlist: no script, no event handler, no address but anchors within the page, nothing that loads
or sends.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from souron.utils.messages import UserError, _

MOST_LETTERS = 1_000_000  # characters of a page
MOST_DEEP = 60  # nesting depth

ROLES = {  # element -> role; "" for elements that only group
    "html": "document", "head": "", "body": "", "div": "", "span": "", "br": "", "title": "",
    "style": "", "meta": "", "header": "", "main": "main", "section": "", "article": "article",
    "nav": "navigation", "footer": "contentinfo", "aside": "complementary", "hr": "separator",
    "h1": "heading", "h2": "heading", "h3": "heading", "p": "paragraph", "strong": "strong",
    "em": "emphasis", "a": "link", "ul": "list", "ol": "list", "li": "listitem",
    "blockquote": "blockquote", "table": "table", "caption": "caption", "thead": "", "tbody": "",
    "tr": "row", "th": "columnheader", "td": "cell", "form": "form", "label": "",
    "input": "textbox", "textarea": "textbox", "button": "button",
}  # fmt: skip
EMPTY = ("br", "hr", "input", "meta")  # elements without an end
NAMED = ("heading", "link", "button", "columnheader", "cell")  # roles named by their content
INPUTS = {
    "text": "textbox",
    "email": "textbox",
    "tel": "textbox",
    "search": "searchbox",
    "date": "textbox",
    "password": "textbox",
    "number": "spinbutton",
}
ATTRIBUTES = {
    "lang",
    "class",
    "id",
    "role",
    "aria-label",
    "charset",
    "name",
    "content",
    "http-equiv",
    "scope",
    "for",
    "type",
    "href",
    "autocomplete",
}
SAFE_ROLES = {"img", "search", "note", "list", "group", "contentinfo"}
HARMFUL_STYLE = re.compile(r"[\\<@]|url|expression|image|import|behavior|binding", re.IGNORECASE)


@dataclass
class Node:
    """A node of the accessibility tree."""

    role: str
    name: str = ""
    tag: str = ""
    classes: tuple[str, ...] = ()
    type: str = ""  # type of an input
    text: str = ""  # all text in it
    children: list["Node"] = field(default_factory=list)
    label_of: str = ""
    id: str = ""

    def every(self) -> Iterator["Node"]:
        """Yield the node and all within, in document order."""
        yield self
        for child in self.children:
            yield from child.every()

    def told(self, role: str) -> list["Node"]:
        """Return all nodes within that have this role."""
        return [node for node in self.every() if node.role == role and node is not self]


class _Reader(HTMLParser):
    """Parser that builds the tree and refuses everything not on the list."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("document")
        self.open = [self.root]
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = {name: value or "" for name, value in attrs}
        check(tag, about)
        role = about.get("role") or ROLES[tag]
        if tag == "section":
            role = "region" if about.get("aria-label") else ""
        if tag == "input":
            role = INPUTS[about.get("type", "text")]
        node = Node(
            role,
            about.get("aria-label", ""),
            tag,
            tuple(about.get("class", "").split()),
            about.get("type", ""),
            "",
            [],
            about.get("for", ""),
            about.get("id", ""),
        )
        self.open[-1].children.append(node)
        if tag not in EMPTY:
            self.open.append(node)
            if len(self.open) > MOST_DEEP:
                raise unsafe(_("{count} elements within each other").format(count=MOST_DEEP))

    def handle_endtag(self, tag: str) -> None:
        if tag in EMPTY or self.open[-1].tag != tag:
            raise unsafe(_("</{tag}> that closes nothing").format(tag=tag[:40]))
        self.open.pop()

    def handle_data(self, data: str) -> None:
        inside = self.open[-1].tag
        if inside == "style":
            if HARMFUL_STYLE.search(data):
                raise unsafe(_("a style that loads something"))
            return
        if inside == "title":
            self.title += data
            return
        for node in self.open[1:]:
            node.text += data

    def handle_decl(self, decl: str) -> None:
        if decl.lower() != "doctype html":
            raise unsafe(f"<!{decl[:40]}>")

    def handle_comment(self, data: str) -> None:
        raise unsafe(f"<!--{data[:40]}-->")

    def handle_pi(self, data: str) -> None:
        raise unsafe(f"<?{data[:40]}>")

    def unknown_decl(self, data: str) -> None:
        raise unsafe(f"<![{data[:40]}]>")


def check(tag: str, about: dict[str, str]) -> None:
    """Raise UserError for an element, attribute or value that is not on the list."""
    if tag not in ROLES:
        raise unsafe(f"<{tag[:40]}>")
    for name, value in about.items():
        if name not in ATTRIBUTES or (name == "href" and not re.fullmatch(r"#[\w-]*", value)):
            raise unsafe(f"<{tag} {name[:40]}={value[:40]!r}>")
        if name == "role" and value not in SAFE_ROLES:
            raise unsafe(f"<{tag} role={value[:40]!r}>")
        policy = value.lower() == "content-security-policy"
        if name == "http-equiv" and not policy:
            raise unsafe(f"<{tag} http-equiv={value[:40]!r}>")
        if name == "type" and value not in (*INPUTS, "button"):
            raise unsafe(f"<{tag} type={value[:40]!r}>")


def unsafe(found: str) -> UserError:
    """Return the UserError for a page with forbidden content."""
    return UserError(
        "unsafe page",
        _("a page with {found}").format(found=found),
        expected=_("HTML that runs, loads and sends nothing"),
        exit=3,
    )


def read(page: str) -> Node:
    """Parse a page to its accessibility tree.

    Raises UserError for one that is too long, has unclosed elements, or could run, load or send
    anything.
    """
    if len(page) > MOST_LETTERS:
        raise unsafe(_("{count} characters").format(count=len(page)))
    reader = _Reader()
    reader.feed(page)
    reader.close()
    if len(reader.open) > 1:
        raise unsafe(_("<{tag}> that is not closed").format(tag=reader.open[-1].tag))
    labels = {node.label_of: _line(node.text) for node in reader.root.every() if node.label_of}
    for node in reader.root.every():
        if not node.name and node.role in NAMED:
            node.name = _line(node.text)
        if not node.name and node.id:
            node.name = labels.get(node.id, "")
    reader.root.name = _line(reader.title)
    return reader.root


def _line(text: str) -> str:
    """Collapse white space to single blanks."""
    return " ".join(text.split())


def parts(root: Node) -> list[Node]:
    """Return the outermost nodes of the page that have a role, in order."""
    found: list[Node] = []
    for node in root.children:
        found += [node] if node.role and node.role not in ("document", "main") else parts(node)
    return found


def outline(nodes: Sequence[Node]) -> list[str]:
    """Describe each node in a line, such as ``navigation: 3 link`` or ``button "Send"``."""
    lines = []
    for node in nodes:
        counts: dict[str, int] = {}
        for inner in node.every():
            if inner is not node and inner.role in COUNTED:
                counts[inner.role] = counts.get(inner.role, 0) + 1
        told = node.name or _line(node.text)
        line = f'{node.role} "{told}"' if told and not counts else node.role
        inside = ", ".join(f"{count} {role}" for role, count in counts.items())
        colour = ", ".join(node.classes)
        lines.append(line + (f": {inside}" if inside else "") + (f" ({colour})" if colour else ""))
    return lines


COUNTED = ("link", "listitem", "row", "columnheader", "textbox", "searchbox", "spinbutton", "button", "article")
