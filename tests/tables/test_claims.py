"""Claims are read from a table's file, and a wrong one is named with its field."""

import pytest

from objadapt.errors import InputError
from objadapt.tables.claims import Claim, parse_claims

CHAIN = Claim("a beats b, which beats c", "better", ("a", "b", "c"))
RIGHT = {"text": "sparse", "kind": "within", "rows": ["a", "b"], "points": 2}


def test_claims_are_read_from_a_table():
    peak = {"text": "peak", "kind": "peak", "rows": ["a", "b", "c"]}
    chain = {"text": CHAIN.text, "kind": "better", "rows": ["a", "b", "c"]}
    expected = [Claim("peak", "peak", ("a", "b", "c")), CHAIN, Claim("sparse", "within", ("a", "b"), 2.0)]
    assert parse_claims([peak, chain, RIGHT], ["a", "b", "c"], "losses.yaml") == expected
    assert parse_claims([], ["a"], "losses.yaml") == []


WRONG = [  # a change of RIGHT, the field that is named, and what is said
    *(({"text": bad}, ".text: missing") for bad in (None, " ", 3)),
    ({"margin": 2}, " 'sparse': unknown key 'margin'; known keys are text, kind, metric, rows, points"),
    ({3: 2}, " 'sparse': unknown key 3"),
    ({"kind": None}, " 'sparse': kind: None is not one of better, within, peak, above"),
    ({"kind": "worse"}, " 'sparse': kind: 'worse' is not one of"),
    ({"kind": ["better"]}, " 'sparse': kind: ['better'] is not one of"),
    ({"rows": None}, " 'sparse': rows: must be a list of rows"),
    ({"rows": "ab"}, " 'sparse': rows: must be a list of rows of the table, not 'ab'"),
    ({"rows": ["a", "d"]}, " 'sparse': rows: no row 'd' in the table; its rows are 'a', 'b', 'c', '4'"),
    ({"rows": ["a", 4]}, " 'sparse': rows: no row 4 in the table"),
    ({"rows": ["a", ["b"]]}, " 'sparse': rows: no row ['b'] in the table"),
    ({"rows": ["a", "a"]}, " 'sparse': rows: 'a' stands twice"),
    ({"rows": ["a"]}, " 'sparse': rows: within needs at least 2 rows, not 1"),
    ({"rows": ["a", "b", "c"]}, " 'sparse': rows: within compares two rows, not 3"),
    ({"kind": "better", "rows": ["a"]}, " 'sparse': rows: better needs at least 2 rows, not 1"),
    ({"kind": "peak"}, " 'sparse': rows: peak needs at least 3 rows, not 2"),
    ({"kind": "better"}, " 'sparse': points: only kind within has a margin"),
    *(
        ({"points": bad}, f" 'sparse': points: {bad!r} is no margin")
        for bad in (None, "2", True, 0, -2, 100, float("nan"))
    ),
]


@pytest.mark.parametrize("change, message", WRONG)
def test_a_wrong_claim_is_named_with_its_field(change, message):
    wrong = {key: value for key, value in (RIGHT | change).items() if value is not None}  # None: the key is not there
    with pytest.raises(InputError) as error:
        parse_claims([RIGHT, wrong], ["a", "b", "c", "4"], "losses.yaml")
    assert str(error.value).startswith(f"losses.yaml: claims[1]{message}") and "\n" not in str(error.value)


@pytest.mark.parametrize("entries", [None, {"text": "a"}, "a beats b", ["a beats b"], [None]])
def test_claims_of_another_form(entries):
    with pytest.raises(InputError, match=r"^losses\.yaml: claims(: must be a list|\[0\]: must be a mapping)"):
        parse_claims(entries, ["a", "b"], "losses.yaml")
