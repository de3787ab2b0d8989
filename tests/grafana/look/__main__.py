"""Draw dashboards by hand: python -m tests.grafana.look [options] [PAGE ...]

Records the past anew (about two minutes) unless ``--again``, draws the pages (``vi/nation``; all
of both languages if none is named) and says what cannot be read on them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from tests.grafana.dashboards import FILES, loaded, name
from tests.grafana.look import faults
from tests.grafana.look.past import MOMENTS, Past, record
from tests.grafana.look.viewer import DASHBOARDS, Shot, Viewer, missing

BUILD = Path("build") / "look"


def since(page: str) -> str:
    """The time range that the dashboard itself shows."""
    time: dict[str, str] = loaded(DASHBOARDS / f"{page}.json")["time"]
    return time["from"]


def past_of(home: Path, again: bool) -> Past:
    """What was recorded there, or is now."""
    if not again:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        record(home.absolute())
    return Past.kept(home.absolute())


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pages", nargs=-1)
@click.option("--moment", "moments", multiple=True, type=click.Choice([*MOMENTS]))
@click.option("--width", "widths", multiple=True, type=int, default=[1600], show_default=True)
@click.option("--since", "from_", metavar="TIME", help="now-90d, say.")
@click.option("--theme", type=click.Choice(["dark", "light"]), default="dark", show_default=True)
@click.option("--rows", type=click.Choice(["open", "closed"]), default="open", show_default=True)
@click.option("--again", is_flag=True, help="Of the past that was recorded last.")
@click.option("--dashboards", type=click.Path(path_type=Path), default=DASHBOARDS)
@click.option("--past", type=click.Path(path_type=Path), default=BUILD / "past")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=BUILD)
def main(
    pages: tuple[str, ...],
    moments: tuple[str, ...],
    widths: tuple[int, ...],
    from_: str | None,
    theme: str,
    rows: str,
    again: bool,
    dashboards: Path,
    past: Path,
    output: Path,
) -> None:
    """Draw dashboards with Grafana's UI library, into OUTPUT, as PNG and JSON."""
    if (lacking := missing()) is not None:
        raise click.ClickException(f"missing: {lacking}")
    kept = past_of(past, again)
    output.mkdir(parents=True, exist_ok=True)
    shots = []
    for page in pages or [name(file) for file in FILES]:
        for moment in moments or ["normal"]:
            for width in widths:
                words = (page.replace("/", "-"), moment.replace(" ", "-"), str(width))
                png = output.absolute() / f"{'-'.join(words)}.png"
                at = kept.moments[moment]
                shots.append(Shot(page, at, width, from_ or since(page), theme, rows, png))
    prometheus = kept.prometheus()
    try:
        with Viewer(prometheus.port, output / "viewer.log", dashboards) as viewer:
            drawn = viewer.draw(shots)
    finally:
        prometheus.stop()
    for one in drawn:
        assert one.shot.picture is not None
        report = {"said": one.said, "regions": one.regions, "panels": one.panels}
        text = json.dumps(report, ensure_ascii=False, indent=1)
        one.shot.picture.with_suffix(".json").write_text(text, encoding="utf-8")
        click.echo(one.shot.picture)
        for check in faults.CHECKS:
            for fault in check([one]):
                click.echo(f"  {check.__name__}: {fault.removeprefix(one.shot.name)}")


if __name__ == "__main__":
    main()
