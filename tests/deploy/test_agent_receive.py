"""The agent takes what its keys have signed, and only what is missing of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.bundle.sshsig import sshsig
from sel_edge.core.files import canonical_json
from sel_edge.deploy.agent import receive, trust
from sel_edge.deploy.agent.place import Place
from sel_edge.deploy.agent.wire import LONGEST_PIECE, Refusal
from tests.deploy.agents import FILES, begin, described, installed, put, send, trusting

WEIGHTS = "bundle/weights.safetensors"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return open_key(tmp_path_factory.mktemp("keys") / "key.pem")


@pytest.fixture
def place(tmp_path: Path, key: PrivateKey) -> Place:
    return trusting(tmp_path, key)


def refused(kind: str, words: str = ".") -> pytest.RaisesExc[Refusal]:
    return pytest.RaisesExc(Refusal, match=words, check=lambda refusal: refusal.kind == kind)


def test_a_release_arrives_whole(place: Place, key: PrivateKey) -> None:
    name = send(place, key)
    for path, content in FILES.items():
        assert (place.incoming / name / path).read_bytes() == content
    assert begin(place, key, canonical_json(described()))["missing"] == {}


@settings(max_examples=10)
@given(cuts=st.sets(st.integers(0, len(FILES[WEIGHTS])), max_size=3))
def test_a_file_goes_on_at_the_byte_where_it_broke_off(cuts: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        signer = open_key(Path(folder, "key.pem"))
        where, content = trusting(Path(folder), signer), canonical_json(described())
        for end in (*sorted(cuts), len(FILES[WEIGHTS])):
            answer = begin(where, signer, content)
            offset = answer["missing"].get(WEIGHTS, len(FILES[WEIGHTS]))
            put(where, answer["hash"], WEIGHTS, offset, FILES[WEIGHTS][offset:end])
            if end < len(FILES[WEIGHTS]):
                assert begin(where, signer, content)["missing"][WEIGHTS] == end
        arrived = where.incoming / answer["hash"] / WEIGHTS
        assert arrived.read_bytes() == FILES[WEIGHTS]


def test_nothing_is_taken_from_strangers(place: Place, key: PrivateKey, tmp_path: Path) -> None:
    content = canonical_json(described())
    stranger = open_key(tmp_path / "stranger.pem")
    with refused("signature", "not signed by a key"):
        begin(place, stranger, content)
    other = sshsig(key, trust.RELEASE, content + b" ").decode()
    purpose = sshsig(key, "file", content).decode()
    for signature in (other, purpose, "", "junk", "\0", "é", "x" * 10_000):
        request = {"op": "begin", "release": content.decode(), "signature": signature}
        with refused("signature"):
            receive.begin(place, request)
    assert list(place.incoming.iterdir()) == []


def test_keys_are_given_once_and_then_by_those_who_have_one(
    tmp_path: Path, key: PrivateKey
) -> None:
    place = Place(tmp_path / "root")
    place.make()
    with refused("signature", "not given any key yet"):
        begin(place, key, canonical_json(described()))
    trust.add_keys(place, [key.public.raw.hex()], None, "nonce")
    assert trust.fingerprints(place) == [key.public.fingerprint]
    second = open_key(tmp_path / "second.pem")
    keys = [second.public.raw.hex()]

    def signed(by: PrivateKey, nonce: str, namespace: str = trust.TRUST) -> str:
        return sshsig(by, namespace, canonical_json({"keys": keys, "nonce": nonce})).decode()

    wrong = [None, signed(second, "nonce"), signed(key, "older"), signed(key, "nonce", "file")]
    for signature in wrong:
        with refused("signature"):
            trust.add_keys(place, keys, signature, "nonce")
    trust.add_keys(place, keys, signed(key, "nonce"), "nonce")
    assert second.public.fingerprint in trust.fingerprints(place)
    begin(place, second, canonical_json(described()))


@pytest.mark.parametrize("keys", [[], ["ab"], ["g" * 64], [7], ["a" * 64] * 101])
def test_what_is_no_key_is_not_trusted(tmp_path: Path, keys: list[str]) -> None:
    place = Place(tmp_path / "root")
    place.make()
    with refused("signature"):
        trust.add_keys(place, keys, None, "")
    assert trust.fingerprints(place) == []


def test_a_file_with_other_bytes_is_thrown_away(place: Place, key: PrivateKey) -> None:
    content = canonical_json(described())
    name = begin(place, key, content)["hash"]
    wrong = bytes(len(FILES[WEIGHTS]))
    with refused("release", "another hash"):
        put(place, name, WEIGHTS, 0, wrong)
    assert begin(place, key, content)["missing"][WEIGHTS] == 0


def test_pieces_that_are_not_next_are_refused(place: Place, key: PrivateKey) -> None:
    name = begin(place, key, canonical_json(described()))["hash"]
    put(place, name, WEIGHTS, 0, FILES[WEIGHTS][:100])
    too_long = FILES[WEIGHTS][100:] + b"x"
    for path, offset, piece in (
        (WEIGHTS, 99, b"x"),
        (WEIGHTS, 0, b"x"),
        (WEIGHTS, -1, b"x"),
        (WEIGHTS, 100, too_long),
        ("../../x", 0, b"x"),
        ("release.json", 0, b"x"),
        ("bundle/unknown", 0, b""),
    ):
        with refused("request"):
            put(place, name, path, offset, piece)
    with refused("request"):
        put(place, "../" + name[3:], WEIGHTS, 0, b"")
    for size in (-1, LONGEST_PIECE + 1, True, "1", None):
        with refused("request"):
            receive.piece_size({"op": "put", "bytes": size})


def test_known_files_are_not_sent_again(place: Place, key: PrivateKey) -> None:
    installed(place, key)
    newer = {**FILES, WEIGHTS: b"other"}
    assert begin(place, key, canonical_json(described(newer)))["missing"] == {WEIGHTS: 0}


def test_an_interrupted_release_lends_its_files_to_the_next(place: Place, key: PrivateKey) -> None:
    name = begin(place, key, canonical_json(described()))["hash"]
    put(place, name, WEIGHTS, 0, FILES[WEIGHTS])
    answer = begin(place, key, canonical_json(described(watch_s=9)))
    assert WEIGHTS not in answer["missing"]
    assert [path.name for path in place.incoming.iterdir()] == [answer["hash"]]


@pytest.mark.parametrize("is_ready", [True, False])
def test_a_release_that_was_damaged_is_mended(
    place: Place, key: PrivateKey, is_ready: bool
) -> None:
    name = installed(place, key)
    if not is_ready:
        (place.releases / name / "ready").unlink()
    (place.releases / name / WEIGHTS).write_bytes(b"rotten")
    assert begin(place, key, canonical_json(described()))["missing"] == {WEIGHTS: 6}
    (place.incoming / name / WEIGHTS).unlink()
    assert send(place, key) == name


def test_a_whole_release_is_told_to_be_there(place: Place, key: PrivateKey) -> None:
    name = installed(place, key)
    assert begin(place, key, canonical_json(described())) == {
        "hash": name,
        "ready": True,
        "missing": {},
    }


def test_a_release_that_does_not_fit_on_the_disk_is_not_begun(
    place: Place, key: PrivateKey
) -> None:
    files = described()["files"] | {"bundle/huge": {"bytes": 2**32 - 10**6, "sha256": "0" * 64}}
    free = receive.shutil.disk_usage(place.root).free
    content = canonical_json(described() | {"files": files})
    if free < 2**32:
        with refused("storage", "MB free"):
            begin(place, key, content)
    with pytest.MonkeyPatch.context() as patch:
        usage = receive.shutil.disk_usage(place.root)._replace(free=10**9)
        patch.setattr(receive.shutil, "disk_usage", lambda _: usage)
        with refused("storage", "MB free"):
            begin(place, key, content)


def test_a_damaged_key_file_vouches_for_nobody_and_lets_nobody_in(
    place: Place, key: PrivateKey, tmp_path: Path
) -> None:
    stranger = open_key(tmp_path / "stranger.pem")
    odd = {"ab.pub.pem": b"-----\n?\n-----", "cd.pub.pem": b"\xff\0", "ef.pub.pem": b""}
    for name, content in odd.items():
        (place.keys / name).write_bytes(content)
    (place.keys / "mine.pub.pem").write_bytes((tmp_path / "stranger.pub.pem").read_bytes())
    assert trust.fingerprints(place) == [key.public.fingerprint]
    begin(place, key, canonical_json(described()))
    with refused("signature"):
        begin(place, stranger, canonical_json(described()))
    (place.keys / f"{key.public.fingerprint}.pub.pem").write_bytes(b"")
    assert trust.fingerprints(place) == []
    with refused("signature"):
        trust.add_keys(place, [stranger.public.raw.hex()], None, "")


@pytest.mark.parametrize("is_ready", [True, False])
def test_the_release_that_runs_is_never_taken_away(
    place: Place, key: PrivateKey, is_ready: bool
) -> None:
    name = installed(place, key)
    place.link("current", name)
    (place.releases / name / ("agent.pyz" if is_ready else "ready")).unlink()
    with refused("release", "The release that runs is damaged"):
        begin(place, key, canonical_json(described()))
    assert place.linked("current") == name


def test_a_release_with_a_damaged_description_or_signature_is_mended(
    place: Place, key: PrivateKey
) -> None:
    name = installed(place, key)
    signature = place.releases / name / "release.json.sig"
    signature.write_bytes(b"")
    assert begin(place, key, canonical_json(described()))["ready"] is True
    trust.verify(place, trust.RELEASE, canonical_json(described()), signature.read_text())
    (place.releases / name / "release.json").write_bytes(canonical_json(described(watch_s=9)))
    assert begin(place, key, canonical_json(described())) == {
        "hash": name,
        "ready": False,
        "missing": {},
    }


def test_a_release_whose_files_are_gone_is_told_of(place: Place, key: PrivateKey) -> None:
    name = begin(place, key, canonical_json(described()))["hash"]
    begin(place, key, canonical_json(described(watch_s=9)))
    with refused("release", "not there any more"):
        put(place, name, WEIGHTS, 0, FILES[WEIGHTS])
