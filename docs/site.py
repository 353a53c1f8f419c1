"""What MkDocs does in addition: links from pages to files of the repository lead there."""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath

LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)(?=[)#])")


def on_page_markdown(markdown, *, page, config, **_):
    """Make links that leave the folder of the documentation links to the repository."""
    folder = PurePosixPath("docs", page.file.src_uri).parent

    def leads_to(match):
        path = normpath(folder / match[1])
        if path.startswith("docs/"):
            return match[1]
        kind = "tree" if Path(path).is_dir() else "blob"
        return f"{config['repo_url']}/{kind}/main/{path}"

    return LINK.sub(leads_to, markdown)
