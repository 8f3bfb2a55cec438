"""The command line: `python bench.py --help`."""

from bench.cli.main import main

if __name__ == "__main__":
    main()
