"""`python -m authgate` is `authgate`."""

from authgate.cli import main

if __name__ == "__main__":
    main()
