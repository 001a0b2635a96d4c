"""A Markdown article as sentences, and as a page of HTML with pictures behind some of them."""

import html
import os
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from objadapt.errors import InputError

MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")  # raw HTML is text
# behind a full stop, but for a word in small letters behind it and some abbreviations
SHORT = "".join(rf"(?<!\b{word}\.)" for word in ("Dr", "Mr", "Mrs", "Ms", "Prof", "Fig", "No", "St", "vs", "[A-Z]"))
ENDS = re.compile(rf"(?<=[.!?]){SHORT}\s++(?![a-z])")  # nothing ends behind an initial, as in J. Smith or the U.S. Army
WORD = re.compile(r"[^\W\d_]")
FRONT_MATTER = re.compile(r"\A---\r?\n.*?\n---[ \t]*(\r?\n|\Z)", re.DOTALL)
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ max-width: 40rem; margin: 2rem auto; padding: 0 1rem; font: 1.05rem/1.55 Georgia, serif; color: #222; }}
figure {{ margin: 1.2rem 0; }}
img {{ display: block; max-width: 100%; margin: 0 auto; }}
</style></head>
<body>
{body}</body>
</html>
"""


@dataclass
class Sentence:
    """A sentence of a paragraph: its words, and the Markdown tokens that it is of; `paragraph` is a token's number."""

    plain: str
    tokens: list[Token]
    paragraph: int


class Document:
    """An article. Sentences are those of paragraphs that stand in no list, quotation or table.

    A sentence never ends inside a link, code or emphasis, so what is cut there stays whole.

    Raises:
        InputError: without a sentence; begins with `source`.
    """

    def __init__(self, text: str, source: str):
        self._env: dict = {}
        self._tokens = MARKDOWN.parse(FRONT_MATTER.sub("", text), self._env)
        self.sentences: list[Sentence] = []
        for number, token in enumerate(self._tokens):
            if token.type == "paragraph_open" and token.level == 0:
                self.sentences += _sentences(self._tokens[number + 1].children or [], number)
        if not self.sentences:
            raise InputError(f"article: {source}: no sentence in a paragraph; there is nothing to illustrate")

    @staticmethod
    def read(path: Path) -> "Document":
        """Of a file.

        Raises:
            InputError: no such file, not UTF-8, or without a sentence.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise InputError(f"article: {path}: {reason}; give a Markdown file") from None
        return Document(text, str(path))

    def page(self, pictures: dict[int, str], title: str, source: Path, output: Path) -> str:
        """HTML that needs nothing but its pictures.

        Args:
            pictures: sentence -> address, each in a figure of its own behind the sentence.
            source, output: folders of the article and of the page; relative addresses of the article lead there still.
        """
        tokens: list[Token] = []
        skipped = -1
        for number, token in enumerate(deepcopy(self._tokens)):
            mine = [(n, one) for n, one in enumerate(self.sentences) if one.paragraph == number]
            if any(n in pictures for n, _ in mine):
                tokens += _illustrated(mine, pictures)
                skipped = number + 2  # the paragraph's content and its end
            elif number > skipped:
                tokens.append(token)
        for token in tokens:
            for child in token.children or ():
                _lead(child, source, output)
        body = MARKDOWN.renderer.render(tokens, MARKDOWN.options, self._env)
        return PAGE.format(title=html.escape(title), body=body)


def _sentences(children: list[Token], paragraph: int) -> Iterator[Sentence]:
    """Tokens of a paragraph, cut behind sentences where nothing is open; marks alone go with the words beside them."""
    parts: list[list[Token]] = [[]]
    for number, (child, depth) in enumerate(_with_depth(children)):
        if child.type in ("softbreak", "hardbreak") and depth == 0 and _ends(parts[-1], children[number + 1 :]):
            parts[-1] += [child] * (child.type == "hardbreak")
            parts.append([])
        elif child.type == "text" and depth == 0:
            behind = _plain(children[number + 1 : number + 3])[:1]  # also the first sign of what is emphasised
            pieces = ENDS.split(child.content + behind)
            pieces[-1] = pieces[-1][: len(pieces[-1]) - len(behind)]
            for place, piece in enumerate(pieces):
                if place:
                    parts.append([])
                parts[-1].append(Token("text", "", 0, content=piece))
        else:
            parts[-1].append(child)
    found: list[list[Token]] = []
    for part in parts:
        if found and not (WORD.search(_plain(part)) and WORD.search(_plain(found[-1]))):
            found[-1] += [Token("text", "", 0, content=" "), *part]
        else:
            found.append(part)
    return (Sentence(plain, part, paragraph) for part in found if WORD.search(plain := _plain(part)))


def _ends(before: list[Token], behind: list[Token]) -> bool:
    """Whether a sentence ends at a line's end, between what stands before and behind it."""
    said = _plain(before)
    return ENDS.match(f"{said} {_plain(behind)[:1]}", len(said)) is not None


def _with_depth(children: list[Token]) -> Iterator[tuple[Token, int]]:
    """Each token with how many links and emphases are open around it."""
    depth = 0
    for child in children:
        yield child, depth
        depth += child.nesting


def _plain(tokens: list[Token]) -> str:
    """The words: without pictures, addresses and marks."""
    shown = {"softbreak": " ", "hardbreak": " "}
    words = [shown.get(one.type, one.content if one.type in ("text", "code_inline") else "") for one in tokens]
    return " ".join("".join(words).split())


def _illustrated(sentences: list[tuple[int, Sentence]], pictures: dict[int, str]) -> list[Token]:
    """The tokens of a paragraph that ends at each picture and goes on behind it."""
    tokens, waiting = [], []

    def end() -> None:
        if waiting:
            inline = Token("inline", "", 0, children=list(waiting), content="")
            tokens.extend(
                [Token("paragraph_open", "p", 1, block=True), inline, Token("paragraph_close", "p", -1, block=True)]
            )
            waiting.clear()

    for number, sentence in sentences:
        waiting += [Token("text", "", 0, content=" ")] * bool(waiting) + deepcopy(sentence.tokens)
        if number in pictures:
            end()
            address, told = html.escape(quote(pictures[number])), html.escape(sentence.plain)
            figure = f'<figure><img src="{address}" alt="{told}"></figure>\n'
            tokens.append(Token("html_block", "", 0, content=figure))
    end()
    return tokens


def _lead(token: Token, source: Path, output: Path) -> None:
    """Have a relative address of the article lead to where it led from there."""
    for key in ("src", "href"):
        address = token.attrGet(key)
        if isinstance(address, str) and address and not address.startswith(("/", "#")) and not urlsplit(address).scheme:
            path = urlsplit(address).path  # what stands behind it, ?query and #part, stays
            there = os.path.relpath(source.absolute() / unquote(path), output.absolute()) + "/" * path.endswith("/")
            token.attrSet(key, quote(there) + address[len(path) :])
