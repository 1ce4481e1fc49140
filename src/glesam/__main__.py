"""`python -m glesam`."""

from glesam.cli import main

if __name__ == "__main__":
    main()
