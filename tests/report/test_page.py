"""The report page: what is embedded, and what a real browser makes of it."""

import html
import json
import math
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from skewlab.report.page import PageFigure, write_page
from skewlab.runs.json_file import as_json

NASTY = "r100-s0</script><img src=x onerror=document.title='broken'>&amp;\u2028"
WIDE, NARROW = (1400, 1000), (390, 900)
CLASSES = ["airplane", "bird", "cat", "dog"]
EPOCHS = [0.0, 0.1, 0.3, 1.0, 2.0, 4.0, 7.0, 10.0]
CONTROL_LABELS = {
    "same_total": "compared with a balanced set of the same total",
    "equal_updates": "trained for as many updates as the balanced set",
}


def series(end: float, rate: float, spread: float = 0.05) -> dict[str, list[float | None]]:
    mean = [end * (1 - math.exp(-rate * epoch)) for epoch in EPOCHS]
    return {
        "mean": [*mean],
        "low": [max(0.0, value - spread) for value in mean],
        "high": [min(1.0, value + spread) for value in mean],
    }


def curves(ratio: float, control: str) -> dict[str, Any]:
    slow = 1.2 / math.log10(ratio)
    splits = {}
    for split, ends in {"train": (1.0, 0.97), "val": (0.93, 0.6), "test": (0.92, 0.55)}.items():
        recall = {"majority": series(ends[0], 2.5), "minority": series(ends[1], slow / 3)}
        classes = [series(ends[k % 2], 2.5 - 0.5 * k, 0.02) for k in range(4)]
        loss = {
            group: {key: [2.3 - 2.1 * float(v or 0) for v in line] for key, line in lines.items()}
            for group, lines in recall.items()
        }
        splits[split] = {
            "epoch": EPOCHS,
            "step": [int(40 * epoch) for epoch in EPOCHS],
            "recall": {**recall, "class": classes},
            "loss": {**loss, "class": []},
        }
    # A run of one class missing from a split has gaps.
    splits["val"]["recall"]["minority"]["mean"][3] = math.nan
    return {
        "ratio": ratio,
        "control": control,
        "seeds": [0, 1, 2],
        "counts": [500, 500, int(500 / ratio), int(500 / ratio)],
        "class_names": CLASSES,
        "groups": {"majority": [0, 1], "minority": [2, 3]},
        "splits": splits,
    }


def verdict(claim: str, ratio: str, mean: float | None, verdict: str, **other: Any) -> Any:
    titles = {
        "1": "From balanced data the classes are learned similarly",
        "2": "Imbalance makes the network underfit the minority early on",
        "3": "The minority's samples are learned in the end",
        "4a": "What is learned of the minority does not generalise",
    }
    return {
        "claim": claim,
        "title": titles[claim],
        "data": "cifar10",
        "setting": "cifar10, resnet20",
        "ratio": ratio,
        "statistic": "train recall of the majority minus the minority, averaged over the first "
        "20% of the training",
        "why": "it is large only if the majority is learned and the minority is not",
        "threshold": "at most 0.1" if claim == "1" else "at least 0.25",
        "estimate": mean and {"mean": mean, "low": mean - 0.06, "high": mean + 0.05, "n": 3},
        "seeds": 3 if mean else 0,
        "verdict": verdict,
        "note": "",
        "controls": [],
        **other,
    }


@pytest.fixture(scope="module")
def payload() -> dict[str, Any]:
    share = {"mean": 0.34, "low": 0.21, "high": 0.47, "n": 3}
    controls = [
        {"control": name, "label": label, "estimate": {**share, "mean": 0.21}, "survives": left}
        for (name, label), left in zip(CONTROL_LABELS.items(), (share, None), strict=True)
    ]
    asked = "not measured; to decide: python train.py -m ratio=1,10 seed=0,1,2 control=none"
    names = [NASTY, "r100-s1", "r10-s0"]
    return {
        "title": "How class imbalance changes what is learned: CIFAR-10",
        "generated": "2026-11-23 08:10",
        "command": "python -m skewlab.report logs/default",
        "verdicts": [
            verdict("1", "1", 0.07, "undecided", note="the interval holds the threshold"),
            verdict("2", "10", 0.2, "refuted"),
            verdict("2", "100", 0.61, "supported", controls=controls),
            verdict("3", "10", 0.96, "supported"),
            verdict("3", "100", 0.24, "undecided", note="2 of at least 3 seeds"),
            verdict("4a", "10", None, "undecided", note=asked),
            verdict("4a", "100", 0.42, "supported", controls=controls[:1]),
        ],
        "left_out": ["logs/default/r100-s9: failed (out of memory); not in figures and claims"],
        "curves": [
            {
                "setting": "cifar10, resnet20",
                "ratios": [
                    curves(10.0, "none"),
                    curves(100.0, "none"),
                    curves(100.0, "same_total"),
                ],
            }
        ],
        "table": {
            "columns": ["setting", "ratio", "minority recall, test", "minority learned by epoch"],
            "rows": [
                ["cifar10, resnet20", 10.0, 0.71234, "7"],
                ["cifar10, resnet20", 1.0, None, None],
                ["cifar10, resnet20", 100.0, math.nan, ">30"],
            ],
        },
        "runs": [
            {
                "name": name,
                "study": "default",
                "state": "failed" if k == 1 else "done",
                "reason": "out of memory" if k == 1 else None,
                "seed": k,
                "ratio": 100.0,
                "seconds": 754.2,
                "started": "2026-11-22 21:04",
                "commit": "02d840b",
                "changed_since_commit": k == 2,
                "python": "3.12.3",
                "packages": {"torch": "2.11.0", "pytorch-lightning": "2.6.1"},
                "command": "python train.py -m ratio=10,100 seed=0,1,2",
                "config": f"seed: {k}\nmodel:\n  name: resnet20 # <b>bold</b>\n",
            }
            for k, name in enumerate(names)
        ],
    }


@pytest.fixture(scope="module")
def page(payload: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    Image.new("RGB", (640, 240), "#cfe3f1").save(folder / "curves.png")
    figure = PageFigure("Recall <b>curves</b>", 'Mean and "range"', folder / "curves.png")
    write_page(payload, [figure], folder / "report.html")
    return folder / "report.html"


def embedded(page: Path) -> Any:
    found = re.search(r'application/json" id="payload">(.*?)</script>', page.read_text("utf-8"))
    assert found
    return json.loads(found[1], parse_constant=pytest.fail)


def test_payload_comes_back_as_it_was_with_nan_as_null(page: Path, payload: dict[str, Any]) -> None:
    read = embedded(page)
    assert read["runs"][0]["name"] == NASTY
    assert read["verdicts"] == as_json(payload["verdicts"])
    assert read["table"]["rows"][2] == ["cifar10, resnet20", 100.0, None, ">30"]
    assert "<img" not in page.read_text("utf-8")


def test_figures_are_inside(page: Path) -> None:
    (figure,) = embedded(page)["figures"]
    assert figure["source"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert figure["caption"] == 'Mean and "range"'
    # 640 by 240 dots, of which three are two of the page's.
    assert (figure["width"], figure["height"]) == (427, 160)


def test_page_asks_for_nothing_from_outside(page: Path) -> None:
    text = page.read_text("utf-8")
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|WebSocket", text)
    assert all(
        link.startswith(("data:", "#")) for link in re.findall(r'(?:src|href)="(.*?)"', text)
    )
    assert "default-src 'none'; img-src data:;" in text


def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    return found


def in_browser(
    page: Path, size: tuple[int, int], script: str = "return {}", loads: int = 1
) -> tuple[str, Any]:
    """The page as a browser drew it, and what a function's body run inside it returns, at the last
    of the times that it is loaded.

    The page stands in a frame of the size asked for: a browser's window is at least 500 wide.
    """
    shown = page.with_name("shown.html")
    answer = f"{{found: (() => {{ {script} }})(), dom: document.documentElement.outerHTML}}"
    probe = f"addEventListener('load', () => parent.postMessage(JSON.stringify({answer}), '*'))"
    text = page.read_text("utf-8")
    shown.write_text(text.replace("</body>", f"<script>{probe}</script></body>"), "utf-8")
    frame = page.with_name("frame.html")
    frame.write_text(
        f"<script>let left = {loads};"
        "onmessage = (sent) => { if (!--left) document.body.textContent = sent.data; }</script>"
        f'<iframe src="shown.html" width="{size[0]}" height="{size[1]}" frameborder="0"></iframe>'
    )
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --virtual-time-budget=3000 "
        "--window-size=1500,1100 --enable-logging=stderr --v=0 --dump-dom"
    )
    profile = f"--user-data-dir={page.with_name('profile')}"
    ended = subprocess.run(
        [chromium(), *flags.split(), profile, frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = [
        line
        for line in ended.stderr.splitlines()
        if "CONSOLE" in line and re.search(r"error|uncaught|refused|violat", line, re.IGNORECASE)
    ]
    assert said == []
    answered = re.search(r"<body>({.*})</body>", ended.stdout, re.DOTALL)
    assert answered, ended.stderr[-2000:]
    told = json.loads(html.unescape(answered[1]))
    return told["dom"], told["found"]


def test_browser_shows_verdicts_curves_and_runs(page: Path) -> None:
    script = """
      const all = (query) => [...document.querySelectorAll(query)];
      const click = (name, text) => all(`input[name=${name}]`)
        .find((input) => input.parentNode.textContent === text).click();
      const found = {badges: all(".badge").map((node) => node.textContent), title: document.title};
      found.curves = [all(".panel").length, all("path.curve").length, all("path.band").length];
      const picture = document.querySelector(".panel svg"), box = picture.getBoundingClientRect();
      const where = {clientX: box.left + box.width / 2, clientY: box.top + 50};
      picture.dispatchEvent(new PointerEvent("pointermove", where));
      found.tip = document.querySelector(".tip").textContent;
      click("split", "val"); click("line", "cat"); click("axis", "steps, logarithmic");
      found.more = all("path.curve").length;
      click("kind", "same total"); click("ratio", "10");
      found.panels = all(".panel figcaption b").map((node) => node.textContent);
      click("metric", "loss");
      found.loss = all("path.curve").length;
      found.ends = all(".panel:first-child text.end").map((node) => +node.getAttribute("y"));
      all(".table button")[1].click(); all(".table button")[1].click();
      found.sorted = all(".table tbody tr").map((row) => row.children[1].textContent);
      found.configs = all("pre").length;
      for (const run of all(".run")) run.open = true;
      found.names = all(".run summary b").map((node) => node.textContent);
      const filter = document.getElementById("filter");
      filter.value = "FAILED"; filter.dispatchEvent(new Event("input"));
      found.filtered = all(".run:not([hidden])").length;
      return found;
    """
    dom, found = in_browser(page, WIDE, script)
    words = found["badges"]
    assert [words.count(word) for word in ("supported", "refuted", "undecided")] == [3, 1, 3]
    assert found["title"] == "How class imbalance changes what is learned: CIFAR-10"
    assert found["curves"] == [2, 8, 8]  # a panel a ratio: two groups on train and test
    assert "majority train" in found["tip"]
    assert found["more"] == 2 * 3 * 3
    assert found["panels"] == ["ratio 100", "ratio 100, same total"]
    assert found["loss"] == 2 * 2 * 3  # no loss by class here
    ends = sorted(found["ends"])
    assert min(b - a for a, b in pairwise(ends)) >= 12
    assert found["sorted"] == ["100", "10", "1"]
    assert found["configs"] == 0  # built when a run is opened
    assert found["names"][0] == NASTY
    assert found["filtered"] == 1
    drawn = dom.split('id="payload"')[0]
    assert '<img src="x"' not in dom
    assert "<b>bold</b>" not in drawn
    assert "34% (21% to 47%)" in re.sub("<.*?>", "", drawn)


def test_of_many_settings_the_first_is_shown_and_the_rest_folded(
    payload: dict[str, Any], tmp_path: Path
) -> None:
    names = [f"cifar10, m{number:02}" for number in range(12)]
    each = [{**one, "setting": name} for name in names for one in payload["verdicts"]]
    part = {"key": "methods", "title": "Methods", "lead": "", "tables": [], "compares": True}
    probe = {**part, "key": "probe", "title": "A probe", "compares": False}
    many = {**payload, "verdicts": each, "parts": [part, probe], "in_full": "Of 12 settings"}
    write_page(many, [], tmp_path / "page.html")
    script = """
      const all = (query) => [...document.querySelectorAll(query)];
      const found = {rows: all(".glance tbody th").map((node) => node.textContent)};
      found.heads = all(".glance thead th").slice(1).map((node) => node.textContent);
      found.folded = all(".claim details > summary").map((node) => node.textContent).slice(1, 2);
      found.shown = all(".claim .row").filter((row) => !row.closest("details")).length;
      found.order = all("nav a").map((node) => node.textContent);
      found.lead = document.querySelector("#figures > .lead").textContent;
      all(".glance td a").at(-1).click();
      found.opened = all(".claim details").filter((node) => node.open).length;
      const [nav, last] = [document.querySelector("nav"), all("nav a").at(-1)];
      found.inside = last.getBoundingClientRect().right <= nav.getBoundingClientRect().right;
      return found;
    """
    _, found = in_browser(tmp_path / "page.html", NARROW, script)
    assert found["rows"] == [name.removeprefix("cifar10, ") for name in names]
    assert found["heads"][:3] == ["claim 1ratio 1", "claim 2ratio 10", "claim 2ratio 100"]
    assert found["folded"] == ["11 more settings: 11 undecided"]
    assert found["shown"] == len(payload["verdicts"])
    assert found["order"][:3] == ["Verdicts", "Methods", "Curves"]
    assert found["order"][3:6] == ["Figures", "A probe", "Table"]
    assert found["lead"] == "Of 12 settings"
    assert found["opened"] == 1
    assert found["inside"]


def test_narrow_window_does_not_scroll_sideways(page: Path) -> None:
    script = """
      document.querySelectorAll("details").forEach((node) => { node.open = true; });
      return [document.documentElement.scrollWidth, window.innerWidth];
    """
    _, (content, window) = in_browser(page, NARROW, script)
    assert window == NARROW[0]
    assert content <= window


def test_browser_draws_a_page_without_anything(tmp_path: Path) -> None:
    write_page({"title": "Nothing yet", "curves": [], "verdicts": []}, [], tmp_path / "page.html")
    dom, _ = in_browser(tmp_path / "page.html", WIDE)
    assert "No claim could be judged" in dom
    assert "there are no curves" in dom


def test_a_page_that_is_kept_current_keeps_what_was_chosen(
    payload: dict[str, Any], tmp_path: Path
) -> None:
    write_page({**payload, "reload": 0.5}, [], tmp_path / "page.html")
    script = """
      const boxes = [...document.querySelectorAll("#curves input")];
      const box = (text) => boxes.find((input) => input.parentNode.textContent === text);
      const found = ["loss", "val", "bird", "minority"].map((text) => box(text).checked);
      found.push(document.querySelector("details.classes").open);
      for (const text of ["loss", "val", "bird", "minority"]) if (!found[0]) box(text).click();
      document.querySelector("details.classes").open = true;
      return found;
    """
    assert in_browser(tmp_path / "page.html", WIDE, script)[1] == [False, False, False, True, False]
    _, again = in_browser(tmp_path / "page.html", WIDE, script, loads=2)
    assert again == [True, True, True, False, True]
