"""Make the pictures of JupyterLab in docs/images: a cached cell and its hit, and who waits for whom.

python scripts/notebook_pictures.py [--all FOLDER]    needs jupyterlab and playwright with a Chromium; takes a minute

--all puts every view into FOLDER, in light and dark, to be looked at.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from jupyter_client.manager import start_new_kernel
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

FUNCTION = """\
import time

from dynmemo import dynamo_cached


@dynamo_cached(ttl="1d")
def forecast(city: str, days: int = 14) -> list[float]:
    time.sleep(SECONDS)
    return [len(city) + 0.5 * day for day in range(days)]
"""
ON_GPU3 = """
import pwd, socket, types

socket.gethostname = lambda: "gpu3"
pwd.getpwuid = lambda uid: types.SimpleNamespace(pw_name="anna")
"""
CELLS = {
    "function": ON_GPU3.replace("gpu3", "lab1").replace("anna", "ben") + FUNCTION.replace("SECONDS", "0.2"),
    "calls": 'forecast("SEA"), forecast("SEA")\nforecast',
    "explain": 'forecast.explain("PDX")',
    "entry": 'forecast.entry("SEA")',
    "ls": "import dynmemo\n\ndynmemo.ls()",
    "load": "%load_ext dynmemo\nimport pandas as pd\n\n"
    "sales = pd.DataFrame({'price': [21.0, 34.5, 18.0]}, ['SEA', 'PDX', 'OSL'])",
    "cell": "%%dynamo_cached --ttl 1d --show-hit dear\n"
    "dear = sales[sales['price'] > 20]\nprint(f'{len(dear)} of {len(sales)}')\ndear",
    "slow": FUNCTION.replace("SECONDS", "8.0"),
    "waiting": 'forecast("LIS")[:3]',
}
PICTURES = ("cell", "waiting")
"""Those in the docs."""
RUN_CELL = "() => { window.jupyterapp.commands.execute('notebook:run-cell') }"


def main() -> None:
    """Make the two pictures, or all."""
    everything = Path(sys.argv[sys.argv.index("--all") + 1]) if "--all" in sys.argv else None
    folder = Path(tempfile.gettempdir()) / "sales"
    for theme in ("Light", "Dark") if everything is not None else ("Light",):
        folder.mkdir()
        try:
            taken = pictures(folder, theme)
        finally:
            shutil.rmtree(folder)
        for name, picture in taken.items():
            if everything is not None:
                (everything / f"{name}-{theme.lower()}.png").write_bytes(picture)
            elif name in PICTURES:
                (IMAGES / f"{name}.png").write_bytes(picture)


def pictures(folder: Path, theme: str) -> dict[str, bytes]:
    """What each cell shows, by its name: a PNG of the cell with its output."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.values()])
    book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(book, folder / "sales.ipynb")
    with lab(folder, theme) as address, sync_playwright() as browsers:
        browser = browsers.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1000, "height": 3000})
        page.goto(f"{address}/doc/tree/sales.ipynb")
        cells = page.locator(".jp-Notebook-cell")
        cells.first.wait_for(timeout=60_000)
        page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=60_000)
        page.add_style_tag(content=".jp-cell-toolbar { display: none }")
        time.sleep(5)  # until the kernel listens, which nothing on the page tells
        taken = {}
        for number, name in enumerate(CELLS):
            cell = cells.nth(number)
            if name == "waiting":
                taken[name] = waiting(folder, page, cell)
                continue
            run(page, cell)
            if name == "cell":  # the picture is that of a hit
                run(page, cell)
            taken[name] = cell.screenshot()
        browser.close()
        return taken


def run(page: Any, cell: Any) -> None:
    """Run a cell, and wait until it has run."""
    prompt = cell.locator(".jp-InputPrompt")
    before = prompt.inner_text()
    cell.locator(".cm-content").click()
    page.evaluate(RUN_CELL)
    is_over = "([prompt, before]) => /\\d/.test(prompt.innerText) && prompt.innerText !== before"
    try:
        page.wait_for_function(is_over, arg=[prompt.element_handle(), before], timeout=20_000)
    except Exception:
        page.screenshot(path="/tmp/person/fail.png")
        raise
    time.sleep(0.5)  # what is drawn after the text


def waiting(folder: Path, page: Any, cell: Any) -> bytes:
    """The cell while somebody else computes what it wants."""
    environment = os.environ | {"JPY_SESSION_NAME": "sales.ipynb"}
    manager, client = start_new_kernel(cwd=str(folder), env=environment, stderr=subprocess.DEVNULL)
    client.execute(ON_GPU3 + CELLS["slow"] + CELLS["waiting"])
    cell.locator(".cm-content").click()
    time.sleep(2)
    page.evaluate(RUN_CELL)
    page.wait_for_function("cell => /waiting for/.test(cell.innerText)", arg=cell.element_handle(), timeout=60_000)
    taken: bytes = cell.screenshot()
    page.wait_for_function("cell => !/waiting for/.test(cell.innerText)", arg=cell.element_handle(), timeout=60_000)
    manager.shutdown_kernel(now=True)
    return taken


@contextmanager
def lab(folder: Path, theme: str) -> Iterator[str]:
    """JupyterLab with settings of its own; its address."""
    with tempfile.TemporaryDirectory() as home, socket.socket() as probe:
        settings = Path(home, "lab", "user-settings", "@jupyterlab", "apputils-extension")
        settings.mkdir(parents=True)
        (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "JupyterLab {theme}"}}')
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        os.environ["DYNMEMO_URL"] = f"sqlite:///{folder.as_posix()}/cache.db"
        server = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "jupyterlab",
                    "--no-browser",
                    "--allow-root",
                    f"--port={port}",
                    "--expose-app-in-browser",
                ),
                *("--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={folder}"),
            ],
            env=os.environ | {"JUPYTER_CONFIG_DIR": home, "JUPYTERLAB_SETTINGS_DIR": str(settings.parents[1])},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            while True:
                try:
                    urllib.request.urlopen(f"{address}/api", timeout=5).close()
                    break
                except OSError:
                    if server.poll() is not None:
                        raise SystemExit("JupyterLab did not start") from None
                    time.sleep(0.2)
            yield address
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
