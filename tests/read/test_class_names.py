"""Integer classes get the names of the file's own metadata, or those of the option `classes`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from layerwise.errors import RequestError, SourceError
from layerwise.read import Corpus, open_corpus
from layerwise.schema import Carried, Coverage, texts_table

LABEL = {"names": ["neg", "pos"], "_type": "ClassLabel"}
TAGS = {"names": ["O", "B-LOC"], "_type": "ClassLabel"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, content: str) -> str:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(content, encoding="utf-8")
    return name


def described(columns: dict[str, Any], features: Any) -> pa.Table:
    table = pa.table(columns)
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def labels(corpus: Corpus, name: str = "label") -> list[Any]:
    return [{**e.columns, **e.word_columns}[name] for e in corpus]


def write(table: pa.Table, name: str) -> str:
    if name.endswith(".parquet"):
        pq.write_table(table, name)
    else:
        with (pa.ipc.new_stream if name == "s.arrow" else pa.ipc.new_file)(name, table.schema) as writer:
            writer.write_table(table)
    return name


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "s.arrow", "a.feather"])
def test_names_of_the_metadata(name: str) -> None:
    table = described(
        {"text": ["a", "b", "c"], "label": [1, 0, -1], "n": [1, 2, 3]},
        {"label": LABEL, "n": {"dtype": "int64"}},
    )
    corpus = open_corpus(write(table, name))
    assert labels(corpus) == ["pos", "neg", None]
    assert labels(corpus, "n") == [1, 2, 3]
    assert corpus.types == {"label": pa.string(), "n": pa.int64()}
    stored = texts_table(
        list(corpus), [Coverage(0, 0, 0, 0)] * 3, 0, "text", Carried(corpus.types, False, ())
    )
    assert stored["label"].to_pylist() == ["pos", "neg", None]
    assert labels(open_corpus(table)) == ["pos", "neg", None]
    assert labels(open_corpus(name, classes="bad,good")) == ["good", "bad", None]


@pytest.mark.parametrize(
    "feature", [{"feature": TAGS, "_type": "Sequence"}, {"feature": TAGS, "_type": "List"}, [TAGS]]
)
def test_names_of_lists(feature: Any) -> None:
    table = described({"w": [["in", "Bonn"], ["a"]], "tags": [[0, 1], [0]]}, {"tags": feature})
    corpus = open_corpus(write(table, "a.parquet"), words="w")
    assert [e.word_columns["tags"] for e in corpus] == [("O", "B-LOC"), ("O",)]
    assert corpus.types["tags"] == pa.list_(pa.string())


def test_names_beside_a_saved_dataset() -> None:
    table = pa.table({"text": ["a", "b"], "label": [1, 0]})
    Path("saved").mkdir()
    write(table, "saved/data.arrow")
    put("saved/state.json", json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    put("saved/dataset_info.json", json.dumps({"features": {"label": LABEL}}))
    assert labels(open_corpus("saved")) == ["pos", "neg"]


def test_names_of_an_object_with_features() -> None:
    class ClassLabel:
        names = ("neg", "pos")

    class Dataset:
        def __init__(self) -> None:
            self.features = {"text": object(), "label": ClassLabel()}

        def with_format(self, _: str) -> "Dataset":
            return self

        def __getitem__(self, key: slice) -> pa.Table:
            return self.table[key]

        def iter(self, batch_size: int) -> list[pa.Table]:
            assert batch_size
            return [self.table]

        table = pa.table({"text": ["a", "b"], "label": [1, 0]})

    assert labels(open_corpus(Dataset())) == ["pos", "neg"]


def test_names_of_an_iterable_with_features() -> None:
    class IterableDataset:
        def __init__(self) -> None:
            self.features = {"text": object(), "label": LABEL}

        def __iter__(self) -> Iterator[dict[str, Any]]:
            return iter([{"text": "a", "label": 1}, {"text": "b", "label": 0}])

    assert labels(open_corpus(IterableDataset())) == ["pos", "neg"]


@pytest.mark.parametrize(
    "metadata", [b"{", b"[]", b'{"info": 3}', b'{"info": {"features": [1]}}', b"[" * 99_999]
)
def test_other_metadata_is_ignored(metadata: bytes) -> None:
    table = pa.table({"text": ["a"], "label": [1]}).replace_schema_metadata({"huggingface": metadata})
    assert labels(open_corpus(write(table, "a.parquet"))) == [1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "k,text,label\n7,a,1\n8,b,0\n9,c,\n"),
        ("b.csv", "text,label\na,1.0\nb,0.0\nc,\n"),
        (
            "a.jsonl",
            '{"text": "a", "n": 4, "label": 1}\n{"text": "b", "n": 5, "label": 0}\n{"text": "c", "n": 5, "label": null}\n',
        ),
        ("c.csv", "text,what\na,1\nb,0\nc,\n"),
    ],
)
def test_the_option_names_them(name: str, content: str) -> None:
    column = "what" if name == "c.csv" else "label"
    corpus = open_corpus(put(name, content), classes=["neg", "pos"])
    assert labels(corpus, column)[:2] == labels(corpus, column)[:2] == ["pos", "neg"]
    assert labels(corpus, column)[2] in (None, "")
    assert corpus.further_options == {"classes": ("neg", "pos")}


def test_the_option_with_types_and_lists() -> None:
    table = pa.table({"w": [["in", "Bonn"]], "ner_tags": [[0, 1]], "n": [3]})
    corpus = open_corpus(write(table, "a.parquet"), words="w", classes="O,B-LOC")
    assert labels(corpus, "ner_tags") == [("O", "B-LOC")]
    assert corpus.types["ner_tags"] == pa.list_(pa.string())
    assert labels(open_corpus("a.parquet", words="w", classes="n=a,b,c,d"), "n") == ["d"]
    floats = pa.table({"text": ["a", "b"], "label": pa.array([1.0, None])})
    assert labels(open_corpus(write(floats, "b.parquet"), classes="x,y")) == ["y", None]


def test_what_the_option_cant_name() -> None:
    name = put("a.csv", "text,a,b\nx,1,2\n")
    with pytest.raises(
        RequestError,
        match=r"classes doesn't tell which column .* \('a', 'b' hold numbers\); .*classes='a=x,y'",
    ):
        list(open_corpus(name, classes="x,y"))
    assert labels(open_corpus(name, classes="b=x,y,z"), "b") == ["z"]
    with pytest.raises(
        SourceError, match=r"line 2: column 'b' holds '2' and its classes are the numbers 0 to 1 \('x', 'y'\)"
    ):
        list(open_corpus(name, classes="b=x,y"))
    with pytest.raises(RequestError, match="no column holds numbers of classes"):
        open_corpus(write(pa.table({"text": ["a"], "label": ["b"]}), "a.parquet"), classes="x,y")
    with pytest.raises(RequestError, match="classes doesn't fit format 'txt'"):
        open_corpus(put("a.txt", "x\n"), classes="x,y")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("lable=neg,pos", "names the classes of column 'lable', and the columns are 'label'"),
        ("neg,pos,neg", "holds 'neg' twice, and each class needs a name of its own"),
        ("label=neg,,pos", "holds a blank name"),
    ],
)
def test_names_that_would_be_wrong_in_silence(classes: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        list(open_corpus(put("a.csv", "text,label\na,0\nb,1\n"), classes=classes))


@pytest.mark.parametrize("first", ["x", "0.5", "True"])
def test_labels_that_are_no_numbers_keep_no_name_in_silence(first: str) -> None:
    name = put("a.csv", f"text,label\na,{first}\nb,1\nc,0\n")
    with pytest.raises(RequestError, match="no column holds numbers of classes"):
        list(open_corpus(name, classes="neg,pos"))
    with pytest.raises(SourceError, match=f"line 2: column 'label' holds '{first}'"):
        list(open_corpus(name, classes="label=neg,pos"))


def test_names_without_any_number_are_told() -> None:
    corpus = open_corpus(put("a.csv", "text,what\na,x\nb,y\n"), classes="neg,pos")
    assert labels(corpus, "what") == labels(corpus, "what") == ["x", "y"]
    assert corpus.notices == ["classes isn't applied: no column holds numbers of classes"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_missing_classes_are_told(name: str) -> None:
    if name == "a.csv":
        put(name, "text,label\na,-1\nb,0\nc,1\nd,-1\n")
    elif name == "a.jsonl":
        put(
            name,
            "".join(
                f'{{"text": "{t}", "label": {n}}}\n' for t, n in zip("abcd", [-1, 0, 1, -1], strict=True)
            ),
        )
    else:
        write(pa.table({"text": list("abcd"), "label": [-1, 0, 1, -1]}), name)
    corpus = open_corpus(name, classes="neg,pos")
    assert labels(corpus) == labels(corpus) == [None, "neg", "pos", None]
    assert corpus.notices == [
        "column 'label' holds -1 2 times, as `datasets` writes a missing class; it is read as missing"
    ]


def test_files_with_other_classes_are_refused() -> None:
    one = write(described({"text": ["a"], "label": [1]}, {"label": LABEL}), "a.parquet")
    two = write(
        described({"text": ["a"], "label": [1]}, {"label": {**LABEL, "names": ["pos", "neg"]}}), "b.parquet"
    )
    with pytest.raises(
        SourceError,
        match=r"b\.parquet: the classes of column 'label' are 'pos', 'neg', and a\.parquet has others",
    ):
        open_corpus([one, two])
