"""The page and its numbers: found, told in plain words, self-contained, and never broken out of."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.ledger import Evaluation, LedgerWriter, Session
from sel_edge.core.runlog import RUN_FILE
from sel_edge.report.compare import TABLES_FILE, write_compare
from sel_edge.report.numbers import collect, gather
from sel_edge.report.page import PAGE_FILE, write_report
from sel_edge.report.story import UNSEEN, Story, tell
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.guard import MINIMUM_GAIN

Make = Callable[..., Path]
LINKS = {"src", "href", "action", "data", "srcset", "poster"}


class Reader(HTMLParser):
    """The page's tags, attributes, and text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.title = self.text = ""
        self._open: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["h1"] and not self.title:
            self.title = data
        self.text += data


@pytest.fixture
def everything(make_run: Make, make_ledger: Make, tmp_path: Path) -> Path:
    """A directory with two runs, their comparison and a ledger."""
    make_ledger()
    write_compare(make_run("dense", False), make_run("sel", True), tmp_path / "compare")
    return tmp_path


def test_the_first_words_say_what_happened(everything: Path) -> None:
    page = Reader(write_report(everything))
    shown = page.title.replace("\u00a0", " ")
    assert shown == "1 of 2 updates kept, accuracy on “shifted” 61 % → 78 %"
    text = " ".join(page.text.split())
    assert "In 400 frames the network was twice embarrassed enough to learn." in text
    assert "500 mJ estimated" in text
    assert "1 update was dropped by the check on held-out frames and old examples" in text


def story_of(directory: Path, *evaluations: Evaluation) -> Story:
    with LedgerWriter(directory / "ledger.sqlite") as ledger:
        for evaluation in evaluations:
            ledger.record_evaluation(evaluation)
    return tell(gather(directory))


def test_the_largest_loss_stands_beside_the_gain(make_ledger: Make) -> None:
    rows = [
        ("before", "old", 97),
        ("after", "old", 90),
        ("before", "more", 50),
        ("after", "more", 49),
    ]
    told = story_of(make_ledger(), *(Evaluation(a, b, 100, right) for a, b, right in rows))
    assert "\u201cshifted\u201d" in told.title
    first = told.sentences[0].replace("\u00a0", " ")
    assert first == "Largest loss: “old” 97.0 % → 90.0 %, −7.0 points on 100 frames."


def test_without_a_loss_it_says_so(make_ledger: Make) -> None:
    assert story_of(make_ledger()).sentences[0] == "No evaluated set of frames lost accuracy."


def test_zero_on_unseen_classes_is_told_as_no_wonder(make_ledger: Make) -> None:
    rows = [Evaluation("before", UNSEEN, 100, 0), Evaluation("after", UNSEEN, 100, 80)]
    told = story_of(make_ledger(), *rows)
    assert "by construction: the head had no row for them" in " ".join(told.sentences)
    assert any("0 before by construction" in card.remark for card in told.cards)
    assert "by construction" not in " ".join(story_of(make_ledger("other")).sentences)


def test_the_story_is_fit_for_a_terminal(
    make_run: Make, make_ledger: Make, hostile: tuple[str, ...]
) -> None:
    session = Session(0, "now\x1b", "s", "0", f"note {hostile[-1]}", "m", "measured", {})
    directory = make_ledger(classes=hostile, segments=hostile, session=session)
    rows = [Evaluation("before", hostile[-1], 9, 9), Evaluation("after", hostile[-1], 9, 1)]
    for told in (
        story_of(directory, *rows),
        tell(gather(make_run("d", False, recipe={"name": hostile[-1]}))),
    ):
        assert "".join((told.title, *told.sentences)).replace("\u00a0", " ").isprintable()


def test_sessions_their_note_and_their_meter_are_shown(make_ledger: Make) -> None:
    note = "JPEG, quality 75, 4:2:0"
    versions = {"numpy": "2.0"}
    session = Session(
        0, "2025-01-02T03:04:05Z", "digits:test?n=9", "a" * 64, note, "rapl:x", "measured", versions
    )
    directory = make_ledger(session=session)
    text = " ".join(Reader(write_report(directory)).text.split())
    assert text.index(note) < text.index("What happened on the stream")
    assert "2025-01-02 03:04:05" in text
    assert "digits:test?n=9" in text
    assert "Joules measured by rapl:x: the whole processor package, idle power" in text
    (stream,) = json.loads(json.dumps(collect(directory), allow_nan=False))["streams"]
    assert stream["sessions"][0]["versions"] == versions
    assert {segment["session"] for segment in stream["segments"]} == {1}


def test_the_page_states_the_tolerance_that_the_guard_has(make_ledger: Make) -> None:
    config = RuntimeConfig()
    text = Reader(write_report(make_ledger())).text
    assert f"falls by at least {MINIMUM_GAIN:g} nats" in text
    assert f"rise by {config.tolerance.embarrassment:g} nats" in text
    assert f"fall by {100 * config.tolerance.accuracy:g} points" in text


def test_the_page_needs_nothing_but_itself(everything: Path) -> None:
    page = Reader(write_report(everything))
    assert not page.tags & {"script", "iframe", "object", "embed", "form"}
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in LINKS:
            assert value.startswith("data:")
    assert sum(value.startswith("data:image/svg") for _, value in page.attributes) == 12


def test_numbers_and_page_come_from_the_same_findings(everything: Path) -> None:
    numbers = json.loads(json.dumps(collect(everything), allow_nan=False))
    assert [stream["place"] for stream in numbers["streams"]] == ["edge"]
    assert [run["place"] for run in numbers["runs"]] == ["dense", "sel"]
    assert numbers["comparisons"][0]["savings"]["paper_flops"] == pytest.approx(0.99)
    stream = numbers["streams"][0]
    assert stream["updates"][0]["energy"] == {"joules": 0.25, "origin": "estimated"}
    text = Reader(write_report(everything)).text
    for segment in stream["segments"]:
        assert segment["name"] in text
    for decision in stream["decisions"]:
        assert decision["reason"] in text


def test_hostile_names_stay_text(
    make_run: Make, make_ledger: Make, tmp_path: Path, hostile: tuple[str, ...]
) -> None:
    directory = make_ledger(classes=hostile, segments=hostile)
    with LedgerWriter(directory / "ledger.sqlite") as ledger:
        ledger.record_evaluation(Evaluation("before", hostile[0], 10, 1))
        ledger.record_evaluation(Evaluation("after", hostile[0], 10, 9))
    runs = (make_run("dense", False, hostile), make_run("sel", True, hostile))
    write_compare(*runs, tmp_path / "compare")
    page = Reader(write_report(tmp_path))
    assert "<script>alert(1)</script>" in page.title
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "{{ 7*7 }}" in page.text
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text


def test_a_stream_without_updates_or_truth_has_a_page(tmp_path: Path) -> None:
    LedgerWriter(tmp_path / "ledger.sqlite").close()
    page = Reader(write_report(tmp_path))
    assert page.title == "No update was made"
    assert "The ledger holds no frames yet." in page.text


def test_runs_alone_and_comparisons_alone_have_a_page(make_run: Make, tmp_path: Path) -> None:
    dense, sel = make_run("dense", False), make_run("sel", True)
    assert Reader(write_report(dense)).title.endswith("on the test set")
    write_compare(dense, sel, tmp_path / "compare")
    assert Reader(write_report(tmp_path / "compare")).title.startswith("SEL reached")


def test_the_page_goes_where_it_is_told(make_ledger: Make, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "page.html"
    assert write_report(make_ledger(), out) == out
    assert out.is_file()
    assert not (tmp_path / "edge" / PAGE_FILE).exists()


def test_half_written_directories_are_passed_over(make_run: Make, tmp_path: Path) -> None:
    make_run("dense", False).rename(tmp_path / ".dense.tmp")
    make_run("sel", True)
    assert [run["place"] for run in collect(tmp_path)["runs"]] == ["sel"]


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="nothing to report"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "dense": {"nonsense": 1}}']
)
def test_a_damaged_comparison_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / TABLES_FILE).write_text(content)
    with pytest.raises(RunDirectoryError, match=r"tables\.json"):
        collect(tmp_path)


@pytest.mark.parametrize("file", ["../secret.svg", "/etc/passwd", "run.json", 7])
def test_a_comparison_embeds_only_its_own_plots(everything: Path, file: object) -> None:
    path = everything / "compare" / TABLES_FILE
    numbers = json.loads(path.read_text())
    numbers["plots"][0]["file"] = file
    path.write_text(json.dumps(numbers))
    with pytest.raises(RunDirectoryError, match=r"tables\.json"):
        write_report(everything)


def test_a_damaged_run_log_is_named(make_run: Make) -> None:
    path = make_run("dense", False)
    (path / RUN_FILE).write_text("{")
    with pytest.raises(RunDirectoryError):
        write_report(path)


def test_the_page_needs_no_matplotlib(everything: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("sel_edge.report.plots")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert write_report(everything).is_file()
