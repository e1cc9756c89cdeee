"""What mkdocs.yml cannot say: the pages beside docs/, the list of the rules, and anchors as GitHub makes them.

mkdocs calls these functions by their names (`make site`); nothing else imports them.
"""

from __future__ import annotations

import os.path
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File
from pymdownx.slugs import slugify

#: of the repository's root, pages of the site as they are
_PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
#: the same, as files
_FILES = ("systemd/sentinel.service", "prometheus/alerts.yml", "prometheus/dashboard.json")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s#]+)(#[^()\s]*)?\)")
_CODE = re.compile(r"(^ *```.*?^ *```$|^(?: {4}|\t)[^\n]*$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> Any:
    """Fill in the rules, and make anchors as GitHub does."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    names = sorted(path.stem for path in Path(config.docs_dir, "rules").glob("*.md"))
    for part in config.nav:
        for entries in part.values():
            for entry in entries if isinstance(entries, list) else []:
                if "Rules" in entry:
                    entry["Rules"] = [{name: f"rules/{name}.md"} for name in names]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and files that lie beside docs/."""
    root = Path(config.config_file_path).parent
    for name in (*_PAGES, *_FILES):
        files.append(File.generated(config, name, abs_src_path=str(root / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to what is beside docs/: to its copy in the site, or the path as a text where it has none."""
    root = Path(config.config_file_path).parent
    here = Path(page.file.abs_src_path).parent
    inside = {os.path.realpath(file.abs_src_path): file.src_uri for file in files if file.abs_src_path}

    def changed(match: re.Match[str]) -> str:
        picture, text, path, anchor = match.groups()
        target = os.path.realpath(here / path)
        if "://" in path or not Path(target).exists():
            return match.group()
        if target in inside:
            return f"{picture}[{text}]({posixpath.relpath(inside[target], posixpath.dirname(page.file.src_uri))}{anchor or ''})"
        return f"{text} (`{os.path.relpath(target, root)}` in the source)"

    parts = _CODE.split(markdown)
    return "".join(part if number % 2 else _LINK.sub(changed, part) for number, part in enumerate(parts))
