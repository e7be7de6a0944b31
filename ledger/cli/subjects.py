"""`tongbao ledger subjects`: the chart of accounts 会计科目."""

from __future__ import annotations

from ledger.cli._ask import OPERATOR, As, as_data
from ledger.cli._days import ask_accounting
from mesh.cli.output import AsJson, Home, show, table
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def subjects(*, as_name: As = OPERATOR, home: Home = None, as_json: AsJson = False) -> int:
    """List the chart of accounts, and which kinds of accounts each subject holds.

    Exit codes: 0 listed; 1 nothing answers.

    Parameters
    ----------
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    answer = ask_accounting("ListSubjects", pb.ListSubjectsRequest(), home=home, as_name=as_name)
    rows = [["subject", "name", "", "class", "normal", "general ledger", "kinds of accounts"]]
    for one in answer.subjects:
        subject_class = getattr(one, "class")  # No name that Python would take.
        rows.append(
            [
                one.code,
                one.name,
                one.name_zh,
                pb.SubjectClass.Name(subject_class).removeprefix("SUBJECT_CLASS_").lower(),
                pb.NormalSide.Name(one.normal_side).removeprefix("NORMAL_SIDE_").lower(),
                one.gl_code,
                ", ".join(kind.lower() for kind in one.kinds),
            ]
        )
    show(table(rows), as_data(answer), as_json=as_json)
    return 0
