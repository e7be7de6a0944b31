"""The table from a provider's error codes to what they mean for money.

A code that is not in the table never means failure: it is UNKNOWN, and asked about.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from channel.adapters.spi import Blame, Operation, Outcome, Result, Retry


class OutcomeTable:
    """What each code means for each operation."""

    def __init__(self, verdicts: Mapping[tuple[Operation, str], Result]) -> None:
        self.verdicts = verdicts

    @classmethod
    def load(cls, path: Path) -> OutcomeTable:
        """Return the table in `path`. Raises ValueError for a rule that cannot be or is double.

        A rule has `operation`, `code`, `then` ("outcome/retry") and `blame`.
        """
        verdicts: dict[tuple[Operation, str], Result] = {}
        for rule in tomllib.loads(path.read_text("utf-8"))["rule"]:
            outcome, retry = rule.pop("then").split("/")
            key = Operation(rule.pop("operation")), rule.pop("code")
            blame = Blame(rule.pop("blame"))
            if key in verdicts or rule:
                raise ValueError(f"{path.name}: {key} is double, or unknown: {sorted(rule)}")
            verdicts[key] = Result(
                outcome=Outcome(outcome), retry=Retry(retry), blame=blame, code=key[1]
            )
        return cls(verdicts)

    def read(self, operation: Operation, *, code: str, message: str) -> Result:
        """Return what `code` means as the answer to `operation`."""
        known = self.verdicts.get((operation, code))
        if known is not None:
            return replace(known, message=message)
        return unknown(operation, blame=Blame.CHANNEL, code=code, message=message)


def unknown(operation: Operation, *, blame: Blame, code: str, message: str) -> Result:
    """Return that nobody can say: a question is asked again, anything else is asked about."""
    asks = operation in (Operation.QUERY, Operation.QUERY_REFUND)
    retry = Retry.SAME if asks else Retry.QUERY
    return Result(outcome=Outcome.UNKNOWN, retry=retry, blame=blame, code=code, message=message)
