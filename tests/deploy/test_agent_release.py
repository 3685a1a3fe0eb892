"""The agent reads release.json strictly, and a release byte by byte."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.keys import open_key
from sel_edge.core.files import canonical_json
from sel_edge.deploy.agent.release import check_files, load_release, parse_release
from sel_edge.deploy.agent.wire import Refusal
from sel_edge.deploy.release import make_release
from sel_edge.deploy.unit import Service
from sel_edge.deploy.wheels import Wheelhouse
from tests.deploy.agents import FILES, described

SOUND = described()
MEMBER = {"bytes": 1, "sha256": "a" * 64}
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def laid_out(folder: Path) -> Path:
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_what_the_workstation_makes_is_what_the_agent_reads(tmp_path: Path) -> None:
    wheels = []
    for name in ("pip-26.0-py3-none-any.whl", "sel_edge-1.0-py3-none-any.whl"):
        wheels.append(tmp_path / name)
        wheels[-1].write_bytes(name.encode())
    bundle = open_bundle(Path("tests/frozen/bundle-v2"))
    made = make_release(
        bundle,
        open_key(tmp_path / "key.pem"),
        Service("http", port=9000, host="0.0.0.0"),  # noqa: S104 - nothing listens
        Wheelhouse(tuple(wheels), "1.0"),
        cores=4,
    )
    read = parse_release(made.content)
    assert (read.hash, read.port, read.token) == (made.hash, 9000, True)
    assert read.bundle == bundle.manifest.bundle_hash
    assert {name: member.bytes for name, member in read.files.items()} == dict(made.sizes)
    assert "bundle/signature" in read.files


@given(name=st.sampled_from(sorted(SOUND)), value=JUNK)
def test_a_field_of_another_kind_is_refused_or_read_as_it_is(name: str, value: Any) -> None:
    content = canonical_json({**SOUND, name: value})
    try:
        parse_release(content)
    except Refusal as refusal:
        assert refusal.kind == "release"
    else:
        assert type(value) is type(SOUND[name])


@given(st.binary(max_size=300))
def test_bytes_that_are_no_release_are_refused(content: bytes) -> None:
    with pytest.raises(Refusal):
        parse_release(content)


@given(where=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_another_release(where: int, value: int) -> None:
    content = bytearray(canonical_json(SOUND))
    if content[where % len(content)] == value:
        return
    content[where % len(content)] = value
    with contextlib.suppress(Refusal):
        assert parse_release(bytes(content)).hash != parse_release(canonical_json(SOUND)).hash


@pytest.mark.parametrize(
    "path",
    [
        *("../x", "/etc/passwd", "bundle/../x", "bundle/a/b", "bundle/.ssh", "bundle/", "venv/x"),
        *("wheels/..", "bundle/a b", "bundle/a\nb", "ready", "release.json", "bundle/-rf", ""),
        "bundle/" + "a" * 300,
    ],
)
def test_a_file_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(Refusal, match="it has a file"):
        parse_release(canonical_json({**SOUND, "files": {**SOUND["files"], path: MEMBER}}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": 2}, "schema"),
        ({"port": 0}, "port"),
        ({"watch_s": 10**9}, "watch_s"),
        ({"bundle": "../" * 20}, "hash"),
        ({"requirements": ["--index-url=http://evil"]}, "requirement"),
        ({"requirements": ["x @ file:///etc"]}, "requirement"),
        ({"files": {**SOUND["files"], "bundle/x": {**MEMBER, "bytes": 2**60}}}, "size"),
        ({"files": {**SOUND["files"], "bundle/x": {**MEMBER, "bytes": -1}}}, "size"),
        ({"files": {**SOUND["files"], "bundle/x": {**MEMBER, "mode": 1}}}, "bytes and sha256"),
        ({"files": {k: v for k, v in SOUND["files"].items() if "pip" not in k}}, "pip"),
        (
            {
                "files": {
                    k.replace("none-any.whl", "none-any.txt") if "pip" in k else k: v
                    for k, v in SOUND["files"].items()
                }
            },
            "pip",
        ),
        ({"files": {k: v for k, v in SOUND["files"].items() if k != "agent.pyz"}}, "agent.pyz"),
    ],
)
def test_what_breaks_a_rule_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        parse_release(canonical_json({**SOUND, **changes}))


def test_deep_and_huge_json_is_refused() -> None:
    for content in (b"[" * 500_000, b"9" * 500_000, b"{}" + b" " * 2**21):
        with pytest.raises(Refusal):
            parse_release(content)
    spaced = json.dumps(SOUND).encode()
    with pytest.raises(Refusal, match="canonical"):
        parse_release(spaced)


@pytest.mark.parametrize("damage", ["changed", "longer", "missing", "link", "more"])
def test_a_damaged_release_is_found(tmp_path: Path, damage: str) -> None:
    folder, release = laid_out(tmp_path), parse_release(canonical_json(SOUND))
    check_files(release, folder)
    path = folder / "bundle" / "weights.safetensors"
    if damage == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif damage == "longer":
        path.write_bytes(path.read_bytes() + b"x")
    elif damage == "more":
        (folder / "wheels" / "evil-1.0-py3-none-any.whl").write_bytes(b"")
    else:
        content = path.read_bytes()
        path.unlink()
        if damage == "link":
            (tmp_path / "elsewhere").write_bytes(content)
            path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refusal):
        check_files(release, folder)


def test_a_release_under_another_name_is_none(tmp_path: Path) -> None:
    content = canonical_json(SOUND)
    right = tmp_path / parse_release(content).hash
    for folder in (right, tmp_path / ("a" * 64)):
        folder.mkdir()
        (folder / "release.json").write_bytes(content)
    assert load_release(right).port == SOUND["port"]
    with pytest.raises(Refusal, match="another one's"):
        load_release(tmp_path / ("a" * 64))
