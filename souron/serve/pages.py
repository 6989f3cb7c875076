"""The two pages of a server. They load nothing from elsewhere."""

import json
from typing import Any

from souron.registry import task_name
from souron.report import page
from souron.report.page import Fact
from souron.serve.service import Service
from souron.serve.uploads import MB
from souron.utils import units
from souron.utils.messages import _


def start(service: Service, url: str, token: str = "") -> str:
    """What is served here, a form to try it, and how a program asks."""
    limits = service.limits
    size = _("{count} MB").format(count=f"{limits.file / MB:g}")
    facts = [
        Fact(_("task"), task_name(service.task)),
        Fact(_("largest file"), size),
        Fact(_("files in a request"), units.whole(limits.files)),
        Fact(_("answered so far"), units.whole(service.served)),
    ]
    curl = 'curl -H "Authorization: Bearer $TOKEN"' if token else "curl"
    header = ', headers={"Authorization": f"Bearer {token}"}' if token else ""
    top = "?top=3" if "top" in service.answering.options else ""
    ways = [
        f"{curl} -F file=@cat.jpg -F file=@dog.jpg '{url}predict{top}'",
        f'import httpx\n\nfiles = [("file", open("cat.jpg", "rb"))]\n'
        f'print(httpx.post("{url}predict", files=files{header}).json())',
    ]
    accept = ",".join(service.kind.formats)
    return page.page("serving.html", title=service.name, facts=facts, examples=ways, accept=accept)


def docs(schema: dict[str, Any]) -> str:
    """An OpenAPI schema to read."""
    operations = [
        operation(method, path, about)
        for path, methods in schema["paths"].items()
        for method, about in methods.items()
    ]
    title, lead = _("The interface"), schema["info"]["description"]
    return page.page("serving_docs.html", title=title, lead=lead, operations=operations)


def operation(method: str, path: str, about: dict[str, Any]) -> dict[str, Any]:
    sent = about.get("requestBody", {}).get("content", {})
    return {
        "name": f"{method.upper()} {path}",
        "about": [about["summary"], about.get("description", "")],
        "address": [
            (f"{path}?{each['name']}={each['schema'].get('default', '')}", each["description"])
            for each in about.get("parameters", [])
        ],
        "sent": [(kind, shown(content["example"])) for kind, content in sent.items()],
        "answers": [
            (status, answer["description"]) for status, answer in about["responses"].items()
        ],
        "examples": examples(about["responses"]),
    }


def examples(responses: dict[str, Any]) -> list[tuple[str, str]]:
    """The body that goes with a status; with several, where it is the same."""
    found: dict[str, list[str]] = {}
    for status, answer in responses.items():
        for content in answer.get("content", {}).values():
            if "example" in content:
                found.setdefault(shown(content["example"]), []).append(status)
    return [(", ".join(statuses), body) for body, statuses in found.items()]


def shown(thing: Any) -> str:
    return thing if isinstance(thing, str) else json.dumps(thing, ensure_ascii=False, indent=1)
