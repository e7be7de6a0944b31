"""Checkpoints: what was done to their lines is found, and what they say against a book."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.checkpoints import FIRST, Head, compare, digest_of, line_of, read

KEY = Ed25519PrivateKey.generate()


def head(number, book_id=1):
    return Head(book_id=book_id, block_no=number, hash=f"{number:064x}", acct_date="", time="now")


def file_of(*heads, key=KEY):
    lines, previous = [], FIRST
    for one in heads:
        lines.append(line_of(one, previous=previous, key=key))
        previous = digest_of(lines[-1])
    return lines


def problems(lines):
    heads, findings = read("\n".join(lines), book_id=1, key=KEY.public_key())
    return len(heads), [(one.place.split(" of ")[0], one.detail) for one in findings]


STRANGE, GAP = (
    "the ledger's key did not sign it",
    "the line before it is not the one that was there",
)


def test_a_file_that_nobody_touched_is_trusted():
    assert problems(file_of(head(1), head(5), head(9))) == (3, [])


def test_an_edited_line_is_found():
    """And the one behind it, which knows what stood there."""
    lines = file_of(head(1), head(5), head(9))
    lines[1] = lines[1].replace('"block_no":5', '"block_no":6')
    assert problems(lines) == (2, [("line 2", STRANGE), ("line 3", GAP)])


def test_a_line_by_another_key_is_found():
    lines = file_of(head(1))
    lines.append(line_of(head(5), previous=digest_of(lines[0]), key=Ed25519PrivateKey.generate()))
    assert problems(lines) == (1, [("line 2", STRANGE)])


def test_a_line_that_is_gone_is_found():
    lines = file_of(head(1), head(5), head(9))
    assert problems([lines[0], lines[2]]) == (2, [("line 2", GAP)])


def test_what_is_no_checkpoint_is_found():
    lines = [*file_of(head(1)), "{}", "[]", "nothing"]
    assert problems(lines)[1] == [(f"line {n}", "it is not a checkpoint") for n in (2, 3, 4)]


def test_a_checkpoint_of_another_book_is_found():
    assert problems(file_of(head(1, book_id=2))) == (0, [("line 1", "it is of book 2")])


def test_a_checkpoint_that_goes_back_is_found():
    assert problems(file_of(head(5), head(5)))[1] == [("line 2", "block 5 follows block 5")]


@pytest.mark.parametrize("page", [1, 2, 500])
def test_a_rewritten_and_cut_book_is_both(page):
    """The first block that differs, and where the book ends now."""

    def hashes(numbers):
        return 6, {n: f"{n if n < 5 else 0:064x}" for n in numbers if n <= 6}

    found = compare(1, [head(n) for n in (1, 4, 5, 6, 9)], hashes, page=page)
    assert [(one.check, one.place) for one in found] == [
        ("REWRITTEN", "blocks 5 to 5 of book 1"),
        ("CUT_TAIL", "blocks 7 to 9 of book 1"),
    ]
