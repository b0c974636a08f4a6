"""``python -m iomt_crypt``."""

from iomt_crypt.cli import main

if __name__ == "__main__":
    main()
