"""The page with which an HTTP server lists a folder: the names of the files and folders right in it."""

from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit


def links_of(page: bytes, folder: str) -> list[str]:
    """Names that an index page links to, decoded, each once; a folder's ends with a slash.

    Links to other servers, upwards, deeper, or with a query (columns to sort by) are passed over.

    Args:
        folder: URL of the page, with a slash at its end.
    """
    parser = _Links()
    parser.feed(page.decode(errors="replace"))
    own, names = urlsplit(folder), []
    for link in parser.links:
        try:
            whole = urlsplit(urljoin(folder, link))
        except ValueError:  # no URL at all
            continue
        path, above = unquote(whole.path), unquote(own.path)
        if (whole.scheme, whole.netloc) != (own.scheme, own.netloc) or whole.query or not path.startswith(above):
            continue
        name = path.removeprefix(above)
        if name.rstrip("/") and "/" not in name.rstrip("/") and name.rstrip("/") not in (".", ".."):
            names.append(name)
    return list(dict.fromkeys(names))


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]
