"""The report page: what is embedded, and what a real browser makes of it."""

import base64
import gzip
import hashlib
import itertools
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_up import make_run, rises
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from skewlab.report.cli import main
from skewlab.report.page import PLOTLY, PageFigure, write_page
from skewlab.runs.json_file import as_json

NASTY = "r100-s0</script><img src=x onerror=document.title='broken'>&amp;\u2028"
WIDE, NARROW = (1400, 1000), (390, 900)
# Texts of charts that lie outside their chart.
CUT = """
  return [...document.querySelectorAll(".chart text")]
    .filter((node) => node.textContent.trim() && !node.closest(".hoverlayer"))
    .filter((node) => {
      const [own, all] = [node, node.closest(".chart")].map((x) => x.getBoundingClientRect());
      return own.width && (own.left < all.left - 1 || own.right > all.right + 1
        || own.top < all.top - 1 || own.bottom > all.bottom + 1);
    }).map((node) => node.textContent);
"""
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
        "confusion": [
            {
                "setting": "cifar10, resnet20",
                "control": "none",
                "ratio": ratio,
                "counts": [500, 500, 5, 5],
                "class_names": CLASSES,
                "shares": [[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], row, [0.2, 0.2, 0.2, 0.4]],
            }
            for ratio, row in ((10.0, [0.1, 0.1, 0.8, 0.0]), (100.0, [0.3, 0.3, 0.4, 0.0]))
        ],
        "trade_off": [
            {"setting": name, "ratio": 100.0, "majority": {**share, "mean": 0.8}, "minority": share}
            for name in ("ce", "ldam <b>drw")
        ],
        "classes": {
            "columns": [
                "class",
                "ratio",
                "groups",
                "samples",
                "train recall",
                "test recall",
                "gap",
            ],
            "whole": [True, True, True, True, False, False, False],
            "rows": [[f"k{k}", 100.0, "few", 3, 0.95, 0.45, 0.5] for k in range(100)],
        },
        "table": {
            "columns": ["setting", "ratio", "minority recall, test", "minority learned by epoch"],
            "whole": [True, True, False, True],
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
    assert "default-src 'none'; img-src data: blob:;" in text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


Opened = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Opens a page at a size, with its charts drawn; fails where it complains or asks for more."""
    said: list[str] = []
    pages: list[Page] = []

    def open_(path: Path, size: tuple[int, int], address: str = "", **how: Any) -> Page:
        shown = browser.new_page(viewport={"width": size[0], "height": size[1]}, **how)
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("request", lambda request: said.append(request.url))
        shown.set_default_timeout(60_000)
        shown.goto(path.as_uri() + address)
        shown.wait_for_selector("html[data-drawn]", state="attached")
        pages.append(shown)
        return shown

    yield open_
    for page in pages:
        page.close()
    assert [line for line in said if not line.startswith(("file:", "data:", "blob:"))] == []


def run(page: Page, script: str) -> Any:
    """What a function's body returns that is run inside a page."""
    return page.evaluate(f"(() => {{ {script} }})()")


def come_to(page: Page, *charts: str) -> None:
    """Scroll to charts, which are drawn then."""
    for chart in charts:
        page.locator(f"#{chart}-chart").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{chart}-chart .main-svg")


def test_a_metric_of_the_studys_own_can_be_drawn(tmp_path: Path, opened: Opened) -> None:
    for seed in range(2):
        folder = make_run(tmp_path / "study", ratio=10, seed=seed)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["curves"]["metrics"] = {"specificity": {"_target_": "x"}, "elsewhere": {}}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        lines = [json.loads(line) for line in (folder / "curves.jsonl").open()]
        with (folder / "curves.jsonl").open("w") as file:
            for line in lines:
                line["specificity"] = [0.25 + 0.5 * seed] * len(line["recall"])
                file.write(json.dumps(line) + "\n")
    assert main([str(tmp_path / "study")]) == 0
    shown = opened(tmp_path / "study" / "report" / "index.html", WIDE)
    names = shown.locator("#curves fieldset", has_text="Curve").first.locator("label")
    assert names.all_text_contents() == ["recall", "loss", "specificity"]
    names.get_by_text("specificity", exact=True).click()
    shown.wait_for_timeout(100)
    script = "return document.getElementById('curves-chart').data.filter((one) => one.name)"
    drawn = [trace["y"] for trace in run(shown, script)]
    assert len(drawn) == 4
    assert all(value == 0.5 for line in drawn for value in line)


def test_browser_shows_verdicts_curves_and_runs(page: Path, opened: Opened) -> None:
    shown = opened(page, WIDE)

    def pick(*labels: str) -> None:
        for label in labels:
            shown.locator("#curves label").get_by_text(label, exact=True).click()
        shown.wait_for_timeout(100)

    lines = "return document.getElementById('curves-chart').data.filter((one) => one.name).length"
    script = """
      const all = (query) => [...document.querySelectorAll(query)];
      const found = {badges: all(".badge").map((node) => node.textContent), title: document.title};
      const chart = document.getElementById("curves-chart");
      found.bands = chart.data.filter((trace) => trace.fill).length;
      const search = document.querySelector("#classes input");
      search.value = "few k7"; search.dispatchEvent(new Event("input"));
      found.classes = all("#classes tbody tr").map((row) => row.textContent);
      all("#numbers button")[1].click(); all("#numbers button")[1].click();
      found.sorted = all("#numbers tbody tr").map((row) => row.children[1].textContent);
      found.configs = all("pre").length;
      for (const run of all(".run")) run.open = true;
      found.names = all(".run summary b").map((node) => node.textContent);
      const filter = document.getElementById("filter");
      filter.value = "FAILED"; filter.dispatchEvent(new Event("input"));
      found.filtered = all(".run:not([hidden])").length;
      found.trade = document.getElementById("trade-off-chart").data.flatMap((one) => one.text);
      return found;
    """
    come_to(shown, "confusion", "trade-off")
    assert run(shown, lines) == 8  # two groups on train and test of two ratios
    found = run(shown, script)
    assert found["bands"] == 8
    # What stands at update 160, epoch 4, of ratio 100: recall as in the payload.
    panel = shown.locator("#curves-chart .x2y2 .nsewdrag")
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    assert box is not None
    low, high = run(shown, "return document.getElementById('curves-chart').layout.xaxis2.range")
    share = (math.log10(160) - low) / (high - low)
    shown.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
    shown.wait_for_selector(
        "#curves-chart .hoverlayer .hovertext, #curves-chart .hoverlayer .legend"
    )
    tip = shown.locator("#curves-chart .hoverlayer").text_content() or ""
    recall = series(0.97, 1.2 / math.log10(100) / 3)
    expected = [f"{recall[key][5]:.3f}" for key in ("mean", "low", "high")]
    assert "updates 160" in tip
    assert "{} ({} to {})".format(*expected) in tip
    shown.locator("#curves details summary").last.click()
    pick("val", "cat (5)", "epochs")
    assert run(shown, lines) == 2 * 3 * 3
    pick("same total", "10")
    titles = "return document.getElementById('curves-chart').layout.annotations.map((x) => x.text)"
    panels = [re.findall("<b>(.*)</b>", text)[0] for text in run(shown, titles)]
    assert panels == ["ratio 100", "ratio 100, same total"]
    pick("loss")
    assert run(shown, lines) == 2 * 2 * 3  # no loss by class here
    assert "time=epochs" in run(shown, "return location.hash")
    # Rows are in the order of the training samples: the third is of class 2.
    cell = "return document.getElementById('confusion-chart').data[0].z[2][0]"
    assert run(shown, cell) == pytest.approx(0.3)
    shown.locator("#confusion-from").select_option(index=1)
    shown.wait_for_timeout(100)
    assert run(shown, cell) == pytest.approx(0.3 - 0.1)
    dom = shown.content()
    words = found["badges"]
    assert [words.count(word) for word in ("supported", "refuted", "undecided")] == [3, 1, 3]
    assert found["title"] == "How class imbalance changes what is learned: CIFAR-10"
    assert sorted(found["trade"]) == ["ce", "ldam &lt;b&gt;drw"]
    assert len(found["classes"]) == 11  # k7 and k70 to k79
    assert found["classes"][0] == "k7100few30.9500.4500.500"
    assert found["sorted"] == ["100", "10", "1"]
    assert found["configs"] == 0  # built when a run is opened
    assert NASTY in found["names"]
    assert found["names"][0] == "r10-s0"  # 10 before 100
    assert found["filtered"] == 1
    drawn = dom.split('id="payload"')[0]
    assert '<img src="x"' not in dom
    assert "<b>drw</b>" not in dom
    assert "<b>bold</b>" not in drawn
    assert "34% (21% to 47%)" in re.sub("<.*?>", "", drawn)


@pytest.mark.slow
def test_of_many_settings_the_first_is_shown_and_the_rest_folded(
    payload: dict[str, Any], tmp_path: Path, opened: Opened
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
    found = run(opened(tmp_path / "page.html", NARROW), script)
    assert found["rows"] == [name.removeprefix("cifar10, ") for name in names]
    assert found["heads"][:3] == ["claim 1ratio 1", "claim 2ratio 10", "claim 2ratio 100"]
    assert found["folded"] == ["11 more settings: 11 undecided"]
    assert found["shown"] == len(payload["verdicts"])
    assert found["order"][:4] == ["Curves", "Methods", "Trade-off", "Verdicts"]
    assert found["order"][5:8] == ["Figures", "A probe", "Classes"]
    assert found["lead"] == "Of 12 settings"
    assert found["opened"] == 1
    assert found["inside"]


def test_of_many_settings_those_that_none_beats_are_named(
    payload: dict[str, Any], tmp_path: Path, opened: Opened
) -> None:
    """And a long table scrolls below heads that stay."""
    points = [(0.9, 0.1 + 0.01 * number) for number in range(14)]  # the last one beats the others
    points += [(0.5, 0.8), (0.5, 0.8), (0.4, 0.7)]  # two are equal
    trade = [
        {
            "setting": f"m{number}",
            "base": number == 0,
            "ratio": 100.0,
            "majority": {"mean": majority, "low": majority - 0.1, "high": majority, "n": 3},
            "minority": {"mean": minority, "low": minority - 0.1, "high": minority, "n": 3},
        }
        for number, (majority, minority) in enumerate(points)
    ]
    write_page({**payload, "trade_off": trade}, [], tmp_path / "page.html")
    shown = opened(tmp_path / "page.html", WIDE)
    come_to(shown, "trade-off")
    kinds = run(shown, "return document.getElementById('trade-off-chart').data")
    named = {kind["name"]: [name for name in kind["text"] if name] for kind in kinds}
    others, best, base = named
    assert named == {others: [], best: ["m13", "m14", "m15"], base: ["m0"]}
    assert len({kind["marker"]["color"] for kind in kinds}) == 3
    covered = """
      const chart = document.getElementById("trade-off-chart");
      const boxes = (query) => [...chart.querySelectorAll(query)]
        .map((node) => node.getBoundingClientRect()).filter((box) => box.width);
      const over = (a, b) => a.left < b.right && b.left < a.right
        && a.top < b.bottom && b.top < a.bottom;
      const names = boxes(".textpoint text"), dots = boxes(".points path.point");
      const pairs = names.flatMap((a, k) => [...dots, ...names.slice(k + 1)].map((b) => [a, b]));
      return [names.length, dots.length, pairs.filter(([a, b]) => over(a, b)).length];
    """
    assert run(shown, covered) == [4, 17, 0]
    assert "no other setting beats" in shown.locator("#trade-off").inner_text()
    script = """
      const box = document.querySelector("#classes .scroll"), head = box.querySelector("th");
      const before = head.getBoundingClientRect().top;
      box.scrollTop = 500;
      const moved = box.scrollTop;
      return [box.clientHeight, moved, head.getBoundingClientRect().top - before];
    """
    height, moved, by = run(shown, script)
    assert height < 700
    assert (moved, by) == (500, 0)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_a_table_shows_its_numbers_below_one_another(
    payload: dict[str, Any], tmp_path: Path, opened: Opened, size: tuple[int, int]
) -> None:
    threshold = "recall at the threshold of precision 0.9 on val"
    rows = [
        ["ce + logit adjustment, tau 1.25 to 1.5 chosen on val", 5, "0.222 (0.181 to 0.262)", "b"],
        ["a_method_of_a_long_name_without_a_space", 5, "-0.037 (-0.067 to -0.007)", "c-1"],
        ["ce", 5, "12.5 (-3.0 to 110.7)", "d"],
        ["none", 0, "was not measured", "e"],
    ]
    table = {"columns": ["method", "seeds", threshold, "helps by"], "rows": rows}
    wide = {"columns": ["method", *(f"{threshold}, {k}" for k in range(9))], "rows": [["ce"]]}
    shown_on = {**payload, "table": table, "classes": wide}
    write_page(shown_on, [], tmp_path / "page.html")
    script = """
      const box = document.querySelector("#numbers .scroll");
      const rows = [...box.querySelectorAll("tbody tr")];
      const lines = rows.slice(0, 3).map((row) => [...row.children]);
      const mean = (cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell.firstChild);
        return range.getBoundingClientRect().right;
      };
      const heads = [...document.querySelectorAll(".table thead button")].map((head) => {
        const style = getComputedStyle(head), line = document.createElement("span");
        line.textContent = "x"; head.append(line);
        const one = line.getBoundingClientRect().height;
        line.remove();
        return (head.clientHeight - parseFloat(style.paddingTop) * 2) / one;
      });
      return {
        share: lines[0][0].offsetWidth / box.clientWidth,
        heads: Math.max(...heads),
        texts: lines.map((cells) => cells[2].textContent),
        means: lines.map((cells) => mean(cells[2])),
        ends: lines.map((cells) => cells[2].lastChild.getBoundingClientRect().right),
        word: lines[1][3].textContent,
      };
    """
    found = run(opened(tmp_path / "page.html", size), script)
    assert size == WIDE or found["share"] < 0.41
    assert found["heads"] < 4.5
    minus = "\N{MINUS SIGN}"
    assert found["texts"][1:] == [
        f"{minus}0.037 ({minus}0.067 to {minus}0.007)",
        f"12.5 ({minus}3.0 to 110.7)",
    ]
    assert max(found["means"]) - min(found["means"]) < 0.5
    assert max(found["ends"]) - min(found["ends"]) < 0.5
    assert found["word"] == "c-1", "a hyphen inside a word stays one"


@pytest.fixture(scope="module")
def of_methods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report's folder of a study of three methods at two ratios, with a run that failed."""
    study = tmp_path_factory.mktemp("methods") / "study"
    for method, end in (("ce", 0.2), ("better", 0.5), ("worse", 0.1)):
        for ratio in (10, 100):
            for seed in range(3):
                test = (rises(1, 0.9), rises(1, end))
                make_run(study, ratio=ratio, seed=seed, method=method, test=test, noise=0.1)
    make_run(study, ratio=10, seed=9, state="failed")
    assert main([str(study)]) == 0
    return study / "report"


def test_the_best_method_is_bold_where_it_is_in_latex(of_methods: Path, opened: Opened) -> None:
    shown = opened(of_methods / "index.html", WIDE)
    for section, name in (("#numbers", "results"), ("#methods", "methods")):
        bold = shown.locator(f"{section} .table b").all_text_contents()
        assert bold == re.findall(r"textbf\{(.*?)\}", (of_methods / f"{name}.tex").read_text())
        assert bold


def test_compared_methods_are_first_shown_side_by_side(of_methods: Path, opened: Opened) -> None:
    shown = opened(of_methods / "index.html", WIDE)
    names = "return document.getElementById('curves-chart').data.map((one) => one.name)"
    drawn = {name.split(", ")[1] for name in run(shown, names) if name}
    assert drawn == {"ce", "better"}
    assert run(shown, "return location.hash") == ""
    come_to(shown, "trade-off")
    traces = run(shown, "return document.getElementById('trade-off-chart').data")
    assert {trace["name"]: trace["text"] for trace in traces}["cross-entropy"] == ["ce"]


def test_bands_of_shares_end_at_zero_and_one(of_methods: Path) -> None:
    ends = [
        (min(line["low"]), max(line["high"]))
        for setting in embedded(of_methods / "index.html")["curves"]
        for entry in setting["ratios"]
        for split in entry["splits"].values()
        for line in (split["recall"]["majority"], split["recall"]["minority"])
    ]
    assert (min(low for low, _ in ends), max(high for _, high in ends)) == (0, 1)


@pytest.mark.parametrize(
    ("left_out", "remarks", "words"),
    [(0, 0, "nothing left out"), (2, 2, "nothing left out, 2 remarks"), (3, 1, "2 left out, 1")],
)
def test_remarks_are_not_counted_as_left_out(
    tmp_path: Path, opened: Opened, left_out: int, remarks: int, words: str
) -> None:
    lines = [f"line {number}" for number in range(left_out)]
    write_page({"left_out": lines, "remarks": remarks}, [], tmp_path / "page.html")
    link = opened(tmp_path / "page.html", WIDE).locator("#summary a[href='#left-out']")
    assert words in link.inner_text()


def test_with_one_seed_nothing_is_said_of_intervals(
    payload: dict[str, Any], page: Path, tmp_path: Path, opened: Opened
) -> None:
    single = [{"setting": "s", "ratios": [{**curves(10.0, "none"), "seeds": [0]}]}]
    write_page({**payload, "curves": single}, [], tmp_path / "page.html")
    for path, said in ((page, True), (tmp_path / "page.html", False)):
        shown = opened(path, WIDE)
        assert ("shaded" in shown.locator("#curves > .lead").inner_text()) is said
        assert ("intervals" in shown.locator("#trade-off > .lead").inner_text()) is said


def test_a_confusion_matrix_of_many_long_names_stays_large(
    payload: dict[str, Any], tmp_path: Path, opened: Opened
) -> None:
    names = [f"a species with a rather long name {k:02}" for k in range(100)]
    many = {
        **payload["confusion"][0],
        "class_names": names,
        "counts": [100 - k for k in range(100)],
        "shares": [[float(row == column) for column in range(100)] for row in range(100)],
    }
    write_page({**payload, "confusion": [many]}, [], tmp_path / "page.html")
    shown = opened(tmp_path / "page.html", NARROW)
    come_to(shown, "confusion")
    box = shown.locator("#confusion-chart .nsewdrag").bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) > 150
    assert run(shown, CUT) == []
    shown.mouse.move(box["x"] + 1, box["y"] + 1)
    tip = shown.locator("#confusion-chart .hoverlayer .hovertext")
    tip.wait_for()
    assert names[0] in (tip.text_content() or ""), "the whole name"


@pytest.mark.parametrize("size", [WIDE, pytest.param((1024, 800), marks=pytest.mark.slow), NARROW])
def test_no_text_of_a_chart_is_cut(page: Path, opened: Opened, size: tuple[int, int]) -> None:
    shown = opened(page, size)
    come_to(shown, "confusion", "trade-off")
    assert run(shown, CUT) == []
    overlap = """
      const boxes = (query) => [...document.querySelectorAll(`#curves-chart ${query}`)]
        .map((node) => node.getBoundingClientRect());
      return boxes(".legendtext").filter((a) => boxes(".modebar-btn").some((b) =>
        a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)).length;
    """
    assert run(shown, overlap) == 0, "names lie under the buttons"


def test_a_chart_further_down_is_drawn_when_it_comes_near(page: Path, opened: Opened) -> None:
    drawn = "return !!document.querySelector('#confusion-chart .main-svg')"
    shown = opened(page, NARROW)
    assert not run(shown, drawn)
    come_to(shown, "confusion")
    printed = opened(page, NARROW)
    assert not run(printed, drawn)
    printed.pdf()
    assert run(printed, drawn)


def test_where_nothing_is_chosen_nothing_is_drawn_until_it_is(page: Path, opened: Opened) -> None:
    shown = opened(page, NARROW, "#curves?line=")
    assert "Nothing to draw" in shown.locator("#curves").inner_text()
    shown.locator("#curves label").get_by_text("majority", exact=True).click()
    shown.wait_for_selector("#curves-chart .main-svg")


def test_narrow_window_does_not_scroll_sideways(page: Path, opened: Opened) -> None:
    script = """
      document.querySelectorAll("details").forEach((node) => { node.open = true; });
      return [document.documentElement.scrollWidth, window.innerWidth];
    """
    content, window = run(opened(page, NARROW), script)
    assert window == NARROW[0]
    assert content <= window


def test_browser_draws_a_page_without_anything(tmp_path: Path, opened: Opened) -> None:
    write_page({"title": "Nothing yet", "curves": [], "verdicts": []}, [], tmp_path / "page.html")
    dom = opened(tmp_path / "page.html", WIDE).content()
    assert "No claim could be judged" in dom
    assert "there are no curves" in dom


@pytest.mark.slow
def test_a_page_that_is_kept_current_keeps_what_was_chosen(
    payload: dict[str, Any], tmp_path: Path, opened: Opened
) -> None:
    write_page({**payload, "reload": 2}, [], tmp_path / "page.html")
    script = """
      const boxes = [...document.querySelectorAll("#curves input")];
      const box = (text) => boxes.find((one) =>
        one.parentNode.textContent.split(" ")[0] === text);
      const found = ["loss", "val", "bird", "minority"].map((text) => box(text).checked);
      found.push(document.querySelector("details.classes").open);
      for (const text of ["loss", "val", "bird", "minority"]) if (!found[0]) box(text).click();
      document.querySelector("details.classes").open = true;
      return found;
    """
    shown = opened(tmp_path / "page.html", WIDE)
    assert run(shown, script) == [False, False, False, True, False]
    with shown.expect_event("load"):
        pass
    shown.wait_for_selector("html[data-drawn]", state="attached")
    assert run(shown, script) == [True, True, True, False, True]


def test_an_address_keeps_what_is_drawn(page: Path, opened: Opened) -> None:
    first = opened(page, WIDE)
    first.get_by_label("epochs", exact=True).check()
    first.get_by_label("loss", exact=True).check()
    first.locator("#curves-chart .xy .nsewdrag").hover()
    box = first.locator("#curves-chart .xy .nsewdrag").bounding_box()
    assert box is not None
    first.mouse.down()
    first.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.9, steps=5)
    first.mouse.up()
    first.wait_for_function("location.hash.includes('zoom')")
    ranges = "const {xaxis, yaxis} = document.getElementById('curves-chart').layout;"
    ranges += "return [...xaxis.range, ...yaxis.range];"
    address = run(first, "return location.hash")
    other = opened(page, NARROW, address)
    assert (
        run(
            other,
            "return document.querySelector('#curves input[name=time]:checked')"
            ".parentNode.textContent",
        )
        == "epochs"
    )
    assert run(other, ranges) == pytest.approx(run(first, ranges), rel=1e-3)


@pytest.mark.slow
def test_a_chart_is_saved_as_a_picture(page: Path, opened: Opened, tmp_path: Path) -> None:
    shown = opened(page, WIDE)
    titles = "return [...document.querySelectorAll('#curves-chart .modebar-btn')]"
    assert run(shown, f"{titles}.map((one) => one.dataset.title)") == [
        *("Download plot as a PNG", "Save as SVG", "Zoom", "Pan"),
        *("Zoom in", "Zoom out", "Reset axes"),
    ], "none that sends a chart to a server"
    for title, beginning in (("Download plot", b"\x89PNG"), ("Save as SVG", b"<svg")):
        shown.locator("#curves-chart").hover()
        with shown.expect_download() as download:
            shown.locator(f"#curves-chart [data-title^='{title}']").click()
        download.value.save_as(tmp_path / "picture")
        assert (tmp_path / "picture").read_bytes().startswith(beginning)


CONTRAST = """
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.5) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("main *, header *, nav *, footer *")].filter((node) =>
    node.getClientRects().length && !node.closest("svg") && !node.closest(":disabled")
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()));
  return texts.map((node) => {
    const colours = [parse(getComputedStyle(node).color), behind(node)];
    const [a, b] = colours.map(light).sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), node.textContent.slice(0, 40)];
  }).filter(([ratio]) => ratio < 4.5);
"""


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_text_has_the_contrast_that_readers_need(page: Path, opened: Opened, scheme: str) -> None:
    """At least 4.5 to 1, as of WCAG 2.1, level AA."""
    assert run(opened(page, WIDE, color_scheme=scheme), CONTRAST) == []


def contrast(one: str, other: str) -> float:
    """Of two colours such as #1b1e22, as of WCAG 2.1."""

    def light(colour: str) -> float:
        shares = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, bright = sorted(map(light, (one, other)))
    return (bright + 0.05) / (dark + 0.05)


def mixed(one: str, other: str, share: float) -> str:
    pairs = ((int(one[k : k + 2], 16), int(other[k : k + 2], 16)) for k in (1, 3, 5))
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_of_charts_are_told_apart(page: Path, opened: Opened, scheme: str) -> None:
    """Numbers on every colour of a heat map, and lines on the card, as of WCAG 2.1, level AA."""
    shown = opened(page, WIDE, color_scheme=scheme)
    come_to(shown, "confusion")
    heat = "return document.getElementById('confusion-chart').data[0]"
    for less in (0, 1):
        shown.locator("#confusion-from").select_option(index=less)
        shown.wait_for_timeout(100)
        trace = run(shown, heat)
        scale = [
            re.sub("^#(.)(.)(.)$", r"#\1\1\2\2\3\3", colour) for _, colour in trace["colorscale"]
        ]
        assert len(scale) == 2 + less
        for one, other in itertools.pairwise(scale):
            between = [mixed(one, other, k / 8) for k in range(9)]
            assert min(contrast(trace["textfont"]["color"], colour) for colour in between) >= 4.5
    names = ("majority", "minority", "many", "medium", "few")
    colours = [run(shown, f"return colourOf('{name}')") for name in names]
    assert len(set(colours)) == len(names)
    card = "#ffffff" if scheme == "light" else run(shown, "return colourOf('card')")
    assert min(contrast(card, colour) for colour in colours) >= 3


def test_the_library_is_the_file_that_its_makers_publish() -> None:
    """plotly.js-cartesian-dist-min 4.1.1 of npm: the digest is of the file in that package."""
    library = gzip.decompress(files("skewlab.report.page").joinpath(PLOTLY).read_bytes())
    assert hashlib.sha256(library).hexdigest() == (
        "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a"
    )


@pytest.mark.slow
def test_a_browser_that_does_not_understand_the_library_says_so(
    page: Path, browser: Browser, tmp_path: Path
) -> None:
    broken = base64.b64encode(gzip.compress(b"let newer = ;")).decode()
    text, count = re.subn(
        r'(<script type="text/plain" id="plotly">)[^<]*', rf"\g<1>{broken}", page.read_text()
    )
    assert count == 1
    (tmp_path / "broken.html").write_text(text)
    shown = browser.new_page()
    shown.goto((tmp_path / "broken.html").as_uri())
    shown.wait_for_selector("text=This browser cannot draw the charts", timeout=20_000)
    shown.close()
