"""The words of the pages: all there in both languages, and none that no page says."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from schemas.decoder import Reason
from streams.api.pages import texts
from streams.api.pages.questions import SORTS
from streams.api.pages.texts import Words
from streams.domain.definitions import DEFINITIONS
from streams.domain.dossier import CHANNELS

PAGES = Path(texts.__file__).parent


def said() -> set[str]:
    """Every key that the code or a template names, or makes of a prefix."""
    sources = [*PAGES.glob("templates/*.html"), *PAGES.glob("*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources if path.name != "texts.py")
    text += (PAGES / "texts.py").read_text(encoding="utf-8").split("_TEXTS:")[0]
    return {*re.findall(r"[\"'](\w+)[\"']", text), *CHANNELS}


@pytest.mark.parametrize("key", texts._TEXTS)
def test_every_text_is_said_and_is_there_in_both_languages(key: str) -> None:
    vi, en = texts._TEXTS[key]
    assert vi
    assert en
    fields = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in (vi, en)]
    assert fields[0] == fields[1]
    prefixes = ("reason", "period", "definition", "source", "sort", "level", "error")
    prefixes += ("listed", "used", "all")
    named = said()
    made = key.split("_")[0] in prefixes and f"{key.split('_')[0]}_" in named | {
        f"{prefix}_" for prefix in ("listed", "used", "all", "error")
    }
    assert key in named or key.removesuffix("_tag") in named or made


def test_every_reason_definition_and_order_has_its_words() -> None:
    for language in ("vi", "en"):
        words = Words("vi" if language == "vi" else "en")
        for key in (
            *(f"reason_{reason.value}" for reason in Reason),
            *(f"definition_{name}" for name in DEFINITIONS),
            *(f"source_{name}" for name in DEFINITIONS),
            *(f"sort_{name}" for names in SORTS.values() for name in names),
        ):
            assert words(key)
        for definition in DEFINITIONS.values():
            for indicator in ("services_with_dossiers", "online_processed"):
                assert all(words.counted(indicator, definition))
