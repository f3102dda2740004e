"""Render the OpenAPI document as one HTML page without scripts, fonts or other resources."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

# OpenAPI 3.1 defines the members, so there is no type for them here.
_Node = Mapping[str, Any]

_STYLE = r"""
:root{color-scheme:light dark;--page:#fff;--text:#1c2430;--soft:#5a6675;--line:#d9dfe7;--panel:#f5f7fa;--link:#0b5cad;
--get:#1a6b3c;--post:#0b5cad;--put:#8a5a00;--delete:#a4262c}
@media(prefers-color-scheme:dark){:root{--page:#12161c;--text:#e4e8ee;--soft:#9aa6b5;--line:#2c3440;--panel:#1a2029;
--link:#79b8ff;--get:#6fce93;--post:#79b8ff;--put:#e3b261;--delete:#ff8f8f}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:60rem;background:var(--page);color:var(--text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{margin:0;font-size:1.7rem;line-height:1.2}h2{margin:2.5rem 0 .75rem;font-size:1.25rem}
h3{margin:0;font-size:1rem;font-weight:600}h4{margin:1.1rem 0 .4rem;font-size:.85rem;color:var(--soft)}
p{margin:.4rem 0}a{color:var(--link)}
a:focus-visible,summary:focus-visible{outline:2px solid var(--link);outline-offset:2px}
code,pre{font:.875em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.soft{color:var(--soft)}
nav ul{margin:.5rem 0;padding:0;list-style:none}nav li{padding:.15rem 0}
details{margin:.6rem 0;border:1px solid var(--line);border-radius:8px;background:var(--panel)}
summary{display:flex;flex-wrap:wrap;gap:.2rem .75rem;align-items:baseline;padding:.7rem .9rem;cursor:pointer}
summary p{flex-basis:100%;margin:0;order:2}
summary::after{content:"+";order:1;margin-left:auto;color:var(--soft);font-weight:700}
details[open]>summary::after{content:"\2212"}
.body{padding:0 .9rem .9rem;border-top:1px solid var(--line)}
.method{min-width:4.2rem;font-weight:700;font-size:.8rem;letter-spacing:.03em}
.get{color:var(--get)}.post{color:var(--post)}.put{color:var(--put)}.delete{color:var(--delete)}
dl{margin:0;display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.35rem 1rem}
dt{font-weight:600}dd{margin:0}dd p{margin:0}
@media(max-width:34rem){dl{grid-template-columns:1fr;gap:0}dd{padding:0 0 .5rem .9rem}}
"""
#: The only style that the Content-Security-Policy of the page allows.
STYLE_HASH = f"sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode('ascii')}"

_WORDS = {
    "binary": "bytes, DER",
    "boolean": "true or false",
    "date-time": "time, RFC 3339",
    "string": "text",
    "uri-reference": "path",
}
_KEYS = {
    "tenantKey": "a backend key or an agent key",
    "backendKey": "a backend key",
    "adminKey": "an admin key",
}
_PLACES = {"path": "Path parameters", "query": "Query parameters, optional"}


def make_page(document: _Node) -> str:
    """Render the page. All text of the document is escaped."""
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{escape(document['info']['title'])}: HTTP API</title>",
            f"<style>{_STYLE}</style>\n</head>\n<body>",
            *_header(document),
            *_operations(document),
            *_schemas(document),
            "</body>\n</html>\n",
        )
    )


def _header(document: _Node) -> Iterator[str]:
    info = document["info"]
    yield f"<header><h1>{escape(info['title'])}</h1>"
    yield f'<p class="soft">Version {escape(info["version"])}. {_prose(info["summary"])}</p>'
    yield f"<p>{_prose(info['description'])}</p>"
    yield '<p>As OpenAPI 3.1: <a href="/openapi.json">openapi.json</a>.</p></header>'


def _operations(document: _Node) -> Iterator[str]:
    yield "<main>"
    for tag in document["tags"]:
        yield f"<section><h2>{escape(tag['name'])}</h2>"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(method, path, operation)
        yield "</section>"


def _operation(method: str, path: str, operation: _Node) -> Iterator[str]:
    yield f'<details id="{escape(operation["operationId"])}"><summary>'
    yield f'<span class="method {method}">{method.upper()}</span>'
    yield f"<h3><code>{escape(path)}</code></h3><p>{_prose(operation['summary'])}</p></summary>"
    yield '<div class="body">'
    if "description" in operation:
        yield f"<p>{_prose(operation['description'])}</p>"
    keys = [name for choice in operation["security"] for name in choice]
    if keys:
        needed = " or ".join(_KEYS[key] for key in keys)
        condition = "" if all(operation["security"]) else ", if the service has tenants"
        yield f"<p>Needs {escape(needed)}{condition}: <code>Authorization: Bearer KEY</code>.</p>"
    for place, title in _PLACES.items():
        parameters = [one for one in operation.get("parameters", ()) if one["in"] == place]
        if parameters:
            yield f"<h4>{title}</h4><dl>"
            for parameter in parameters:
                yield f"<dt><code>{escape(parameter['name'])}</code></dt><dd>{_prose(parameter['description'])}</dd>"
            yield "</dl>"
    if "requestBody" in operation:
        body = operation["requestBody"]
        yield f"<h4>Request body{'' if body['required'] else ', optional'}</h4><dl>"
        for name, each in body["content"].items():
            yield f"<dt><code>{escape(name)}</code></dt><dd>{_type(each['schema'])}</dd>"
        yield "</dl>"
    yield "<h4>Responses</h4><dl>"
    for status, answer in operation["responses"].items():
        yield f"<dt>{escape(status)}</dt><dd><p>{_answer(answer)}</p></dd>"
    yield "</dl></div></details>"


def _answer(answer: _Node) -> str:
    content = answer.get("content", {})
    if "application/problem+json" in content:
        codes = content["application/problem+json"]["schema"]["properties"]["code"]["enum"]
        return "<br>".join(f'<a href="/problems/{escape(code)}"><code>{escape(code)}</code></a>' for code in codes)
    described = _prose(answer["description"])
    shapes = ", ".join(f"{_type(each['schema'])} as <code>{escape(name)}</code>" for name, each in content.items())
    return f"{described} {shapes}" if shapes else described


def _schemas(document: _Node) -> Iterator[str]:
    yield "<section><h2>Types</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<details id="type-{escape(name)}"><summary><h3><code>{escape(name)}</code></h3>'
        yield f"<p>{_prose(schema.get('description', ''))}</p></summary>"
        yield '<div class="body">'
        if "enum" in schema:
            yield f"<p>{_type({**schema, 'title': ''})}</p>"
        else:
            yield "<h4>Fields</h4><dl>"
            for member, described in schema.get("properties", {}).items():
                optional = "" if member in schema.get("required", ()) else ", optional"
                text = _prose(described.get("description", ""))
                yield f"<dt><code>{escape(member)}</code></dt><dd>{_type(described)}{optional}. {text}</dd>"
            yield "</dl>"
        yield "</div></details>"
    yield "</section></main>"


def _type(schema: _Node) -> str:
    """Describe one schema in a few words."""
    match schema:
        case {"$ref": str(reference)}:
            name = escape(reference.rsplit("/", 1)[-1])
            words = f'<a href="#type-{name}">{name}</a>'
        case {"anyOf": list(choices)}:
            words = " or ".join(_type(choice) for choice in choices)
        case {"enum": list(values)}:
            words = " | ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
        case {"const": value}:
            words = f"<code>{escape(json.dumps(value))}</code>"
        case {"type": "array", "items": dict(items)}:
            words = f"list of {_type(items)}"
        case {"format": str(name)} | {"type": str(name)}:
            words = _WORDS.get(name, escape(name))
        case _:
            words = "anything"
    return words


def _prose(text: str) -> str:
    """Escape the text, and render parts in backquotes as code."""
    parts = escape(" ".join(text.split())).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
