"""What users of other recognisers ask of an export and do not get, and the tests here that keep each promise."""

import re
from pathlib import Path

import pytest

WISHES = {
    "ONNX with lines of any width and batches of any size": [
        "test_export::test_onnx_computes_what_pytorch_computes",
        "test_export::test_the_card_travels_and_nothing_of_this_machine_does",
    ],
    "no recurrence that TensorRT computes wrongly or slowly": ["test_export::test_no_operator_that_runtimes_get_wrong"],
    "FP16 that is FP16, or no file": [
        "test_verify::test_an_engine_that_is_not_as_half_as_its_name_fails",
        "test_tensorrt::test_an_fp16_graph_that_tensorrt_reads_as_fp32_is_refused",
        "test_export::test_a_graph_with_an_fp32_convolution_is_not_fp16",
        "test_export::test_fp16_is_proven_and_its_islands_are_named",
    ],
    "no FP16 engine that reads otherwise or gives NaN": [
        "test_export::test_activations_that_half_precision_cannot_hold_are_refused",
        "test_verify::test_logits_that_are_no_numbers_fail",
        "test_verify::test_a_graph_that_reads_otherwise_fails",
    ],
    "the same text whatever stands beside a line": [
        "test_export::test_a_line_reads_the_same_alone_and_beside_longer_lines",
        "test_runtime::test_a_line_reads_the_same_alone_and_beside_others",
        "test_verify::test_a_line_that_depends_on_its_batch_fails",
    ],
    "equal rows of a batch read alike in an engine": ["test_verify::test_an_engine_whose_equal_rows_differ_fails"],
    "INT8 that reads, or no file": ["test_int8::test_the_guard_ships_nothing_past_its_limit"],
    "a student that is an ordinary file": [
        "test_distill::test_distillation_leaves_teacher_student_and_control",
        "test_prune::test_the_command_leaves_an_ordinary_model",
    ],
    "a charset that travels with the model, in UTF-8": [
        "test_export::test_the_card_travels_and_nothing_of_this_machine_does",
        "test_package::test_characters_are_utf_8_everywhere",
        "test_runtime::test_a_charset_that_is_too_small_is_noticed",
    ],
    "decoding inside the graph, in operators that every runtime has": [
        "test_export::test_onnx_computes_what_pytorch_computes",
        "test_decode::test_random_logits_of_every_shape",
        "test_devices::test_no_graph_holds_a_clip_that_openvino_misreads",
    ],
    "C++ and Python to copy": [
        "test_cpp::test_the_demo_reads_what_transcribe_reads",
    ],
    "a plugin that is found when the engine is loaded": [
        "test_plugin::test_tensorrt_rtx_finds_the_plugin",
        "test_runtime_tensorrt::test_an_engine_with_a_plugin_wants_its_library",
    ],
    "engines built once, for several generations, that say where they do not load": [
        "test_tensorrt::test_engines_are_built_for_three_generations_without_a_gpu",
        "test_runtime_tensorrt::test_what_cannot_run_is_told",
        "test_verify::test_an_engine_that_cannot_run_here_is_told",
    ],
    "the device that was asked for, or an error": [
        "test_devices::test_a_provider_without_its_driver_is_refused_and_never_replaced",
    ],
    "the licence of the weights in every file": ["test_artifact::test_a_card_survives_json"],
}


@pytest.mark.parametrize("wish", WISHES)
def test_every_wish_has_its_test(wish: str) -> None:
    for name in WISHES[wish]:
        file, function = name.split("::")
        text = (Path(__file__).parent / f"{file}.py").read_text(encoding="utf-8")
        assert re.search(rf"^def {function}\(", text, re.MULTILINE), name
