"""List the subjects of the chart of accounts 科目."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger.desk import Desk
from ledger.model import AccountKind
from ledger.store import subject as store


async def list_subjects(
    desk: Desk,
) -> tuple[Sequence[store.Subject], Mapping[AccountKind, str]]:
    """Return all subjects by code, and under which of them each kind of account is kept."""
    return await store.list_subjects(desk.db), await store.subjects_of_kinds(desk.db)
