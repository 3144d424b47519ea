"""`python -m minimand` is the command line."""

from minimand.cli import main

main()
