"""``python -m aperag_cli``: the command line where no script of it lies on the path."""

from aperag_cli.app import main

if __name__ == "__main__":
    main()
