"""Become another program, as another user, that dies when its parent dies.

Run by path in an isolated interpreter, so that the parent never forks its own memory: a
fork of a process with gRPC's threads may hang. Arguments: parent's pid, user id or -1, death
signal or 0, niceness, then the program and its arguments. Standard library only, and little
of it.
"""

import ctypes
import os
import sys
import time

PR_SET_PDEATHSIG = 1
_GROUP = "/proc/self/autogroup"
_TRIES, _PAUSE_S = 20, 0.1


def main() -> None:
    """Replace this process. Leaves with 126 and one line on stderr if it cannot."""
    parent, user, death_signal, niceness = (int(argument) for argument in sys.argv[1:5])
    program = sys.argv[5:]
    try:
        if niceness:
            give_way(niceness)
        if user >= 0:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        if death_signal and sys.platform == "linux":
            # After the change of user: the kernel forgets the wish when credentials change.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent:  # It died before we asked to be told.
                sys.exit(126)
        os.execv(program[0], program)  # noqa: S606  # No shell is what we want.
    except OSError as error:
        sys.stderr.write(f"launch: cannot run {program[0]} as user {user}: {error}\n")
        sys.exit(126)


def give_way(niceness: int) -> None:
    """Let others go first on the processors.

    Where Linux shares them out by session (sched(7), autogroup), niceness counts only inside one,
    and each program here has its own; so the session is told as well, where that is possible.
    """
    os.nice(niceness)
    for _ in range(_TRIES):
        try:
            with open(_GROUP, "w") as group:
                group.write(str(niceness))
            return
        except BlockingIOError:  # Ten in a second on the whole machine, for all but root.
            time.sleep(_PAUSE_S)
        except OSError:  # Not this kernel, or not in this container.
            return


if __name__ == "__main__":
    main()
