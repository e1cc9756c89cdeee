"""Links and anchors of Markdown and HTML, for the checks of docs/ and of the built site. Nothing outside the folder is asked."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FENCE = re.compile(r"^( *)(```+|~~~+).*?^ *\2[ \t]*$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^(?: {4}|\t).*$", re.MULTILINE)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


def links(markdown: str) -> list[str]:
    """Where the links and pictures of a page lead; blocks of code have none."""
    return _LINK.findall(_CODE.sub("", _INDENTED.sub("", _FENCE.sub("", markdown))))


def anchors(markdown: str) -> list[str]:
    """The anchors of the headings, as GitHub makes them; the second of two equal ones ends with -1."""
    found: list[str] = []
    for title in _HEADING.findall(_FENCE.sub("", markdown)):
        shown = _LINK.sub(lambda m: m.group()[1 : m.group().index("](")], title).replace("`", "")
        anchor = _NOT_IN_ANCHORS.sub("", shown.strip().lower()).replace(" ", "-")
        again = sum(other == anchor or re.fullmatch(re.escape(anchor) + r"-\d+", other) is not None for other in found)
        found.append(f"{anchor}-{again}" if again else anchor)
    return found


def broken(root: Path, pages: Iterator[Path]) -> list[str]:
    """Links of these pages that lead to no file below `root`, or to no heading of a page."""
    wrong = []
    known: dict[Path, list[str]] = {}
    for page in pages:
        for link in links(page.read_text(encoding="utf-8")):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
            if not target.exists() or not target.is_relative_to(root.resolve()):
                wrong.append(f"{page.relative_to(root)}: {link} leads to no file")
            elif parts.fragment and target.suffix == ".md":
                if target not in known:
                    known[target] = anchors(target.read_text(encoding="utf-8"))
                if parts.fragment not in known[target]:
                    wrong.append(f"{page.relative_to(root)}: {link} leads to no heading")
    return wrong


# --- the built site ---

_LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src", "object": "data"}
#: kinds of <link> for which a browser fetches nothing
_ONLY_NAMES = frozenset({"canonical", "prev", "next", "alternate", "author", "license"})


class _Page(HTMLParser):
    """What a page has and wants: ids, links, and what a browser loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.ids |= {said[name] for name in ("id", "name") if said.get(name)}
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        loaded = said.get(_LOADS.get(tag, ""), "")
        if loaded and not (tag == "link" and said.get("rel", "") in _ONLY_NAMES):
            self.loads.append(loaded)


def broken_in_site(site: Path) -> list[str]:
    """Links of built pages that lead to no file or no id, and everything that would be fetched from elsewhere."""
    pages = {path.resolve(): _read(path) for path in sorted(site.rglob("*.html"))}
    wrong = []
    for path, page in pages.items():
        shown = path.relative_to(site.resolve())
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    wrong.append(f"{shown}: {link} is loaded from elsewhere")
                continue
            # The page for what is not found is shown at any address, and names its own from the root.
            target = (site / parts.path.lstrip("/") if link.startswith("/") else path.parent / unquote(parts.path)).resolve()
            target = path if not parts.path else target / "index.html" if target.is_dir() else target
            if not target.is_file():
                wrong.append(f"{shown}: {link} leads to no file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids | {"__skip"}:
                wrong.append(f"{shown}: {link} leads to no anchor")
    return wrong


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def main() -> int:
    """Check the site in the folder that is named."""
    site = Path(sys.argv[1])
    wrong = broken_in_site(site)
    print("\n".join(wrong) or f"{site}: every link of {len(list(site.rglob('*.html')))} pages leads somewhere")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
