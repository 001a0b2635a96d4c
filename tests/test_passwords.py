"""No password in a URL is shown, whatever characters it holds; what is no password is left as it is."""

import string

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from objadapt.passwords import has_password, redact

PLAIN = (
    "http://host:5000",
    "sqlite:///a.db",
    "sqlite:////data/a@b:c/mlflow.db",
    "http://[::1]:5000/x@y",
    "no URL: ann@host",
)


def test_redact():
    assert redact("http://user:secret@host:5000/x") == "http://…@host:5000/x"
    assert redact("http://us@er:se@cret@host") == "http://…@host"
    assert redact("https://token@host/x") == "https://…@host/x"
    assert redact("postgresql://me:pa/ss@host/db") == "postgresql://…@host/db"
    assert redact("postgresql://me:12/34@host/db") == "postgresql://…@host/db"
    assert redact("postgresql://host/db?user=ann&password=se@cr/et&a=b") == "postgresql://host/db?user=…&password=…&a=b"
    assert redact("http://a:1@one and http://b:2@two do not answer") == "http://…@one and http://…@two do not answer"
    assert [redact(text) for text in PLAIN] == list(PLAIN)


@given(st.text(string.ascii_letters + string.digits + "/:?#[ .+%", min_size=1))
def test_what_sqlalchemy_takes_for_a_password_is_not_shown(password):
    url = f"postgresql://ann:<{password}>@host:5432/db"
    assert sqlalchemy.make_url(url).host == "host"  # so all before it is name and password
    assert redact(url) == "postgresql://…@host:5432/db"


@pytest.mark.parametrize(
    "url, has",
    [("s3://key:se/cr+et@bucket", True), ("ftp://:x@host", True), ("http://ann:1x@host:80", True)]
    + [(url, False) for url in ("sftp://ann@host/k400", "s3://bucket/a@b:c@d", "memory://host:80/a@b", *PLAIN)],
)
def test_a_name_a_port_and_an_at_sign_in_a_path_are_no_password(url, has):
    assert has_password(url) is has
