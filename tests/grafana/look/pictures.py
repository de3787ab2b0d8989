"""Draw the pictures in README.md and docs/dashboards.md: python -m tests.grafana.look.pictures

Each dashboard once, as one finds it, and one of them when a worker has died. ``--again`` draws the
past that was recorded last.
"""

from __future__ import annotations

from pathlib import Path

import click

from tests.grafana.look.__main__ import BUILD, past_of, since
from tests.grafana.look.viewer import Shot, Viewer, missing

DIRECTORY = Path(__file__).parents[3] / "docs" / "pictures"
WIDTH = 1280
_ALL, _TOP = 10_000, 900
PICTURES: dict[str, tuple[str, str, int]] = {
    "nation": ("vi/nation", "normal", _ALL),
    "ministries": ("vi/ministries", "normal", _ALL),
    "provinces": ("vi/provinces", "normal", _ALL),
    "agency": ("vi/agency", "normal", _ALL),
    "shortfalls": ("vi/shortfalls", "shortfalls", _ALL),
    "pipeline": ("vi/pipeline", "normal", _ALL),
    "nation-top": ("vi/nation", "normal", _TOP),
    "pipeline-worker-dead": ("en/pipeline", "worker dead", _TOP),
}
"""File → dashboard, moment and height."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--again", is_flag=True, help="Of the past that was recorded last.")
@click.option("--past", type=click.Path(path_type=Path), default=BUILD / "past")
def main(again: bool, past: Path) -> None:
    """Draw the pictures of README.md and docs/dashboards.md."""
    if (lacking := missing()) is not None:
        raise click.ClickException(f"missing: {lacking}")
    kept = past_of(past, again)
    DIRECTORY.mkdir(exist_ok=True)
    prometheus = kept.prometheus()
    try:
        with Viewer(prometheus.port, BUILD / "viewer.log") as viewer:
            viewer.draw(
                Shot(
                    page,
                    kept.moments[moment],
                    WIDTH,
                    since(page),
                    rows="closed",
                    picture=DIRECTORY / f"{file}.webp",
                    tall=tall,
                )
                for file, (page, moment, tall) in PICTURES.items()
            )
    finally:
        prometheus.stop()


if __name__ == "__main__":
    main()
