"""`python -m minimand` is the command line."""

from minimand.cli import main

if __name__ == "__main__":
    main()
