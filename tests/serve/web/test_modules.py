"""Modules that are joined do what they do one by one, and another form of them is refused."""

from __future__ import annotations

import pytest

from sel_edge.serve.web.modules import joined

MODULES = {
    "a": 'import { one } from "./b.js";\nimport { two as zwei } from "./c.js";\nsay(one + zwei);\n',
    "b": 'import { two } from "./c.js";\nexport const one = two - 1;\nconst hidden = 7;\n',
    "c": "const hidden = 2;\nexport const two = hidden;\nexport async function wait() {}\n",
}


def test_what_is_imported_comes_first_and_once():
    assert joined(MODULES, "a") == (
        "const $c = (() => {\nconst hidden = 2;\nconst two = hidden;\nasync function wait() {}\n"
        "return { two, wait };\n})();\n"
        "const $b = (() => {\nconst { two } = $c;\nconst one = two - 1;\nconst hidden = 7;\n"
        "return { one };\n})();\n"
        "const $a = (() => {\nconst { one } = $b;\nconst { two: zwei } = $c;\nsay(one + zwei);\n"
        "return {  };\n})();\n"
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"c": 'import { one } from "./b.js";\n'}, "a imports b imports c imports b"),
        ({"c": 'import { one } from "./d.js";\n'}, "imports d"),
        ({"c": "export const two = 2;\nexport default 3;\n"}, "export default 3"),
        ({"c": "export const two = 2;\nexport let three = 3;\n"}, "export let three"),
        ({"c": "const two = 2;\n"}, "c.js does not export two"),
        ({"a": 'import three from "./three.js";\n'}, "import three"),
        ({"a": 'import * as three from "three";\n'}, "import \\* as three"),
    ],
)
def test_other_forms_are_refused(changed: dict[str, str], says: str):
    with pytest.raises(ValueError, match=says):
        joined(MODULES | changed, "a")
