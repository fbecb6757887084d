"""Distillation end to end on a few lines: student and control, unlabelled lines, other charsets."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from trainings import SHORT, log

from htrcompress.charset import Charset
from htrcompress.config import AugmentConfig, DistillConfig
from htrcompress.distill import DistillOptions, distill
from htrcompress.errors import HtrError
from htrcompress.models.charset_transfer import set_charset
from htrcompress.models.serialization import load_card, load_model, save_model


def test_unlabelled_lines_teach_the_student_alone(whole: Path, lines: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for file in Path(lines).glob("test-*.png"):
        (images / file.name).write_bytes(file.read_bytes())
    everywhere = DistillConfig(frames="all")
    short = replace(SHORT, steps=None, epochs=1)
    result = distill(
        DistillOptions(
            data=lines,
            teacher=whole,
            model="tiny-student",
            unlabelled=images,
            out=tmp_path / "run",
            train=short,
            distill=everywhere,
        )
    )
    student, control = (load_card(result.run / f"{role}.safetensors") for role in ("student", "control"))
    assert student.training["unlabelled"]["lines"] == 4 and "unlabelled" not in control.training
    assert student.training["of"] == control.training["of"] == 4  # 28 lines in batches of 8
    seen = [row["kd"] for row in log(result.run, "student") if "kd" in row]
    assert seen and all(value > 0 for value in seen)
    with pytest.raises(HtrError, match=r"--unlabelled.*--distill\.weight"):
        distill(DistillOptions(data=lines, teacher=whole, unlabelled=images, distill=DistillConfig(weight=0)))


def test_a_teacher_of_another_charset_is_mapped_or_refused(whole: Path, lines: str, tmp_path: Path) -> None:
    def teacher(name: str, charset: tuple[str, ...]) -> Path:
        network, card = load_model(whole / "tiny-student.safetensors")
        set_charset(network, card.characters(), Charset(charset), trainable=True)
        save_model(tmp_path / f"{name}.safetensors", network, replace(card, charset=charset))
        return tmp_path / f"{name}.safetensors"

    known = load_card(whole / "tiny-student.safetensors").charset
    short = replace(SHORT, steps=2)
    for name, charset, expected in (("less", known[3:], known), ("more", (*known, "Ω"), (*known, "Ω"))):
        path, out = teacher(name, charset), tmp_path / f"run-{name}"
        distill(DistillOptions(data=lines, teacher=path, model="tiny-student", control=False, out=out, train=short))
        assert load_card(out / "student.safetensors").charset == expected
    with pytest.raises(HtrError, match="Ω"):
        distill(
            DistillOptions(
                data=lines,
                teacher=teacher("odd", (*known[3:], "Ω")),
                model="tiny-student",
                out=tmp_path / "x",
                train=short,
            )
        )


def test_distillation_leaves_teacher_student_and_control(whole: Path, lines: str, tmp_path: Path) -> None:
    everywhere = DistillConfig(frames="all")  # after two steps the teacher has no spikes yet
    short = replace(SHORT, steps=2)
    result = distill(
        DistillOptions(data=lines, out=tmp_path / "run", train=short, augment=AugmentConfig(), distill=everywhere)
    )
    assert list(result.models) == ["teacher", "student", "control"]
    cards = {role: load_card(result.run / f"{role}.safetensors") for role in result.models}
    assert cards["student"].training["teacher"]["name"] == "teacher" and "teacher" not in cards["control"].training
    student, control = (load_file(result.run / f"{role}.safetensors") for role in ("student", "control"))
    assert student.keys() == control.keys()  # an ordinary file, no branch of a larger checkpoint
    assert any(not torch.equal(student[name], control[name]) for name in student)
    again = distill(DistillOptions(resume=result.run))
    assert again.models["student"]["cer"] == result.models["student"]["cer"]


def test_a_teacher_of_another_height_is_refused(whole: Path, lines: str, tmp_path: Path) -> None:
    with pytest.raises(HtrError, match=r"32.*64.*--model"):
        distill(DistillOptions(data=lines, teacher=whole, model="student-xs", out=tmp_path / "run", train=SHORT))
    with pytest.raises(HtrError, match="nothing"):
        distill(DistillOptions(data=lines, teacher=tmp_path / "nothing", out=tmp_path / "other"))


def test_a_start_with_wrong_data_is_not_in_the_way_of_the_next(whole: Path, lines: str, tmp_path: Path) -> None:
    short, out = replace(SHORT, steps=1), tmp_path / "run"
    for data, unlabelled in (("nowhere", None), (lines, tmp_path / "nothing")):
        with pytest.raises(HtrError, match=r"nowhere|nothing"):
            distill(
                DistillOptions(
                    data=data,
                    teacher=whole,
                    model="tiny-student",
                    control=False,
                    unlabelled=unlabelled,
                    out=out,
                    train=short,
                )
            )
    assert [path.name for path in out.iterdir()] == ["config.yaml"]
    distill(
        DistillOptions(
            data=lines,
            teacher=whole,
            model="tiny-student",
            control=False,
            out=out,
            train=short,
            distill=DistillConfig(frames="all"),
        )
    )


def test_student_and_control_start_from_a_trained_model(whole: Path, lines: str, tmp_path: Path) -> None:
    short = replace(SHORT, steps=1, lr=1e-9)  # so the weights stay those of the start
    result = distill(DistillOptions(data=lines, teacher=whole, init=whole, out=tmp_path / "run", train=short))
    start = load_file(whole / "tiny-student.safetensors")
    for role in ("student", "control"):
        trained = load_file(result.run / f"{role}.safetensors")
        assert all(torch.allclose(trained[name], start[name], atol=1e-4) for name in start if "running" not in name)
        assert load_card(result.run / f"{role}.safetensors").training["init"]["name"] == "tiny-student"
    for odd, named in (({"model": "student"}, "--model"), ({"teacher": None}, "--teacher")):
        with pytest.raises(HtrError, match=f"--init.*{named}|{named}.*--init"):
            DistillOptions(**{"data": lines, "teacher": whole, "init": whole, **odd})
