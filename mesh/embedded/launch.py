"""Become another program, as another user, that dies when its parent dies.

Run by path in an isolated interpreter, so that the parent never forks its own memory: a
fork of a process with gRPC's threads may hang. Arguments: parent's pid, user id or -1, death
signal or 0, then the program and its arguments. Standard library only, and little of it.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process. Leaves with 126 and one line on stderr if it cannot."""
    parent, user, death_signal = (int(argument) for argument in sys.argv[1:4])
    program = sys.argv[4:]
    try:
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


if __name__ == "__main__":
    main()
