"""Passwords in URLs: told and taken out before anything is printed or written."""

import re

# user:password, or an S3 key and its secret (which may hold a slash); a user's name alone, or a port, is none
_PASSWORD = re.compile(r"://[^/\s:\[]*:(?!\d+(?:/|$))\S*@")


def has_password(url: str) -> bool:
    """Whether a URL holds a password; a port and an @ in a path are none."""
    return _PASSWORD.search(url) is not None


def redact(text: str) -> str:
    """A text without the user names and passwords of the URLs in it; in doubt, too much is taken out.

    A database's password may hold anything: SQLAlchemy takes what lies between the first colon and an @, slashes
    included.
    """
    text = re.sub(r"(?<=[?&])(user|password)=[^&\s]+", r"\1=…", text)  # as databases take them, too
    text = re.sub(r"://[^/\s:\[]*:[^@]*\S*@", "://…@", text)
    return re.sub(r"://[^/\s]*@", "://…@", text)  # a name alone, which may be a token
