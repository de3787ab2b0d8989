"""Write grafana/dashboards/{vi,en}/*.json."""

from __future__ import annotations

from grafana.src.catalogue import DIRECTORY, files


def main() -> None:
    written = files()
    for old in DIRECTORY.glob("*/*.json"):
        if old not in written:
            old.unlink()
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
