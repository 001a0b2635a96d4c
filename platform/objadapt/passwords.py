"""Passwords in URLs: told and taken out before anything is printed or written."""

import re

# user:password, or an S3 key and its secret (which may hold a slash); a user's name alone, or a port, is none
_PASSWORD = re.compile(r"://[^/\s:\[]*:(?!\d+(?:/|$))\S*@")
# fields of a query: as databases take them, and the signatures of URLs that are made for a while (S3, Google, Azure)
_SECRET_FIELD = re.compile(
    r"(?<=[?&;])((?:user|password|(?:x-(?:amz|goog)-)?(?:signature|credential|security-token)|awsaccesskeyid"
    r"|googleaccessid|sig|token|access_token|api_key))=[^&\s'\"]+",
    re.IGNORECASE,
)


def has_password(url: str) -> bool:
    """Whether a URL holds a password; a port and an @ in a path are none."""
    return _PASSWORD.search(url) is not None


def redact(text: str) -> str:
    """A text without the user names and passwords of the URLs in it; in doubt, too much is taken out.

    A database's password may hold anything: SQLAlchemy takes what lies between the first colon and an @, slashes
    included.
    """
    text = _SECRET_FIELD.sub(r"\1=…", text)
    text = re.sub(r"://[^/\s:\[]*:[^@]*\S*@", "://…@", text)
    return re.sub(r"://[^/\s]*@", "://…@", text)  # a name alone, which may be a token
