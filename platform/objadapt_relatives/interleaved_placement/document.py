"""A Markdown article as sentences, and with pictures behind some of them."""

import html
import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from objadapt.errors import InputError

MARKDOWN = MarkdownIt("commonmark", {"html": False})  # raw HTML is text
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ max-width: 40rem; margin: 2rem auto; padding: 0 1rem; font: 1.05rem/1.55 Georgia, serif; color: #222; }}
img {{ display: block; max-width: 100%; margin: 1.2rem auto; }}
</style></head>
<body>
{body}</body>
</html>
"""


@dataclass(frozen=True)
class Sentence:
    """A sentence of a paragraph: as it is written, and without Markdown's marks; `paragraph` counts from 0."""

    written: str
    plain: str
    paragraph: int


@dataclass(frozen=True)
class Document:
    """An article.

    Attributes:
        lines: of the file.
        paragraphs: (first line, line behind the last) of each paragraph that stands in no list and no quotation.
    """

    lines: list[str]
    paragraphs: list[tuple[int, int]]
    sentences: list[Sentence]

    @staticmethod
    def read(path: Path) -> "Document":
        """Of a file.

        Raises:
            InputError: no such file, not UTF-8, or without a sentence.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise InputError(f"article: {path}: {reason}; give a Markdown file") from None
        return Document.of(text, str(path))

    @staticmethod
    def of(text: str, source: str) -> "Document":
        """Of a text; `source` names it in errors."""
        lines = text.splitlines()
        opened = [one for one in MARKDOWN.parse(text) if one.type == "paragraph_open" and one.level == 0 and one.map]
        paragraphs = [(one.map[0], one.map[1]) for one in opened if one.map]
        sentences = []
        for number, (start, end) in enumerate(paragraphs):
            before = ""
            for piece in re.split(r"(?<=[.!?])\s+", " ".join(line.strip() for line in lines[start:end])):
                before = f"{before} {piece}".strip()
                if re.search(r"\w", plain := _plain(before)):  # marks alone go with the words behind them
                    sentences.append(Sentence(before, plain, number))
                    before = ""
            if before and sentences and sentences[-1].paragraph == number:
                last = sentences.pop()
                sentences.append(Sentence(f"{last.written} {before}", last.plain, number))
        if not sentences:
            raise InputError(f"article: {source}: no sentence in a paragraph; there is nothing to illustrate")
        return Document(lines, paragraphs, sentences)

    def illustrated(self, pictures: dict[int, str]) -> str:
        """The article as Markdown with pictures, sentence -> address, each in a paragraph of its own behind it."""
        found, at = [], 0
        for number, (start, end) in enumerate(self.paragraphs):
            mine = [n for n, one in enumerate(self.sentences) if one.paragraph == number]
            if not any(n in pictures for n in mine):
                continue
            found += self.lines[at:start]
            at = end
            written: list[str] = []
            for n in mine:
                written.append(self.sentences[n].written)
                if n in pictures:
                    told = re.sub(r"[\[\]\\]", "", self.sentences[n].plain)
                    found += [" ".join(written), "", f"![{told}]({pictures[n]})", ""]
                    written = []
            found += [" ".join(written)] if written else []
        return "\n".join([*found, *self.lines[at:]]).rstrip() + "\n"


def page(markdown: str, title: str) -> str:
    """A page of HTML that needs nothing but its pictures."""
    return PAGE.format(title=html.escape(title), body=MARKDOWN.render(markdown))


def _plain(written: str) -> str:
    """Without pictures, addresses of links and marks of emphasis."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", written)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[*_`]", "", text).strip()
