"""`python -m tpobench`."""

from tpobench.cli import main

if __name__ == "__main__":
    main()
