import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest

from layerwise._util.json_checks import whole
from layerwise.store.json_object import JsonObject, WrongEntryError
from layerwise.store.layout import KINDS
from layerwise.store.manifest import EncoderSettings, Manifest
from layerwise.store.records import ShardFiles, ShardRecord
from stored import SETTINGS, make


@dataclass(frozen=True, kw_only=True)
class Inner(JsonObject):
    closed: ClassVar[bool] = True
    number: Annotated[int, whole(1, 9)]
    name: str | None


@dataclass(frozen=True, kw_only=True)
class Outer(JsonObject):
    share: float
    flag: bool
    inner: Inner
    several: tuple[Inner, ...]
    named: Mapping[str, Inner]
    names: str | tuple[str, ...] | None
    extra: Inner | None = None


INNER = {"number": 3, "name": None}
VALUE: dict[str, Any] = {
    "share": 0.5,
    "flag": True,
    "inner": INNER,
    "several": [INNER, {"number": 1, "name": "a"}],
    "named": {"x": INNER},
    "names": ["a", "b"],
}


def test_what_is_read_is_typed_and_written_back() -> None:
    outer = Outer.from_json(VALUE)
    assert outer.several[1] == Inner(number=1, name="a")
    assert (outer.names, outer.extra) == (("a", "b"), None)
    assert outer.to_json() == VALUE
    assert "extra" not in outer.to_json(), "an optional entry that is missing stays missing"
    assert Outer.from_json(VALUE | {"extra": INNER}).to_json()["extra"] == INNER


def test_entries_of_unknown_names_are_kept() -> None:
    outer = Outer.from_json(VALUE | {"newer": {"deep": [1]}, "others": 2})
    assert outer != Outer.from_json(VALUE)
    written = replace(outer, flag=False).to_json()
    assert written == VALUE | {"newer": {"deep": [1]}, "others": 2, "flag": False}
    written["newer"]["deep"].append(2)
    assert outer.to_json()["newer"] == {"deep": [1]}, "what is handed out is a copy"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"share": "1"}, "share is '1'"),
        ({"share": float("nan")}, "share is nan"),
        ({"share": True}, "share is True"),
        ({"flag": 1}, "flag is 1"),
        ({"inner": None}, "inner is None"),
        ({"inner": {"number": 3}}, "inner.name is None"),
        ({"inner": {"number": 10, "name": None}}, "inner.number is 10"),
        ({"inner": INNER | {"newer": 1}}, "inner.newer is 1"),
        ({"several": INNER}, "several is {"),
        ({"several": [INNER, []]}, r"several.1 is \[\]"),
        ({"named": [INNER]}, r"named is \[\{"),
        ({"named": {"x": {"number": 0, "name": ""}}}, "named.x.number is 0"),
        ({"names": ["a", 1]}, r"names is \['a', 1\]"),
        ({"extra": 0}, "extra is 0"),
    ],
)
def test_the_first_wrong_entry_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(WrongEntryError, match=f"^{says}"):
        Outer.from_json(VALUE | changes)


def test_an_entry_without_a_default_may_not_be_missing() -> None:
    for name in VALUE:
        with pytest.raises(WrongEntryError, match=f"^{name} is None"):
            Outer.from_json({key: value for key, value in VALUE.items() if key != name})
    with pytest.raises(WrongEntryError, match=r"^it is \[\]"):
        Outer.from_json([])


def test_a_part_has_the_fields_of_a_base_class() -> None:
    part = SETTINGS.part(EncoderSettings)
    assert type(part) is EncoderSettings
    assert part.to_json().items() <= SETTINGS.to_json().items()


def test_manifest_and_records_survive_reading_and_writing(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d")
    value = json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert Manifest.from_json(value) == dataset.manifest
    assert dataset.manifest.to_json() == value
    for record in dataset.shards:
        assert ShardRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert {item.name for item in fields(ShardFiles)} - {"others"} == set(KINDS)
