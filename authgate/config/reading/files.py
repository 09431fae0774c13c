"""Reading the files that a configuration is, or names; bounded, and with the reason where it can't be done."""

from __future__ import annotations

from pathlib import Path

from authgate.config.models.fields import MAX_FILE_BYTES


def read_text(path: str | Path) -> str:
    """Return a file's text, without a byte order mark; raises ValueError with a sentence.

    At most 1 MiB is read, and the text must be UTF-8.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(
            f"can't be read: {error.strerror or type(error).__name__}{_hint(str(path))}"
        ) from None
    except ValueError:
        raise ValueError("can't be read: no file can have this name") from None
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"is larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: byte {error.start} can't be read; save it as UTF-8") from None


def _hint(path: str) -> str:
    return " (~ is not expanded here: write the whole path)" if path.startswith("~") else ""
