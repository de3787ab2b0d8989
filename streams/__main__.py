"""``python -m streams`` is ``hoso``."""

from streams.cli import main

if __name__ == "__main__":
    main()
