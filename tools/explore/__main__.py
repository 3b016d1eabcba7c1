"""Search the scenarios that are named, or all of them."""

import sys

from tools.explore.search import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
