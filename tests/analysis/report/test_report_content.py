"""What a report says: figures, verdict, and that it says the same in HTML, PDF and JSON."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from skimage.io import imsave
from synthetic import file, image

from iomt_crypt import cipher, errors
from iomt_crypt.analysis.metric import Measurement
from iomt_crypt.analysis.report import Check, Entry, Row, Section, Settings, make_report, write_index, write_report
from iomt_crypt.analysis.report.content import number_text, range_text
from iomt_crypt.analysis.report.document import render_document
from iomt_crypt.analysis.report.experiment import STAGES, find_verdict
from iomt_crypt.analysis.report.page import render_index, render_report
from iomt_crypt.analysis.report.statistic import smallest_allowed
from iomt_crypt.errors import StorageError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
FEW = Settings(n_trials=5)


def real_file(name: str) -> Path:
    return Path(get_testdata_file(name, download=False))


def figure(value, *, lower=-1.0, upper=1.0, alpha=0.05):
    return Measurement("f", value, 0.0, lower, upper, alpha)


@pytest.fixture(scope="module")
def report():
    return make_report(real_file("MR_small.dcm"), FEW)


@pytest.fixture(scope="module")
def page(report):
    return render_report(report)


def section(report, key) -> Section:
    return next(section for section in report.sections if section.key == key)


class TestFigures:
    def test_all_sections_are_there(self, report):
        keys = [section.key for section in report.sections]
        assert keys == [
            "images",
            "histograms",
            "scatter",
            "statistics",
            "distance",
            "plain-sensitivity",
            "key-sensitivity",
            "robustness",
            "stored",
            "randomness",
            "keys",
            "speed",
            "limits",
        ]
        assert len(keys) == len(STAGES)

    def test_every_figure_has_value_ideal_and_range(self, report):
        rows = [row for section in report.sections for row in section.rows]
        assert len(rows) > 25
        for row in rows:
            m = row.measurement
            assert m.ideal is not None
            assert m.lower is not None or m.upper is not None
            assert isinstance(m.passed, bool)

    def test_input_and_cipher_image_are_told_apart(self, report):
        by_name = {row.measurement.name: row for row in section(report, "statistics").rows}
        for name in ("Shannon entropy, global", "Histogram, chi-square", "Correlation of neighbours, horizontal"):
            m = by_name[name].measurement
            assert m.passed
            assert not (m.lower or -math.inf) <= by_name[name].plain <= (m.upper or math.inf)

    def test_everything_holds(self, report):
        assert report.verdict.passed
        assert report.verdict.n_failed == 0
        names = [check.name for section in report.sections for check in section.checks]
        assert "Decrypted image equals the input" in names
        assert "The whole DICOM object comes back byte for byte" in names
        assert sum(name.startswith("The suite rejects") for name in names) == 4

    def test_damage_leaves_noise_and_is_rejected(self, report):
        for row in section(report, "robustness").data:
            assert row["suite_rejects"] is True
            assert row["psnr_db"] < 10
            assert row["intact_percent"] < 1

    def test_the_same_again(self, report):
        again = make_report(real_file("MR_small.dcm"), FEW)
        for first, second in zip(report.sections, again.sections, strict=True):
            if first.key != "speed":
                assert first == second, first.key
        other = make_report(real_file("MR_small.dcm"), Settings(n_trials=5, seed=2))
        assert section(other, "plain-sensitivity").data != section(report, "plain-sensitivity").data

    def test_trials_and_alpha(self):
        found = make_report(real_file("MR_small.dcm"), Settings(n_trials=3, alpha=0.01, suite="chaos-cnn-1"))
        assert len(section(found, "plain-sensitivity").data["npcr"]) == 3
        assert {row.measurement.alpha for s in found.sections for row in s.rows} == {0.01}
        assert "chaos-cnn-1 is for research" in section(found, "limits").text[-1]
        assert "tag of 32 bytes" in section(found, "stored").text[0]


class TestBadCiphers:
    """The report would say so."""

    def test_a_stream_cipher(self, monkeypatch):
        def exclusive_or(source, target, key, *, tweak=b"", row_length=None, backend="auto"):
            rng = np.random.default_rng(list(bytes(key) + bytes(tweak)))
            target[...] = source ^ rng.integers(0, 1 << 8 * source.itemsize, source.shape, source.dtype)

        monkeypatch.setattr(cipher, "encrypt_into", exclusive_or)
        monkeypatch.setattr(cipher, "decrypt_into", exclusive_or)
        found = make_report(real_file("MR_small.dcm"), FEW)
        assert not found.verdict.passed
        assert found.verdict.n_failed == 0, "it decrypts, and the suite's tag holds"
        assert found.verdict.probability < 0.001
        assert not any(row.measurement.passed for row in section(found, "plain-sensitivity").rows)
        outside = [row for row in section(found, "statistics").rows if not row.measurement.passed]
        assert len(outside) <= 2, "the image looks like noise: the figures of single images see nothing"

    def test_one_that_does_not_decrypt(self, monkeypatch):
        right = cipher.decrypt_into

        def wrong(source, target, key, **more):
            right(source, target, key, **more)
            target.reshape(-1)[0] ^= 1

        monkeypatch.setattr(cipher, "decrypt_into", wrong)
        found = make_report(real_file("MR_small.dcm"), FEW)
        failed = [check.name for s in found.sections for check in s.checks if not check.passed]
        assert failed[0] == "Decrypted image equals the input"
        assert "The whole DICOM object comes back byte for byte" in failed
        assert not found.verdict.passed
        assert f"{len(failed)} of" in render_report(found)

    def test_a_suite_that_accepts_everything(self, monkeypatch):
        monkeypatch.setattr("iomt_crypt.seal.suite.Hybrid1._unprotect", lambda self, index, frame, tag: None)
        found = make_report(real_file("MR_small.dcm"), FEW)
        assert all(row["suite_rejects"] is False for row in section(found, "robustness").data)
        assert not found.verdict.passed


class TestVerdict:
    def test_chance_is_allowed(self):
        rows = tuple(Row(figure(2.0 if k < 3 else 0.0)) for k in range(40))
        verdict = find_verdict([Section("s", "S", rows=rows)])
        assert (verdict.n_figures, verdict.n_outside) == (40, 3)
        assert verdict.expected_outside == pytest.approx(2)
        assert verdict.probability == pytest.approx(0.3233, abs=1e-4)  # binomial, 40 at 0.05
        assert verdict.passed

    def test_more_is_not(self):
        rows = tuple(Row(figure(2.0 if k < 9 else 0.0)) for k in range(40))
        verdict = find_verdict([Section("s", "S", rows=rows)])
        assert verdict.probability < 0.001
        assert not verdict.passed

    def test_undefined_and_uncounted_figures_do_not_count(self):
        rows = (Row(figure(5.0), counted=False), Row(figure(math.nan, lower=None, upper=None)), Row(figure(0.0)))
        assert find_verdict([Section("s", "S", rows=rows)]).n_figures == 1

    def test_a_check_is_no_matter_of_chance(self):
        verdict = find_verdict([Section("s", "S", checks=(Check("c", passed=False),))])
        assert (verdict.passed, verdict.n_failed, verdict.probability) == (False, 1, 1.0)

    def test_the_smallest_of_many_p_values(self):
        assert smallest_allowed(1) == pytest.approx(0.01)
        assert (1 - smallest_allowed(148)) ** 148 == pytest.approx(0.99)


class TestNumbers:
    @pytest.mark.parametrize(
        ("measurement", "value", "text"),
        [
            (Measurement("H", 15.808, 15.80804, 15.80592, 15.81015, 0.05, "bit"), 15.808, "15.80800 bit"),
            (Measurement("x", 255.4, 255.0, None, 293.2478, 0.05), 255.4, "255.4"),
            (Measurement("x", 1e9, 1.4e9, 1.3e9, 1.5e9, 0.05), 1403854127.3, "1,403,854,127"),
            (Measurement("x", 0.0, None, None, None, 0.05), 0.0, "0.00"),
            (Measurement("x", math.nan, None, None, None, 0.05), math.nan, "\u2013"),
            (Measurement("x", math.inf, 4.0, 3.0, 5.0, 0.05), math.inf, "∞"),
        ],
    )
    def test_digits_follow_the_range(self, measurement, value, text):
        assert number_text(value, measurement, unit=True) == text

    def test_ranges(self):
        assert range_text(figure(0.0)) == "-1.00 to 1.00"
        assert range_text(figure(0.0, lower=None)) == "at most 1.00"
        assert range_text(figure(0.0, upper=None)) == "at least -1.00"
        assert range_text(figure(0.0, lower=None, upper=None)) == "\u2013"


class Page(HTMLParser):
    """What a page loads, links to, and has no words for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.without_alt = 0
        self.scripts = 0
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.scripts += tag in ("script", "iframe", "object", "embed", "link") or any(
            k.startswith("on") for k in attributes
        )
        self.sources += [v for k, v in attrs if k in ("src", "srcset", "xlink:href", "data", "poster")]
        self.links += [attributes["href"]] if tag == "a" else []
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.without_alt += tag == "img" and not attributes.get("alt")

    def handle_data(self, data):
        self.text.append(data)


class TestPage:
    def test_nothing_is_loaded(self, page):
        found = Page(page)
        assert found.scripts == 0
        assert len(found.sources) > 15
        assert all(source.startswith(("data:image/png;base64,", "#")) for source in found.sources)
        assert "@import" not in page
        assert not re.search(r"url\((?!#)", page)
        assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", page)

    def test_every_picture_has_words(self, page, report):
        found = Page(page)
        assert found.without_alt == 0
        n_exhibits = sum(len(row) for s in report.sections for row in s.exhibits)
        assert page.count('alt="') + page.count('role="img"') == n_exhibits == 21

    def test_names_are_used_once_and_links_lead_to_them(self, page):
        found = Page(page)
        assert len(found.ids) == len(set(found.ids))
        assert {link.removeprefix("#") for link in found.links} <= set(found.ids)

    def test_the_figures_are_those_of_the_report(self, page, report):
        text = " ".join(Page(page).text)
        for s in report.sections:
            assert s.title in text
            for row in s.rows:
                assert number_text(row.measurement.value, row.measurement, unit=True) in text
                assert range_text(row.measurement) in text
        assert "shows the plain image" in text
        assert "What this report does not prove" in text

    def test_both_themes_and_small_screens(self, page):
        assert "prefers-color-scheme: dark" in page
        assert 'name="viewport"' in page
        assert "currentColor" in page
        assert '<html lang="en">' in page

    def test_file_names_are_text(self, tmp_path):
        path = tmp_path / "<script>alert(1)</script>&.png".replace("/", "_")
        imsave(path, np.zeros((5, 5), np.uint8), check_contrast=False)
        found = make_report(path, FEW)
        page = render_report(found)
        assert "<script>" not in page
        assert Page(page).scripts == 0
        assert render_document(found).startswith(b"%PDF")
        assert "<script>" not in render_index([Entry(found, path.name)])

    def test_the_index(self, report):
        page = render_index([Entry(report, "a b/1.dcm"), Entry(report, "c/2.dcm")])
        found = Page(page)
        assert found.links == [
            f"{folder}/report.{kind}" for folder in ("a%20b/1.dcm", "c/2.dcm") for kind in ("html", "pdf", "json")
        ]
        assert found.sources == []
        assert "2 reports" in " ".join(found.text)
        assert 'href="../../index.html"' in render_report(report, index="../../index.html")


class TestOtherForms:
    def test_pdf(self, report):
        document = render_document(report)
        assert document.startswith(b"%PDF-")
        assert document.rstrip().endswith(b"%%EOF")
        assert 4 <= len(re.findall(rb"/Type /Page\b(?!s)", document)) <= 10
        assert len(document) > 200_000, "the pictures are in it"

    def test_json(self, report):
        document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
        assert document["format"] == "iomt-crypt report 1"
        assert document["settings"] == {"suite": "hybrid-1", "frame": 1, "n_trials": 5, "alpha": 0.05, "seed": 1}
        assert document["input"]["shape"] == [64, 64]
        assert document["verdict"]["passed"] is True
        found = {s["key"]: s for s in document["sections"]}
        entropy = found["statistics"]["figures"][0]
        assert entropy["lower"] <= entropy["value"] <= entropy["upper"]
        assert entropy["passed"] is True
        assert entropy["input"] < entropy["value"]
        assert len(found["plain-sensitivity"]["data"]["uaci"]) == 5
        assert {"AES-256-GCM", "Image cipher, encrypt"} <= set(found["speed"]["data"])
        names = [test["test"] for test in found["randomness"]["data"]["tests"]]
        assert "frequency" in names

    def test_no_patient(self, report, page, tmp_path):
        """Nothing of the header but geometry and UIDs of the standard."""
        marks = (b"Zaphod^Beeblebrox", b"ID-4711", b"19420101", b"Maximegalon", b"1.2.3.4.55555")
        more = {
            0x00080080: ("LO", marks[3]),
            0x00100010: ("PN", marks[0]),
            0x00100020: ("LO", marks[1]),
            0x00100030: ("DA", marks[2]),
            0x00081030: ("LO", marks[0]),
            0x00204000: ("LT", marks[0]),
        }
        path = tmp_path / "a.dcm"
        path.write_bytes(file(image(bytes(4096), rows=64, columns=64, uid=marks[4].decode(), more=more)))
        found = make_report(path, FEW)
        texts = render_report(found).encode() + render_document(found) + json.dumps(found.to_dict()).encode()
        assert not [mark for mark in marks if mark in texts]
        assert b"Secondary Capture" in texts


class TestKinds:
    """Every kind of input makes a whole report."""

    @pytest.mark.parametrize("shape", [(1, 1), (1, 2), (31, 33)])
    def test_too_small_for_statistics(self, shape, tmp_path):
        rows, columns = shape
        path = tmp_path / "a.dcm"
        path.write_bytes(
            file(image(bytes(range(256)) * 4 if rows > 1 else b"\x07" * columns, rows=rows, columns=columns))
        )
        found = make_report(path, FEW)
        assert [s.key for s in found.sections] == ["images", "histograms", "stored", "keys", "speed", "limits"]
        assert "too small for statistics" in found.notes[-1]
        assert found.verdict.n_figures == 0
        assert found.verdict.passed
        assert "too small for statistics" in render_report(found)
        assert render_document(found).startswith(b"%PDF")

    @pytest.mark.parametrize("shape", [(1, 1100), (1100, 1), (2, 600), (40, 40)])
    def test_odd_shapes(self, shape, tmp_path):
        rows, columns = shape
        path = tmp_path / "a.dcm"
        pixels = np.random.default_rng(1).integers(0, 200, rows * columns, np.uint8).tobytes()
        path.write_bytes(file(image(pixels, rows=rows, columns=columns)))
        found = make_report(path, FEW)
        assert found.verdict.n_failed == 0
        assert found.verdict.n_figures > 15
        json.dumps(found.to_dict(), allow_nan=False)
        assert Page(render_report(found)).without_alt == 0
        assert render_document(found).startswith(b"%PDF")

    @pytest.mark.parametrize("level", [0, 255])
    def test_one_value_everywhere(self, level, tmp_path):
        path = tmp_path / "a.dcm"
        path.write_bytes(file(image(bytes([level]) * 4096, rows=64, columns=64)))
        found = make_report(path, FEW)
        assert found.verdict.passed
        by_name = {row.measurement.name: row for row in section(found, "statistics").rows}
        assert by_name["Shannon entropy, global"].plain == 0
        assert math.isnan(by_name["Correlation of neighbours, vertical"].plain)
        mutual = section(found, "distance").rows[0].measurement
        assert mutual.passed is None
        document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert document["sections"][4]["figures"][0]["value"] is None
        render_report(found)

    @pytest.mark.parametrize("name", ["SC_rgb_rle_2frame.dcm", "examples_rgb_color.dcm", "liver_1frame.dcm"])
    def test_real_files(self, name):
        found = make_report(real_file(name), Settings(n_trials=2))
        assert found.verdict.passed
        assert Page(render_report(found)).without_alt == 0
        exhibits = section(found, "images").exhibits
        assert len(exhibits) == (3 if "rle" in name else 2)
        if "rle" in name:
            before, after = exhibits[0]
            assert before.caption == "Input, decoded"
            assert before.png == after.png

    def test_another_frame(self):
        first, second = (make_report(real_file("SC_rgb_rle_2frame.dcm"), Settings(n_trials=1, frame=k)) for k in (1, 2))
        assert second.source["frame"] == 2
        assert section(first, "images").exhibits[0] != section(second, "images").exhibits[0]

    def test_a_frame_that_is_not_there(self):
        with pytest.raises(errors.InputError, match="frame 2 does not exist"):
            make_report(real_file("MR_small.dcm"), Settings(frame=2))


@pytest.mark.parametrize(
    "wrong", [{"suite": "rot13"}, {"frame": 0}, {"n_trials": 0}, {"n_trials": 10**6}, {"alpha": 0.0}, {"seed": -1}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(errors.ConfigurationError, match=next(iter(wrong)).removeprefix("n_")):
        Settings(**wrong)


class TestFolder:
    def test_files_are_the_owners(self, report, tmp_path):
        write_report(report, tmp_path / "a" / "b")
        files = sorted((tmp_path / "a" / "b").iterdir())
        assert [f.name for f in files] == ["report.html", "report.json", "report.pdf"]
        assert {f.stat().st_mode & 0o777 for f in files} == {0o600}
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
        assert json.loads((tmp_path / "a" / "b" / "report.json").read_text())["format"]
        assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]

    def test_nothing_is_overwritten(self, report, tmp_path):
        (tmp_path / "a").mkdir()
        with pytest.raises(StorageError, match="exists already"):
            write_report(report, tmp_path / "a")
        entries = [Entry(report, "a")]
        index = write_index(entries, tmp_path)
        assert index.stat().st_mode & 0o777 == 0o600
        before = index.read_bytes()
        with pytest.raises(StorageError, match="exists already"):
            write_index(entries, tmp_path)
        assert index.read_bytes() == before
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "index.html"]

    def test_nothing_half_written_stays(self, report, tmp_path, monkeypatch):
        import os

        written = []

        def full(descriptor):
            written.append(descriptor)
            if len(written) == 2:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(errors.DiskFullError, match="no room"):
            write_report(report, tmp_path / "a")
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_the_way(self, report, tmp_path):
        (tmp_path / "a").write_text("x")
        with pytest.raises(StorageError):
            write_report(report, tmp_path / "a" / "b")
