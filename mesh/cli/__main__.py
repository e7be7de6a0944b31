"""`python -m mesh.cli` is `tongbao`, for where the script is not on the path."""

import sys

from mesh.cli import main

if __name__ == "__main__":
    sys.exit(main())
