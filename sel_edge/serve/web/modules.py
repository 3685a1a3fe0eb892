"""One script from the page's modules: on a busy device every file more costs its visitor time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def joined(modules: Mapping[str, str], entry: str) -> str:
    """What `entry` and all that it imports do, as one module without imports.

    Every module becomes a function that is called once, and gives what it exports.

    Args:
        modules: name without ".js" -> text. Its imports are `import { a, b } from "./name.js";`,
            its exports functions, classes and constants where they are declared.
        entry: name of the one that nobody imports.

    Raises:
        ValueError: a module is missing, imports itself in a circle or what another one does not
            export, or has another form.
    """
    return "".join(_function(name, modules) for name in _in_order(modules, entry, ()))


def _in_order(modules: Mapping[str, str], name: str, importers: tuple[str, ...]) -> Iterator[str]:
    """A module after all that it imports, each once."""
    if name in importers or name not in modules:
        raise ValueError(f"{' imports '.join((*importers, name))}: a circle, or not there")
    found = dict[str, None]()
    for _, imported in _IMPORT.findall(modules[name]):
        found |= dict.fromkeys(_in_order(modules, imported, (*importers, name)))
    yield from (*found, name)


def _function(name: str, modules: Mapping[str, str]) -> str:
    text = modules[name]
    for names, imported in _IMPORT.findall(text):
        wanted = {one.split(" as ")[0].strip() for one in names.split(",")}
        if missing := wanted - {*_EXPORT.findall(modules[imported])}:
            raise ValueError(f"{name}.js: {imported}.js does not export {', '.join(missing)}")
    exported = ", ".join(_EXPORT.findall(text))
    body = _EXPORT.sub("", _IMPORT.sub(_taken, text))
    if other := _OTHER.search(body):
        raise ValueError(f"{name}.js: {other[0]}")
    return f"const ${name} = (() => {{\n{body}return {{ {exported} }};\n}})();\n"


def _taken(found: re.Match[str]) -> str:
    names, module = found.groups()
    return f"const {{{names.replace(' as ', ': ')}}} = ${module};\n"
