"""Read the names of variables from the object graph of a TensorFlow 2 checkpoint.

TensorFlow 2 stores a variable under the path of attributes that lead to it (its key), and beside it, in the tensor
`_CHECKPOINTABLE_OBJECT_GRAPH`, the name that it had in the model.

Source: TensorFlow, core/protobuf/trackable_object_graph.proto.
"""

from collections.abc import Iterator

from layerwise.encode.tensorflow.protobuf import content, read_fields

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def variable_names(graph: bytes) -> dict[str, str]:
    """Return the name that each variable had in the model, by its key.

    Raises:
        ValueError: no object graph.
    """
    try:
        return dict(_attributes(memoryview(graph)))
    except ValueError as error:
        raise ValueError(f"the tensor {OBJECT_GRAPH!r} is damaged: {error}") from None


def _attributes(graph: memoryview) -> Iterator[tuple[str, str]]:
    for number, node in read_fields(graph):
        if number != 1:
            continue
        for kind, attribute in read_fields(content(node)):
            if kind != 2:
                continue
            fields = {key: value for key, value in read_fields(content(attribute)) if key in (2, 3)}
            if len(fields) == 2:
                yield bytes(content(fields[3])).decode(), bytes(content(fields[2])).decode()
