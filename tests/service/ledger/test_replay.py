"""What entries come to, account by account: also where somebody forged them."""

from ledger.flow._replay import Replay
from ledger.store.proof import Slice


def slice_of(*turnover):
    return Slice(
        entries=len(turnover), before_hash=b"", last_hash=b"", broken_blocks=[],
        broken_vouchers=[],
        turnover=turnover, holds=[], reversals=[],
    )  # fmt: skip


def missing(replay):
    """Return account and sums of all that no account was compared with."""
    return [(one.place, one.detail.partition("come to ")[2]) for one in replay.missing_accounts()]


def test_accounts_that_are_none_are_told_with_what_they_moved():
    """Of ids that were given out, of later ones, of forged ones; zero on the whole as well."""
    replay = Replay(book_id=1, highest_id=3)
    for part in (slice_of((2, 5, 0), (10**15, 0, 5)), slice_of((2, 1, 7), (-4, 3, 0), (3, 0, 0))):
        replay.take(part, {})

    assert missing(replay) == [
        ("account 2", "debit 6 credit 7"),
        ("account 3", "debit 0 credit 0"),
        ("account -4", "debit 3 credit 0"),
        (f"account {10**15}", "debit 0 credit 5"),
    ]
    assert missing(replay) == []


def test_sums_beyond_64_bits_are_told_as_they_are():
    """Nobody can post so much; somebody may have written it into the journal."""
    replay = Replay(book_id=1, highest_id=3)
    huge = 9 * 10**18
    for _ in range(3):
        replay.take(slice_of((1, huge, 1)), {})

    assert missing(replay) == [("account 1", f"debit {3 * huge} credit 3")]
