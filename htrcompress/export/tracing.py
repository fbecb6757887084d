"""From a PyTorch module to an ONNX graph that holds no trace of the machine: exported quietly, nodes renamed."""

import ast
import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from htrcompress.export.graph import require_onnx
from htrcompress.export.graph_passes import reorder_gelu

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
"""Old enough for every runtime in use, and the one that PyTorch's exporter writes without a conversion."""


def trace_module(
    module: nn.Module,
    given: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    free_axes: Sequence[Sequence[int]],
    name_of: Callable[[list[str]], str],
) -> "ModelProto":
    """A module as an ONNX graph; takes several seconds, whatever the size of the module.

    Args:
        module: in evaluation mode.
        given: inputs to trace it with.
        inputs, outputs: what to call the inputs and outputs of the graph.
        free_axes: of each input, the axes that may have any size.
        name_of: the first part of a node's name, from the names of the modules that it is in, the outermost first.

    Raises:
        Unavailable: onnx or onnxscript is not installed.
    """
    require_onnx()
    dynamic: Any = torch.export.Dim.DYNAMIC
    with quiet():
        program = torch.onnx.export(
            module,
            given,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple(dict.fromkeys(axes, dynamic) for axes in free_axes),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None only for an export straight to a file
    proto = program.model_proto
    _rename_nodes(proto, name_of)
    reorder_gelu(proto)
    return proto


def _rename_nodes(proto: "ModelProto", name_of: Callable[[list[str]], str]) -> None:
    """Names nodes after their modules, and drops the exporter's notes, which hold source paths."""
    for number, node in enumerate(proto.graph.node):
        if node.op_type == "Clip" and len(node.input) == 2:
            node.op_type = "Max"  # equivalent; OpenVINO turns integers into zeros in a Clip without a maximum
        notes = {p.key: p.value for p in node.metadata_props}
        scopes = ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "['network', '']"))
        node.name = f"{name_of(scopes)}/{node.op_type}_{number}"
        del node.metadata_props[:]
        node.ClearField("doc_string")
    inner = proto.graph
    del inner.value_info[:]
    for value in (*inner.input, *inner.output, *inner.initializer, inner):
        del value.metadata_props[:]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the exporter's progress notes; its errors are exceptions and still pass."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
