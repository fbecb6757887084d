"""How `fuzz.py` damages models so that the file stays one: its card and header, and an ONNX graph that lies."""

import random
from collections.abc import Callable

SIZES = (0, -1, 1, 7, 65_536, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63))
ELSEWHERE = ("/etc/passwd", "../../etc/passwd", "/dev/zero", "b.onnx", "", "x" * 5000)
OPERATORS = ("Loop", "If", "Scan", "Expand", "Tile", "Range", "ConstantOfShape", "Resize", "Pad", "Gather", "Reshape")

Change = Callable[[random.Random, bytes], bytes]


def header(draw: random.Random, data: bytes, change: Change) -> bytes:
    """Changes the header of a safetensors file, card included, and states its length as it then is."""
    end = 8 + int.from_bytes(data[:8], "little")
    text = change(draw, data[8:end])
    return len(text).to_bytes(8, "little") + text + data[end:]


def graph(draw: random.Random, data: bytes, change: Change) -> bytes:
    """Changes the card, a node, or a weight's shape, type or place of an ONNX graph."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        return change(draw, data)
    if not (model.graph.node and model.graph.initializer and model.metadata_props):
        return change(draw, data)
    node, weight, entry = (
        draw.choice(list(some)) for some in (model.graph.node, model.graph.initializer, model.metadata_props)
    )
    what = draw.randrange(7)
    if what == 0:
        entry.value = change(draw, entry.value.encode()).decode(errors="replace")
    elif what == 1:
        weight.dims[:] = [draw.choice(SIZES) if draw.random() < 0.5 else size for size in weight.dims] or [2]
    elif what == 2:
        weight.data_type = draw.randrange(24)
    elif what == 3:
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=draw.choice(ELSEWHERE))
    elif what == 4 and node.attribute:
        attribute = draw.choice(list(node.attribute))
        attribute.i = draw.choice(SIZES)
        attribute.ints[:] = [draw.choice((size, draw.choice(SIZES))) for size in attribute.ints]
    elif what == 5:
        node.op_type = draw.choice((*OPERATORS, *(other.op_type for other in model.graph.node)))
    elif node.input:
        names = [name for other in model.graph.node for name in (*other.output, *other.input)]
        node.input[draw.randrange(len(node.input))] = draw.choice(names)
    return model.SerializeToString()
