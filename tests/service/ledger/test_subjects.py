"""The chart of accounts: every kind of account has its subject, and both agree."""

import psycopg
import pytest

from ledger.flow.list_subjects import list_subjects
from ledger.model import NATURES, AccountKind
from ledger.store.subject import SubjectClass
from ledger.templates.funds import CLOSES
from tests.service.ledger.books import connect


@pytest.fixture
async def chart(desk):
    """Subjects by code, and the code of each kind."""
    subjects, kinds = await list_subjects(desk)
    return {subject.code: subject for subject in subjects}, kinds


def test_every_kind_has_a_subject_on_the_same_side(chart):
    """A day with a kind that has none would not close."""
    subjects, kinds = chart

    assert {*kinds} == {*AccountKind}
    assert {kind: subjects[code].normal for kind, code in kinds.items()} == {
        kind: nature.normal for kind, nature in NATURES.items()
    }


def test_accounts_are_kept_at_the_leaves_of_a_tree(chart):
    """Children follow their parent, are called after it, and are of its class and side."""
    subjects, kinds = chart
    parents = {subject.parent_code for subject in subjects.values()} - {""}

    assert [*subjects] == sorted(subjects)
    for subject in subjects.values():
        if subject.parent_code:
            parent = subjects[subject.parent_code]
            assert subject.code.startswith(parent.code)
            assert (subject.kind, subject.normal) == (parent.kind, parent.normal)
        assert [*SubjectClass].index(subject.kind) + 1 == int(subject.code[0])
    assert not parents & {*kinds.values()}
    assert {*subjects} - parents == {*kinds.values()}


def test_income_and_expenses_can_be_carried_into_profit(chart):
    """From either side, each kind under a subject of its own; closing a day knows the codes."""
    subjects, kinds = chart
    earning = {
        kind for kind, code in kinds.items() if subjects[code].kind is SubjectClass.PROFIT_LOSS
    }

    carried = []
    for template in CLOSES.values():
        [leg] = template.legs
        assert AccountKind.PROFIT in (leg.debit.kind, leg.credit.kind)
        assert template.opens
        assert 150 <= template.code <= 159 or 250 <= template.code <= 259
        carried.append(
            next(
                kind for kind in (leg.debit.kind, leg.credit.kind) if kind is not AccountKind.PROFIT
            )
        )
    assert sorted(carried) == sorted([*earning, *earning])
    assert len({kinds[kind] for kind in earning}) == len(earning)
    assert subjects[kinds[AccountKind.PROFIT]].kind is SubjectClass.EQUITY


@pytest.mark.parametrize(
    "row",
    [
        "('7001', NULL, 'asset')",
        "('2001', NULL, 'asset')",
        "('100301', '1002', 'asset')",
        "('100202', NULL, 'asset')",
    ],
)
def test_a_subject_is_called_after_its_class_and_parent(dsn, row):
    """The database refuses what is not."""
    with connect(dsn) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(f"""
            INSERT INTO subject (code, parent_code, class, normal, gl_code, name, name_zh)
            SELECT code, parent_code, class, -1, code || 'x', 'n', 'n'
            FROM (VALUES {row}) AS x (code, parent_code, class)
        """)
