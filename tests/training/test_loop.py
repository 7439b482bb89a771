"""The training loop on a model of two numbers: resume, accumulation, averages, checkpoints, and what goes wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from stylekit.errors import SettingError, StyleError
from training.loop import checkpoints, config, interrupts, loop, tracking
from training.loop.loop import NonFiniteLossError, TrainStep
from training.loop.settings import SCHEDULES, RunSettings
from training.objective.settings import ObjectiveSettings


def settings(folder: Path, **changes: object) -> RunSettings:
    values: dict[str, object] = {"work": folder, "steps": 9, "batch": 4, "lr": 0.1, "warmup": 2, "save_every": 3, "track": "none"}
    return RunSettings(**(values | {"precision": "no", "device": "cpu"} | changes))  # type: ignore[arg-type]


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def draw_of(chosen: RunSettings) -> loop.Draw[torch.Tensor]:
    def draw(step: int, parts: int, rng: random.Random, generator: torch.Generator) -> list[torch.Tensor]:
        points = torch.randn(chosen.batch * parts, 2, generator=generator)
        return [point * rng.uniform(0.5, 1.5) for point in points]

    return draw


def compute(net: nn.Module, step: int, samples: Sequence[torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    points = torch.stack(list(samples))
    error = (net(points)[:, 0] - points.sum(1)).pow(2).mean()
    return 2 * error, {"l2": error}


def steps_of(net: nn.Module, chosen: RunSettings, average: object = None, **changes: object) -> Iterator[TrainStep]:
    parts: dict[str, object] = {"draw": draw_of(chosen), "compute": compute, "identity": {"base": "a"}} | changes
    accelerator = loop.open_accelerator(chosen, chosen.work or Path())
    return loop.run(
        accelerator,
        net,
        parts["draw"],  # type: ignore[arg-type]
        parts["compute"],  # type: ignore[arg-type]
        settings=chosen,
        folder=chosen.work or Path(),
        identity=parts["identity"],  # type: ignore[arg-type]
        average=average,  # type: ignore[arg-type]
        stop=parts.get("stop", lambda: False),  # type: ignore[arg-type]
    )


def follow(chosen: RunSettings, steps: Iterator[TrainStep]) -> None:
    folder = chosen.work or Path()
    tracking.follow(loop.open_accelerator(chosen, folder), steps, name="fog", settings=chosen, folder=folder)


def lines_of(chosen: RunSettings) -> list[dict]:
    return [json.loads(line) for line in ((chosen.work or Path()) / tracking.METRICS_FILE).read_text().splitlines()]


def weights(net: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def names(folder: Path) -> list[str]:
    return [path.name for path in checkpoints.steps(folder / loop.CHECKPOINTS)]


@contextmanager
def small_disk(limit: int) -> Iterator[None]:
    """No file may grow over `limit` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_resume_equals_the_uninterrupted_run_bit_for_bit(tmp_path: Path) -> None:
    results = []
    for cut in (False, True):
        chosen = settings(tmp_path / str(cut), ema=0.9, accumulate=2)
        net = model()
        average = loop.make_average(net, chosen)
        for done in steps_of(net, chosen, average):
            if cut and done.step == 5:  # killed after the checkpoint at 3 and before the next
                break
        if cut:
            net = model()
            average = loop.make_average(net, chosen)
            assert [done.step for done in steps_of(net, chosen, average)] == [4, 5, 6, 7, 8, 9]
        with loop.averaged(net, average):
            results.append((weights(net), average))
        results[-1] += (weights(net),)  # type: ignore[operator]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][2], results[1][2])  # type: ignore[misc]
    assert not torch.equal(results[0][0], results[0][2])  # type: ignore[misc]


@pytest.mark.parametrize("at", [1, 4, 6, 8])
def test_an_interrupt_saves_there_and_then(tmp_path: Path, at: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C in the middle of a step, even before the first checkpoint is due, loses nothing."""
    results = []
    for cut in (False, True):
        chosen = settings(tmp_path / str(cut), ema=0.9)
        net = model()
        average = loop.make_average(net, chosen)

        def interrupted(net: nn.Module, step: int, samples: Sequence[torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            if step == at:
                os.kill(os.getpid(), signal.SIGINT)
            return compute(net, step, samples)

        if cut:
            with interrupts.held_back() as stop, pytest.raises(KeyboardInterrupt, match=f"stopped at step {at} of 9, which is saved"):
                follow(chosen, steps_of(net, chosen, average, compute=interrupted, stop=stop))
            assert names(chosen.work or Path())[-1] == f"step-{at:06d}.pt"
            net = model()
            average = loop.make_average(net, chosen)
        follow(chosen, steps_of(net, chosen, average))
        if cut:
            assert f"going on from step {at} of 9" in capsys.readouterr().out
            assert [line["step"] for line in lines_of(chosen)] == list(range(1, 10))
        with loop.averaged(net, average):
            results.append(weights(net))
    assert torch.equal(*results)


def test_a_second_interrupt_acts_at_once_and_the_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    with interrupts.held_back() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before


def test_a_run_can_be_lengthened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def trained(*lengths: int, stop_at: int = 0) -> torch.Tensor:
        folder = tmp_path / f"{lengths}{stop_at}"
        for steps in lengths:
            chosen, net = settings(folder, steps=steps), model()
            identity = {"base": "a", "steps": str(steps)}
            reached: list[int] = []
            if stop_at and steps == lengths[-1]:
                run = steps_of(net, chosen, identity=identity, stop=lambda reached=reached: reached[-1] == stop_at)
                for done in run:
                    reached.append(done.step)
                net = model()
            follow(chosen, steps_of(net, chosen, identity=identity))
        return weights(net)

    both = trained(5, 9)
    assert "going on from step 5 of 9" in capsys.readouterr().out
    assert torch.equal(trained(5, 9, stop_at=7), both)
    again = settings(tmp_path / "(5, 9)0", steps=9)
    follow(again, steps_of(model(), again, identity={"base": "a", "steps": "9"}))
    assert "all 9 steps are trained already: a larger --steps goes on from there" in capsys.readouterr().out
    for identity in ({"base": "a", "steps": "7"}, {"base": "b", "steps": "12"}):
        with pytest.raises(StyleError, match=r"there, .* here"):
            list(steps_of(model(), settings(again.work or Path(), steps=12), identity=identity))
    assert config.lengths(ObjectiveSettings()) == {"steps", "polish_from"}


def test_after_a_resume_the_bar_counts_only_what_it_saw(capsys: pytest.CaptureFixture[str]) -> None:
    with tqdm(total=500, mininterval=0) as bar:
        tracking.begin_at(bar, 480)
        bar.start_t -= 10
        bar.last_print_t -= 10
        bar.update(1)
        remaining = (bar.total - bar.n) / bar.format_dict["rate"]
    assert remaining > 150  # 19 steps of ten seconds, not of a fiftieth of one


def test_two_batches_of_two_are_one_of_four(tmp_path: Path) -> None:
    found = []
    for batch, accumulate in ((4, 1), (2, 2), (1, 4)):
        chosen = settings(tmp_path / str(batch), batch=batch, accumulate=accumulate)
        net = model()
        steps = list(steps_of(net, chosen))
        found.append((weights(net), steps[-1].loss, steps[-1].terms["l2"]))
    for other in found[1:]:
        assert torch.allclose(found[0][0], other[0], atol=1e-6)
        assert found[0][1:] == pytest.approx(other[1:], rel=1e-4)


def test_the_loss_falls_and_terms_are_told(tmp_path: Path) -> None:
    done = list(steps_of(model(), settings(tmp_path, steps=150)))
    assert done[-1].loss < 0.05 * done[0].loss
    assert all(step.loss == pytest.approx(2 * step.terms["l2"]) for step in done)
    assert [step.step for step in done] == list(range(1, 151))


def test_the_average_is_the_moving_average(tmp_path: Path) -> None:
    chosen = settings(tmp_path, ema=0.5)
    net = model()
    average = loop.make_average(net, chosen)
    expected, seen = weights(net), weights(net)
    for n, _ in enumerate(steps_of(net, chosen, average)):
        decay = min(0.5, (1 + n) / (10 + n)) if n else 0.0
        seen = weights(net)
        expected = decay * expected + (1 - decay) * seen
    with loop.averaged(net, average):
        assert torch.allclose(weights(net), expected, atol=1e-6)
    assert torch.equal(weights(net), seen)
    assert loop.make_average(net, settings(tmp_path, ema=0.0)) is None


def test_the_learning_rate_climbs_and_falls(tmp_path: Path) -> None:
    chosen = settings(tmp_path, steps=1000, lr=2.0, warmup=50)
    for schedule in SCHEDULES:
        rates = [loop.learning_rate(settings(tmp_path, steps=1000, lr=2.0, warmup=50, schedule=schedule), s) for s in range(1, 1001)]
        assert rates[0] == pytest.approx(2.0 / 50, rel=0.01)
        assert max(rates) == pytest.approx(2.0, rel=0.06)
        assert rates[-1] == pytest.approx(2.0 if schedule == "constant" else 0.02, rel=0.01)
    assert loop.learning_rate(chosen, 501) == pytest.approx(2.0 * (0.01 + 0.99 * 0.5), rel=0.01)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_nan_stops_with_the_last_good_checkpoint(tmp_path: Path, where: str) -> None:
    def broken(net: nn.Module, step: int, samples: Sequence[torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, terms = compute(net, step, samples)
        if step == 5:  # the square root's gradient at 0 is infinite, its value is not
            loss = loss * float("nan") if where == "loss" else loss + (loss * 0).sqrt()
        return loss, terms

    net = model()
    with pytest.raises(NonFiniteLossError, match="step 5"):
        list(steps_of(net, settings(tmp_path, save_every=2), compute=broken))
    assert names(tmp_path) == ["step-000002.pt", "step-000004.pt"]
    state = torch.load(tmp_path / loop.CHECKPOINTS / "step-000004.pt", weights_only=True)
    assert torch.equal(torch.cat([p.flatten() for p in state["parameters"]]), weights(net))


def test_the_newest_checkpoints_are_kept_and_a_cut_one_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = settings(tmp_path, save_every=2, keep=3)
    whole = model()
    list(steps_of(whole, chosen))
    assert names(tmp_path) == ["step-000006.pt", "step-000008.pt", "step-000009.pt"]
    last = tmp_path / loop.CHECKPOINTS / "step-000009.pt"
    last.write_bytes(last.read_bytes()[:700])
    again = model()
    assert [done.step for done in steps_of(again, chosen)] == [9]
    assert "step-000009.pt is not whole" in capsys.readouterr().out
    assert torch.equal(weights(again), weights(whole))


def test_a_folder_of_another_run_is_refused_by_what_differs(tmp_path: Path) -> None:
    list(steps_of(model(), settings(tmp_path), identity={"base": "a", "lr": "1"}))
    before = {path: path.read_bytes() for path in checkpoints.steps(tmp_path / loop.CHECKPOINTS)}
    with pytest.raises(StyleError, match=r"another base, data or settings \(base: a there, b here\)"):
        list(steps_of(model(), settings(tmp_path), identity={"base": "b", "lr": "1"}))
    assert {path: path.read_bytes() for path in checkpoints.steps(tmp_path / loop.CHECKPOINTS)} == before


def test_a_full_disk_keeps_the_old_checkpoints(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    run = steps_of(model(), chosen)
    for _ in range(5):
        next(run)
    before = {path: path.read_bytes() for path in (tmp_path / loop.CHECKPOINTS).iterdir()}
    assert [path.name for path in before] == ["step-000003.pt"]
    with small_disk(1000), pytest.raises(StyleError, match=r"step-000006\.pt could not be written .* free some space"):
        list(run)
    assert {path: path.read_bytes() for path in (tmp_path / loop.CHECKPOINTS).iterdir()} == before
    assert next(steps_of(model(), chosen)).step == 4


def test_what_is_seen_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every step once in the metrics although the run was cut; held-out losses and samples at their steps; curves."""
    pytest.importorskip("tensorboard")
    chosen = settings(tmp_path, track="auto", check_every=4, sample_every=4)
    assert [settings(tmp_path, steps=n, sample_every=None).sample_interval for n in (5, 9, 500)] == [1, 1, 50]
    calls: list[int] = []

    def sample() -> Image.Image:
        calls.append(1)
        return Image.new("RGB", (16, 8), "red")

    def follow(steps: Iterator[TrainStep]) -> None:
        accelerator = loop.open_accelerator(chosen, tmp_path)
        tracking.follow(accelerator, steps, name="fog", settings=chosen, folder=tmp_path, check=lambda: {"l2": 0.5}, sample=sample)

    def cut(steps: Iterator[TrainStep]) -> Iterator[TrainStep]:
        for step in steps:
            yield step
            if step.step == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(cut(steps_of(model(), chosen)))
    follow(steps_of(model(), chosen))
    lines = [json.loads(line) for line in (tmp_path / tracking.METRICS_FILE).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 10))
    assert [line["step"] for line in lines if "held_out" in line] == [4, 8, 9]
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [f"step-{n:06d}.png" for n in (0, 4, 8, 9)]
    assert len(calls) == 5  # step 4 twice
    said = capsys.readouterr()
    assert [f"step {n} in pictures: {tmp_path / 'samples' / f'step-{n:06d}.png'}" in said.out for n in (0, 4, 8, 9)] == [True] * 4
    assert "\r" not in said.err  # a bar is for terminals
    assert tracking.last_record(tmp_path)["seconds"] >= lines[0]["seconds"]
    assert list((tmp_path / "curves").rglob("events.out.tfevents.*"))


def test_curves_are_one_series_after_resumes_and_a_refused_start_leaves_none(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    chosen = settings(tmp_path, track="tensorboard")

    def seen(steps: Iterator[TrainStep]) -> None:
        tracking.follow(loop.open_accelerator(chosen, tmp_path), steps, name="fog", settings=chosen, folder=tmp_path)

    def cut(steps: Iterator[TrainStep]) -> Iterator[TrainStep]:
        for step in steps:
            yield step
            if step.step == 5:  # step 3 is saved, 4 and 5 are trained again
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seen(cut(steps_of(model(), chosen)))
    with pytest.raises(StyleError, match="another base"):
        seen(steps_of(model(), chosen, identity={"base": "b"}))
    seen(steps_of(model(), chosen))
    assert [path.name for path in (tmp_path / "curves").rglob("*") if path.is_dir()] == ["fog"]  # one run, and nothing beside it
    assert len(list((tmp_path / "curves" / "fog").iterdir())) == 2  # of two starts
    curve = EventAccumulator(str(tmp_path / "curves" / "fog"))
    curve.Reload()
    assert [event.step for event in curve.Scalars("loss")] == list(range(1, 10))


def test_settings_that_cannot_be_are_told(tmp_path: Path) -> None:
    for changes, word in (
        ({"steps": 0}, "steps is 0"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"schedule": "sine"}, "choose from cosine"),
    ):
        with pytest.raises(SettingError, match=word):
            settings(tmp_path, **changes)
    with pytest.raises(SettingError, match="needs a GPU"):
        list(steps_of(model(), settings(tmp_path, precision="fp16")))
    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(SettingError, match="pip install bitsandbytes"):
            list(steps_of(model(), settings(tmp_path, optimizer="adamw8bit")))
    if importlib.util.find_spec("wandb") is None:
        with pytest.raises(SettingError, match="pip install wandb"):
            loop.open_accelerator(settings(tmp_path, track="wandb"), tmp_path)
