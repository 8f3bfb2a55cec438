"""`python -m bench`: the command line, as job processes start it."""

from bench.cli.main import main

if __name__ == "__main__":
    main()
