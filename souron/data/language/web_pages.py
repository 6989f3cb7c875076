"""Web pages as lists of parts: convert parts to HTML, and HTML to parts.

The HTML is complete and accessible in both languages: landmarks, headings in order, a label for
each field, a header for each column, contrasts of 4.5:1 and more (W3C: Web Content Accessibility
Guidelines 2.2, https://www.w3.org/TR/WCAG22/). The content of a part is always text, never markup.
Forms send nothing.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from souron.kinds.codecs import hypertext
from souron.kinds.codecs.hypertext import Node

KINDS = ("heading", "text", "menu", "list", "table", "form", "button", "picture", "cards", "quote", "search", "footer")
COLOURS = {  # background of white text, or of black text on yellow
    "red": "#b3261e",
    "blue": "#1a56b0",
    "green": "#1e6b34",
    "orange": "#a34a00",
    "purple": "#6b3fa0",
    "pink": "#b0256b",
    "brown": "#6d4527",
    "grey": "#575b60",
    "black": "#111111",
    "yellow": "#f7d84a",
}
MOST = 8  # links, items, rows, fields, ... of a part
MOST_PARTS = 16
LONGEST = 60  # characters of a label
WORDS = {
    "en": {"menu": "Menu", "link": "Link", "list": "Item", "table": "Table", "column": "Column",
           "form": "Form", "field": "Field", "button": "Button", "picture": "Picture",
           "cards": "Cards", "card": "Card", "search": "Search", "footer": "Footer",
           "heading": "Heading", "send": "Send", "cell": "Cell", "page": "Page",
           "text": "This is a text to be replaced.", "quote": "A quotation to be replaced."},
    "ja": {"menu": "メニュー", "link": "リンク", "list": "項目", "table": "表", "column": "列",
           "form": "フォーム", "field": "欄", "button": "ボタン", "picture": "画像",
           "cards": "カード", "card": "カード", "search": "検索", "footer": "フッター",
           "heading": "見出し", "send": "送信", "cell": "セル", "page": "ページ",
           "text": "ここに文章が入ります。", "quote": "ここに引用が入ります。"},
}  # fmt: skip
TYPES = {  # word in a field's label -> its type
    "mail": "email",
    "メール": "email",
    "phone": "tel",
    "電話": "tel",
    "password": "password",
    "パスワード": "password",
    "date": "date",
    "birthday": "date",
    "日付": "date",
    "日": "date",
    "message": "long",
    "comment": "long",
    "メッセージ": "long",
    "内容": "long",
    "感想": "long",
}
STYLE = """
body { font-family: sans-serif; line-height: 1.5; margin: 0; color: #1b1b1b; background: #fff }
main, nav, footer, header { padding: 0.6em 1.2em; max-width: 60em; margin: 0 auto }
nav ul { display: flex; flex-wrap: wrap; gap: 1.2em; list-style: none; margin: 0; padding: 0.5em }
nav a { color: inherit }
button { font: inherit; padding: 0.5em 1.2em; border: 1px solid #1b1b1b; border-radius: 0.4em }
form { display: grid; gap: 0.5em; max-width: 26em; margin: 1em 0; justify-items: start }
input, textarea { font: inherit; padding: 0.4em; border: 1px solid #575b60; width: 95% }
table { border-collapse: collapse; margin: 1em 0 }
caption { text-align: left }
th, td { border: 1px solid #575b60; padding: 0.3em 0.8em; text-align: left }
blockquote { border-left: 0.3em solid #575b60; margin: 1em 0; padding: 0.2em 1em }
.placeholder { display: grid; place-items: center; width: 100%; max-width: 24em; height: 12em;
  background: #e4e6e9; border: 1px dashed #575b60; margin: 1em 0; text-align: center }
.cards { display: flex; flex-wrap: wrap; gap: 1em; margin: 1em 0 }
article { border: 1px solid #575b60; border-radius: 0.5em; padding: 0.8em; flex: 1 1 9em }
article p { margin: 0.3em 0 0 }
""" + "\n".join(
    f".{name} {{ background: {shade}; color: {'#111111' if name == 'yellow' else '#ffffff'} }}\n"
    f"h1.{name}, h2.{name} {{ background: {'#111111' if name == 'yellow' else 'transparent'}; "
    f"color: {shade} }}"
    for name, shade in COLOURS.items()
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"


class Part(NamedTuple):
    """A part of a page.

    ``words`` are its labels, all of them or none: the text of a heading, the links of a menu, the
    columns of a table, the fields of a form.
    """

    kind: str
    colour: str = ""
    many: int = 1  # links, items, rows, fields, cards, paragraphs
    across: int = 0  # columns of a table
    words: tuple[str, ...] = ()
    numbered: bool = False  # a list
    press: str = ""  # label of a form's button; its colour is the part's


def written(parts: Sequence[Part], language: str = "en", title: str = "") -> str:
    """Return the page as HTML. A menu before all other parts and a footer after them become
    landmarks beside ``main``; elsewhere they keep their position in the order."""
    words = WORDS["ja" if language == "ja" else "en"]
    made = []
    for number, part in enumerate(parts[:MOST_PARTS]):
        first = part.kind == "heading" and not any(p.kind == "heading" for p in parts[:number])
        made.append((part.kind, _element(part, words, number, "h1" if first else "h2")))
    before: list[str] = []
    after: list[str] = []
    while made and made[0][0] == "menu":
        before.append(made.pop(0)[1])
    while made and made[-1][0] == "footer":
        after.insert(0, made.pop()[1])
    inner = [html.replace("<footer", '<footer role="contentinfo"') if kind == "footer" else html for kind, html in made]
    heading = next((p.words[0] for p in parts if p.kind == "heading" and p.words), "")
    name = escape(title or heading or words["page"])
    inside = "\n".join([*before, "<main>", *inner, "</main>", *after])
    return (
        f'<!DOCTYPE html>\n<html lang="{"ja" if language == "ja" else "en"}">\n<head>\n'
        f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{inside}\n</body>\n"
        "</html>\n"
    )


def _element(part: Part, words: dict[str, str], number: int, level: str) -> str:
    colour = f' class="{part.colour}"' if part.colour in COLOURS else ""
    told = [escape(word[:LONGEST]) for word in part.words]
    count = min(max(1, len(told) or part.many), MOST)

    def labels(name: str, many: int = count) -> list[str]:
        return told or [f"{words[name]} {k}" for k in range(1, many + 1)]

    one = told[0] if told else ""
    match part.kind:
        case "heading":
            return f"<{level}{colour}>{one or words['heading']}</{level}>"
        case "text":
            return "\n".join([f"<p>{one or words['text']}</p>"] * (1 if told else count))
        case "menu":
            links = "".join(f'<li><a href="#">{name}</a></li>' for name in labels("link"))
            return f'<nav aria-label="{words["menu"]}"{colour}><ul>{links}</ul></nav>'
        case "list":
            tag = "ol" if part.numbered else "ul"
            items = "".join(f"<li>{name}</li>" for name in labels("list"))
            return f"<{tag}>{items}</{tag}>"
        case "table":
            return _table(part, words, labels("column", min(max(1, part.across), MOST)))
        case "form":
            return _form(part, words, labels("field"), number)
        case "button":
            return f'<button type="button"{colour}>{one or words["button"]}</button>'
        case "picture":
            name = one or words["picture"]
            return f'<div role="img" aria-label="{name}" class="placeholder">{name}</div>'
        case "cards":
            each = "".join(
                f"<article{colour}><strong>{name}</strong><p>{words['text']}</p></article>" for name in labels("card")
            )
            return f'<section aria-label="{words["cards"]}" class="cards">{each}</section>'
        case "quote":
            return f"<blockquote>{one or words['quote']}</blockquote>"
        case "search":
            return (
                f'<form role="search"><label for="p{number}">{words["search"]}</label>'
                f'<input type="search" id="p{number}"></form>'
            )
        case _:
            return f"<footer{colour}>{one or words['footer']}</footer>"


def _table(part: Part, words: dict[str, str], columns: list[str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    row = "".join(f"<td>{words['cell']}</td>" for _name in columns)
    rows = f"<tr>{row}</tr>" * min(max(1, part.many), MOST)
    return f"<table><caption>{words['table']}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _form(part: Part, words: dict[str, str], names: list[str], number: int) -> str:
    fields = []
    for k, name in enumerate(names):
        type_ = next((known for word, known in TYPES.items() if word in name.lower()), "text")
        place = f"p{number}-{k}"
        fields.append(f'<label for="{place}">{name}</label>')
        about = f'id="{place}" autocomplete="off"'
        fields.append(f"<textarea {about}></textarea>" if type_ == "long" else f'<input type="{type_}" {about}>')
    colour = f' class="{part.colour}"' if part.colour in COLOURS else ""
    press = escape(part.press[:LONGEST]) or words["send"]
    button = f'<button type="button"{colour}>{press}</button>'
    return f'<form aria-label="{words["form"]}">{"".join(fields)}{button}</form>'


def read(page: str) -> tuple[Part, ...]:
    """Read the parts of a page, by the roles of its elements; other elements are ignored. Raises
    UserError for pages that ``codecs.hypertext.read`` rejects."""
    found: list[Part] = []
    for node in hypertext.parts(hypertext.read(page)):
        part = _part(node)
        if part is None:
            continue
        if part.kind == "text" and found and found[-1].kind == "text" and not part.words:
            before = found[-1]
            if not before.words:
                found[-1] = before._replace(many=before.many + part.many)
                continue
        found.append(part)
    return tuple(found)


def _part(node: Node) -> Part | None:
    colour = next((name for name in node.classes if name in COLOURS), "")
    match node.role:
        case "heading" | "button" | "contentinfo" | "img" | "blockquote" | "paragraph":
            kind = {"contentinfo": "footer", "img": "picture", "blockquote": "quote", "paragraph": "text"}.get(
                node.role, node.role
            )
            told = node.name or " ".join(node.text.split())
            words = () if told in _usual(kind) else (told,)
            return Part(kind, colour, 1, 0, words)
        case "navigation":
            return _many("menu", colour, [link.name for link in node.told("link")], "link")
        case "list":
            items = [" ".join(item.text.split()) for item in node.told("listitem")]
            return _many("list", "", items, "list")._replace(numbered=node.tag == "ol")
        case "table":
            columns = [head.name for head in node.told("columnheader")]
            rows = sum(bool(row.told("cell")) for row in node.told("row"))
            made = _many("table", "", columns, "column")
            return made._replace(many=rows, across=len(columns))
        case "form":
            fields = [n.name for n in node.every() if n.role in ("textbox", "spinbutton")]
            buttons = node.told("button")
            shade = [name for each in buttons for name in each.classes if name in COLOURS]
            press = buttons[-1].name if buttons else ""
            made = _many("form", shade[-1] if shade else "", fields, "field")
            return made._replace(press="" if press in _usual("send") else press)
        case "region":
            cards = node.told("article")
            shade = [name for each in cards[:1] for name in each.classes if name in COLOURS]
            names = [" ".join(card.told("strong")[0].text.split()) if card.told("strong") else "" for card in cards]
            return _many("cards", shade[0] if shade else "", names, "card") if cards else None
        case "search":
            return Part("search")
    return None


def _many(kind: str, colour: str, names: Sequence[str], usual: str) -> Part:
    plain = [tuple(f"{word} {k + 1}" for k in range(len(names))) for word in _usual(usual)]
    words = () if tuple(names) in plain else tuple(names)
    return Part(kind, colour, len(names), 0, words)


def _usual(name: str) -> list[str]:
    """Return the default labels in all languages."""
    return [words[name] for words in WORDS.values()]


def outline(parts: Sequence[Part]) -> list[str]:
    """Return a readable line for each part: ``menu: 3 (Home, Shop, Contact), blue``."""
    lines = []
    for part in parts:
        size = f"{part.many} x {part.across}" if part.kind == "table" else str(part.many)
        many = part.kind in ("text", "menu", "list", "table", "form", "cards")
        told = f": {size}" if many else ""
        told += f" ({', '.join(part.words)})" if part.words else ""
        marks = [part.colour, "numbered" if part.numbered else "", part.press and f"[{part.press}]"]
        lines.append(part.kind + told + "".join(f", {mark}" for mark in marks if mark))
    return lines
