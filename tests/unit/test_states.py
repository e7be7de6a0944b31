"""A state table is read the same way by the code and by the diagram."""

from enum import StrEnum, auto

import pytest

from mesh.states import Illegal, Machine


class State(StrEnum):
    """Where a lamp is."""

    OFF = auto()
    ON = auto()
    BROKEN = auto()


class Event(StrEnum):
    """What happens to a lamp."""

    SWITCH = auto()
    DROP = auto()


LAMP = Machine(
    "lamp",
    State.OFF,
    [
        (State.OFF, Event.SWITCH, State.ON),
        (State.ON, Event.SWITCH, State.OFF),
        (State.ON, Event.DROP, State.BROKEN),
    ],
)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_the_table_does_not_say_is_refused(state, event):
    """Every pair is either a row or an Illegal, and `allows` says which."""
    rows = {(source, happens): target for source, happens, target in LAMP.rows}

    if (state, event) in rows:
        assert LAMP.next(state, event) is rows[state, event]
        assert LAMP.allows(state, event)
    else:
        with pytest.raises(Illegal):
            LAMP.next(state, event)
        assert not LAMP.allows(state, event)


def test_states_without_a_way_out_are_final():
    """Only those."""
    assert LAMP.final == {State.BROKEN}


def test_two_rows_for_one_move_are_a_mistake():
    """A table that contradicts itself does not load."""
    row = (State.OFF, Event.SWITCH, State.ON)
    with pytest.raises(AssertionError, match="two rows"):
        Machine("lamp", State.OFF, [row, row])


def test_the_diagram_shows_every_row_once():
    """Start, rows and ends."""
    lines = LAMP.mermaid().splitlines()

    assert lines[:2] == ["stateDiagram-v2", "    [*] --> off"]
    assert lines[2:5] == [
        "    off --> on: switch",
        "    on --> off: switch",
        "    on --> broken: drop",
    ]
    assert lines[5:] == ["    broken --> [*]"]
