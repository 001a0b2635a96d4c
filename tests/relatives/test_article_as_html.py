"""An article as sentences and as HTML: no word is lost, nothing open is cut, raw HTML is text."""

import html
import re
from pathlib import Path

import pytest

from objadapt.errors import InputError
from objadapt_relatives.interleaved_placement.document import Document

ARTICLE = """# Shapes & grounds

The things on the ground. A large red circle at middle centre. Two objects near the background.

- A red star at middle centre. (lists are left alone)

The things in the picture. A large star at **middle** centre! One of the things. <script>alert(1)</script>
"""


def shown(text: str, pictures: dict[int, str], source: str = "in", output: str = "in") -> tuple[list[str], str]:
    """The sentences of a text, and the body of its page."""
    document = Document(text, "a.md")
    page = document.page(pictures, "a <b>", Path(source), Path(output))
    assert "<title>a &lt;b&gt;</title>" in page
    again = document.page(pictures, "a <b>", Path(source), Path(output))
    assert page == again, "a page changes nothing of the document"
    return [one.plain for one in document.sentences], page.partition("<body>\n")[2].partition("</body>")[0]


def words(body: str) -> list[str]:
    """What a page says, without its tags."""
    return html.unescape(re.sub(r"<[^>]*>", " ", body)).split()


def test_a_document_keeps_its_words_and_raw_html_is_text():
    sentences, plain = shown(ARTICLE, {})
    assert sentences[:3] == [
        "The things on the ground.",
        "A large red circle at middle centre.",
        "Two objects near the background.",
    ]
    assert not any("lists" in one or "Shapes" in one for one in sentences)
    assert "<script>" not in plain and "&lt;script&gt;" in plain
    _, body = shown(ARTICLE, {1: "pictures/01.png", 4: "pictures/02 x.png"})
    assert words(body) == words(plain), "no word is lost"
    at = body.index('<figure><img src="pictures/01.png" alt="A large red circle at middle centre."></figure>')
    assert body[:at].endswith("circle at middle centre.</p>\n") and "<p>Two objects near" in body[at:]
    assert '<img src="pictures/02%20x.png"' in body
    with pytest.raises(InputError, match="a.md: no sentence in a paragraph"):
        Document("# Title\n\n- one\n", "a.md")


HARD = [
    ("**One. Two.** Three. Four.", ["One. Two. Three.", "Four."]),  # nothing is cut where it is open
    ("**One.\nTwo.** Three.\nFour.", ["One. Two. Three.", "Four."]),  # not at the end of a line, either
    ("See [a. B](x) and `c. D` here. End.", ["See a. B and c. D here.", "End."]),
    ("It is e.g. a star. Dr. Who saw it.", ["It is e.g. a star.", "Dr. Who saw it."]),
    (
        "J. R. Smith of the U.S. Army met Prof. Lee. It rained.",
        ["J. R. Smith of the U.S. Army met Prof. Lee.", "It rained."],
    ),
    ("A star. - Two things. 2. The third.", ["A star.", "- Two things. 2.", "The third."]),
    ("A star. -- Two things. ...", ["A star.", "-- Two things. ..."]),
    ("One line.\nNext line.\\\nLast.", ["One line.", "Next line.", "Last."]),
    ("Page one.\x0c Page two.\n\n# Head. Two.\n\nA star.", ["Page one.", "Page two.", "A star."]),
    ("---\ntitle: x\n\na: b\n---\nA star.", ["A star."]),
    ("| a | b |\n|---|---|\n| one. | two |\n\nA star.\n\n> Said. So.", ["A star."]),
    ("![a. B](x.png) A star.", ["A star."]),
]


@pytest.mark.parametrize(("text", "expected"), HARD)
def test_sentences_of_odd_markdown(text, expected):
    """Whatever stands behind a picture stays what it was: no list, heading or code comes of it."""
    sentences, plain = shown(text, {})
    assert sentences == expected
    _, body = shown(text, {number: f"{number}.png" for number in range(len(sentences))})
    assert words(body) == words(plain) and body.count("<figure>") == len(sentences)
    for tag in ("<li", "<h", "<pre", "<blockquote", "<table", "<strong", "<a ", "<code", "<br"):
        assert body.count(tag) == plain.count(tag), tag


def test_addresses_of_the_article_still_lead_there(tmp_path):
    (tmp_path / "a.md").write_bytes(
        b"\xef\xbb\xbfA star ![x](fig%20s/a.png). See [b](b.md#c) and [d](http://e/f) and [g](#h)."
    )
    page = Document.read(tmp_path / "a.md").page({}, "a", tmp_path, tmp_path / "out" / "put")
    assert 'src="../../fig%20s/a.png"' in page and 'href="../../b.md#c"' in page
    assert 'href="http://e/f"' in page and 'href="#h"' in page and "\ufeff" not in page


def test_a_sentence_ends_at_a_line_s_end_as_it_does_within_a_line():
    for text in (
        "We saw cats, dogs etc.{}and then we left.",
        "See *Hello. World* and{}then go home.",
        "No etc.{}*and* so.",
    ):
        one, other = (shown(text.format(gap), {})[0] for gap in (" ", "\n"))
        assert one == other and len(one) == 1, text
    assert shown("It ends.\nAnother one begins.", {})[0] == ["It ends.", "Another one begins."]
    assert len(shown("Cats etc.  and dogs.", {})[0]) == 1, "two spaces are one"


def test_what_stands_behind_a_relative_address_stays_there():
    text = "See [notes](notes.html?a=1#part) and [all](sub/) here."
    body = shown(text, {}, "in", "out")[1]
    assert 'href="../in/notes.html?a=1#part"' in body and 'href="../in/sub/"' in body
