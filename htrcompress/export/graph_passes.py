"""Rewrites of an ONNX graph: the outputs that are wanted, and the forms that runtimes are faster with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from htrcompress.export.graph import copy_of

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def keep_outputs(graph: "ModelProto", names: Sequence[str]) -> None:
    """Makes these the outputs, in this order, and drops every node and weight that none of them needs, in place."""
    outputs = {output.name: output for output in graph.graph.output}
    kept = [type(outputs[name]).FromString(outputs[name].SerializeToString()) for name in names]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)
    needed = set(names)
    for node in reversed(list(graph.graph.node)):  # nodes are sorted: users stand behind what they use
        if needed.isdisjoint(node.output):
            graph.graph.node.remove(node)
        else:
            needed.update(node.input)
    _drop_unused_weights(graph)


def reorder_gelu(graph: "ModelProto") -> None:
    """Writes x * (0.5 * (1 + erf)) as (x * (1 + erf)) * 0.5, which runtimes recognise as one operator, in place."""
    for add, first, second in _after_erf(graph):
        [half] = [name for name in first.input if name != add.output[0]]
        [x] = [name for name in second.input if name != first.output[0]]
        first.input[:], second.input[:] = [x, add.output[0]], [first.output[0], half]


def fuse_gelu(graph: "ModelProto") -> None:
    """Replaces each GELU that `reorder_gelu` has ordered by ONNX Runtime's own operator, in place.

    ONNX Runtime fuses them by itself, but not where quantisation has put nodes between their parts.
    """
    from onnx import helper

    nodes = graph.graph.node
    producers = {node.output[0]: node for node in nodes}
    for add, first, second in _after_erf(graph):
        erf = producers[next(name for name in add.input if name in producers)]
        scaled = producers[erf.input[0]]
        gelu = helper.make_node("Gelu", scaled.input[:1], second.output, second.name, domain="com.microsoft")
        nodes.insert(list(nodes).index(scaled), gelu)
        for node in (scaled, erf, add, first, second):
            nodes.remove(node)
    _drop_unused_weights(graph)
    graph.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _after_erf(graph: "ModelProto") -> list[tuple["NodeProto", "NodeProto", "NodeProto"]]:
    """The addition and the two products behind every erf, which together are a GELU."""

    def user(node: "NodeProto") -> "NodeProto":
        [found] = [other for other in graph.graph.node if node.output[0] in other.input]
        return found

    adds = [user(node) for node in graph.graph.node if node.op_type == "Erf"]
    return [(add, user(add), user(user(add))) for add in adds]


def _drop_unused_weights(graph: "ModelProto") -> None:
    used = {name for node in graph.graph.node for name in node.input} | {o.name for o in graph.graph.output}
    for weight in [weight for weight in graph.graph.initializer if weight.name not in used]:
        graph.graph.initializer.remove(weight)


def without_pooling(graph: "ModelProto") -> "ModelProto":
    """A copy in which an average pool and the 1×1 convolution behind it are one convolution over the same windows.

    ONNX Runtime pools integers at a fifth of its speed with floats.
    """
    from onnx import helper, numpy_helper

    folded = copy_of(graph)
    nodes, weights = folded.graph.node, {weight.name: weight for weight in folded.graph.initializer}
    for pool in [node for node in nodes if node.op_type == "AveragePool"]:
        options = {option.name: helper.get_attribute_value(option) for option in pool.attribute}
        users = [node for node in nodes if pool.output[0] in node.input]
        if len(users) > 1 or users[0].op_type != "Conv" or any(options.get("pads", ())) or options.get("ceil_mode"):
            continue
        [conv] = users
        weight = weights[conv.input[1]]
        values, window = numpy_helper.to_array(weight), options["kernel_shape"]
        if values.shape[2:] != (1, 1):
            continue
        spread = np.repeat(np.repeat(values / np.prod(window), window[0], 2), window[1], 3).astype(values.dtype)
        weight.CopyFrom(numpy_helper.from_array(spread, weight.name))
        conv.input[0] = pool.input[0]
        others = [option for option in conv.attribute if option.name not in ("kernel_shape", "strides", "auto_pad")]
        del conv.attribute[:]
        conv.attribute.extend(others)
        conv.attribute.append(helper.make_attribute("kernel_shape", window))
        conv.attribute.append(helper.make_attribute("strides", options["strides"]))
        nodes.remove(pool)
    return folded
