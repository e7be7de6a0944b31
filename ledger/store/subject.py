"""The chart of accounts: subjects, and which kinds of accounts are kept under each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto

from ledger.model import AccountKind
from mesh.db import Database


class SubjectClass(StrEnum):
    """What a subject is 科目类别. Mirrors `SubjectClass` in the contract."""

    ASSET = auto()
    LIABILITY = auto()
    COMMON = auto()
    EQUITY = auto()
    COST = auto()
    PROFIT_LOSS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A subject of the chart. `normal` is 1 when credits make its balance more, -1 when debits
    do. `parent_code` is empty at the top."""

    code: str
    parent_code: str
    name: str
    name_zh: str
    kind: SubjectClass
    normal: int
    gl_code: str


async def list_subjects(db: Database) -> Sequence[Subject]:
    """Return all subjects, by code: each parent before its children."""
    return [
        Subject(
            code=row.code,
            parent_code=row.parent_code,
            name=row.name,
            name_zh=row.name_zh,
            kind=SubjectClass(row.class_name),
            normal=row.normal,
            gl_code=row.gl_code,
        )
        for row in await db.rows(_SUBJECTS)
    ]


async def subjects_of_kinds(db: Database) -> Mapping[AccountKind, str]:
    """Return under which subject, by code, the accounts of a kind are kept."""
    return {AccountKind(row.kind): row.subject_code for row in await db.rows(_KINDS)}


# By the letters of the code in any collation: digits alone.
_SUBJECTS = """
SELECT code, coalesce(parent_code, '') AS parent_code, name, name_zh, class AS class_name,
       normal, gl_code
FROM subject ORDER BY code COLLATE "C"
"""

_KINDS = "SELECT kind, subject_code FROM kind_subject ORDER BY subject_code, kind"
