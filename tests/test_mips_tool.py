"""The tool of the MIPS chapter, networks trained elsewhere, and the chapter's drawings."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.patches import ConnectionStyle

from lib.figures import mips as figures
from lib.papers.mips import machine, picture, scoreboard, training, weights
from lib.papers.mips.__main__ import main
from lib.papers.mips.tasks import TASKS, Task
from lib.reading.figures import svg


class Elsewhere(torch.nn.Module):
    def __init__(self, nonlinearity, inputs=2, hidden=3):
        super().__init__()
        self.rnn = torch.nn.RNN(inputs, hidden, nonlinearity=nonlinearity, batch_first=True)
        self.out = torch.nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[0])


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_a_torch_rnn_answers_as_it_does_in_torch(nonlinearity, suffix, tmp_path):
    torch.manual_seed(0)
    model, path = Elsewhere(nonlinearity), tmp_path / f"weights{suffix}"
    state = {name: t.detach().clone() for name, t in model.state_dict().items()}
    if suffix == ".pt":
        torch.save(state, path)
    elif suffix == ".npz":
        np.savez(path, **{name: t.numpy() for name, t in state.items()})
    else:
        pytest.importorskip("safetensors.torch").save_file(state, path)
    net = weights.network(weights.load(path), f"rnn-{nonlinearity}")
    x = np.random.default_rng(1).integers(0, 3, (5, 7, 2))
    wanted = model(torch.from_numpy(x).float()).detach().numpy()
    np.testing.assert_allclose(net.outputs(x), wanted, rtol=1e-4, atol=1e-5)
    assert not net.affine
    with pytest.raises(ValueError, match="last = "):
        net.change(np.eye(3))


@pytest.mark.parametrize(
    ("activation", "function"), [("relu", torch.relu), ("tanh", torch.tanh), ("sigmoid", torch.sigmoid)]
)
def test_a_perceptron_of_state_and_symbol(activation, function):
    draw = torch.Generator().manual_seed(2)
    shapes = {"f.0": (4, 3), "f.2": (2, 4), "g.0": (3, 2), "g.2": (1, 3)}
    arrays = {}
    for name, shape in shapes.items():
        arrays |= {
            f"{name}.weight": torch.randn(shape, generator=draw),
            f"{name}.bias": torch.randn(shape[0], generator=draw),
        }
    net = weights.network({name: t.numpy() for name, t in arrays.items()}, f"mlp-{activation}")
    layer = lambda name, h: h @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]  # noqa: E731
    h, x = torch.zeros(1, 2), np.array([[[1], [0], [2]]])
    for t in range(3):
        h = layer("f.2", function(layer("f.0", torch.cat([h, torch.tensor(x[:, t]).float()], 1))))
    wanted = layer("g.2", function(layer("g.0", h))).numpy()
    np.testing.assert_allclose(net.outputs(x)[:, -1], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "architecture", "message"),
    [
        ({}, "rnn-tanh", "expected weight_ih_l0"),
        ({"f.0.weight": np.ones((2, 3))}, "mlp-relu", "expected the weights of g"),
        ({}, "lstm", "architecture = 'lstm'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(arrays, architecture, message):
    with pytest.raises(ValueError, match=message):
        weights.network(arrays, architecture)


def test_a_pickle_is_not_run(tmp_path):
    torch.save({"x": Elsewhere("tanh")}, tmp_path / "whole.pt")
    with pytest.raises(ValueError, match="expected nothing but tensors"):
        weights.load(tmp_path / "whole.pt")
    assert main(["read", str(tmp_path / "whole.pt"), "--arch", "rnn-tanh"]) == 2


def test_the_tool_reads_a_network_trained_elsewhere(tmp_path):
    """h = (x, the x before), y the second: a memory of one step, in a ReLU network of torch's form."""
    np.savez(
        tmp_path / "memory.npz",
        weight_ih_l0=[[1.0], [0.0]],
        weight_hh_l0=[[0.0, 0.0], [1.0, 0.0]],
        **{"out.weight": [[0.0, 1.0]], "out.bias": [0.0]},
    )
    out = tmp_path / "found"
    assert main(["read", str(tmp_path / "memory.npz"), "--arch", "rnn-relu", "--high", "3", "--out", str(out)]) == 0
    assert "previous = x" in (out / "program.py").read_text()
    assert json.loads((out / "report.json").read_text())["program_network"]["differ"] == 0
    ran = subprocess.run([sys.executable, str(out / "program.py")], capture_output=True, text=True)
    assert ran.stdout.strip() == "20 examples are right"
    assert "svg" in (out / "machine.svg").read_text()


def test_the_tool_solves_a_task_of_ones_own(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("def task(xs):\n    return [sum(xs[: t + 1]) for t in range(len(xs))]\n")
    assert main(["solve", str(tmp_path / "mine.py"), "--high", "4", "--out", str(tmp_path / "found")]) == 0
    assert "program against truth: 0 of 20000" in capsys.readouterr().out
    (tmp_path / "bad.py").write_text("def other(xs): return xs\n")
    assert main(["solve", str(tmp_path / "bad.py")]) == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def task(xs):\n    return [xs[i + 1] for i in range(len(xs))]\n", "IndexError .* for the list \\[0, 0"),
        ("def task(xs):\n    return [sum(xs)]\n", "1 answers to the list .*: expected one for each symbol"),
        ("def task(xs):\n    return ['a' for x in xs]\n", "'a'.*: expected whole numbers"),
        ("def task(xs):\n    return [x / 2 for x in xs]\n", "answers that are not whole"),
        ("def task(xs\n", "SyntaxError"),
        ("import no_such_module_here\n", "ModuleNotFoundError"),
        ("def other(xs): return xs\n", "expected a function named task"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(source, message, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(source)
    assert main(["solve", str(tmp_path / "mine.py")]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ValueError")]
    assert len(said) == 1
    assert re.search(message, said[0])


def test_what_comes_out_of_nothing_says_why(tmp_path, capsys, monkeypatch):
    ladder = ((training.Shape(1, 2), training.Recipe(members=2, chunk=20)),)
    monkeypatch.setattr("lib.papers.mips.__main__.learn", lambda task, **_: training.learn(task, ladder=ladder, pool=512))
    (tmp_path / "hard.py").write_text("def task(xs):\n    return [hash(tuple(xs[: t + 1])) % 5 for t in range(len(xs))]\n")
    status = main(["solve", str(tmp_path / "hard.py"), "--high", "3", "--out", str(tmp_path / "found")])
    assert "not learned: the network is wrong on" in capsys.readouterr().out
    found = json.loads((tmp_path / "found" / "report.json").read_text())
    assert found["network_truth"]["differ"] > 0
    assert (status == 0) == (tmp_path / "found" / "program.py").exists()


@pytest.mark.parametrize("nested", [{"model": {"a": torch.zeros(2)}, "epoch": 3}, [torch.zeros(2)]])
def test_a_checkpoint_that_is_no_state_dictionary_is_refused(nested, tmp_path):
    torch.save(nested, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="expected a state dictionary"):
        weights.load(tmp_path / "checkpoint.pt")


def test_inputs_that_do_not_fit_the_network_are_refused(tmp_path, capsys):
    torch.save(Elsewhere("tanh").state_dict(), tmp_path / "two.pt")
    assert main(["read", str(tmp_path / "two.pt"), "--arch", "rnn-tanh", "--inputs", "1"]) == 2
    assert "inputs = 1: give 1 numbers, expected the network's 2" in capsys.readouterr().err


def test_the_board_prints_a_line_for_each_task(capsys):
    assert main(["board", "Sum_All", "Bitwise_Not"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["Sum_All", "affine"], ["Bitwise_Not", "affine"]]
    assert "proved     1024" in lines[1]
    assert main(["board", "Sum_Everything"]) == 2


def test_a_network_trained_elsewhere_is_read_in_three_lines(tmp_path):
    torch.manual_seed(0)
    torch.save(Elsewhere("relu", inputs=1).state_dict(), tmp_path / "weights.pt")
    net = weights.network(weights.load(tmp_path / "weights.pt"), "rnn-relu")
    row = scoreboard.read(Task("mine", net, 0, 1), training.Trained(net, 0.0), fresh=500)
    assert row.text or row.reason
    assert row.network_truth.differ == 0
    assert row.result.program is None or row.program_network.differ == 0


def two_states():
    moves, answers = np.array([[0, 1], [1, 0]]), np.array([[[0], [1]], [[1], [0]]])
    return machine.Machine(np.array([[0], [1]]), answers, moves, np.ones_like(moves, bool), np.zeros((2, 1)))


def test_the_picture_of_a_machine_says_all_moves():
    shown = re.findall(r">([^<>]+)</text>", picture.svg(two_states()))
    assert sorted(shown) == ["0", "1", "1", "1", "2 states", "↺ 0", "↺ 0"]  # two states, two arrows marked 1
    big = machine.Machine(*(np.zeros((12, 1), int) for _ in range(5)))
    assert "12 states" in picture.svg(big)


@pytest.mark.parametrize(("source", "target"), [((0, -1), (0, 1)), ((0, 1), (0, -1)), ((-0.3, 0.8), (1, -0.2))])
def test_labels_stand_on_the_side_to_which_their_arrow_bends(source, target):
    _, control, _ = ConnectionStyle("arc3", rad=picture.BEND)(source, target, shrinkA=0, shrinkB=0).vertices
    middle = np.add(source, target) / 2
    beside = picture.beside(source, target, share=0.5)
    assert (beside - middle) @ (control - middle) > 0
    assert np.linalg.norm(beside - middle) > np.linalg.norm(control - middle) / 2  # outside the arc


def test_the_picture_of_a_task_names_symbols_as_its_program_does():
    task = TASKS["Bitwise_Xor"]
    row = scoreboard.solve(task, ladder=training.LADDER[:2], pool=1024, fresh=200, prove=False)
    text = svg(figures.draw_task(row, 0), "a task")
    assert ">x0\u00a0" in text
    assert ">x1\u00a0" in text
    assert "for\u00a0x0,\u00a0x1\u00a0in\u00a0xs:" in text


def test_programs_are_drawn_in_a_face_of_even_width():
    row = scoreboard.solve(TASKS["Bitwise_Xor"], ladder=training.LADDER[:2], pool=1024, fresh=200, prove=False)
    texts = [text for ax in figures.draw_task(row, 0).axes for text in ax.texts]
    lines = [text for text in texts if text.get_text().replace("\u00a0", " ") in row.text.splitlines()]
    assert len(lines) == len(row.text.splitlines())
    assert {text.get_family()[0] for text in lines} == {"monospace"}


def test_a_film_is_taken_while_there_is_something_to_learn():
    task, at = TASKS["Base_3_Addition"], training.frames(1500, 8)
    x, y = task.sample(500, 1)
    wrong = [bool((net(x) != y).any()) for _, net in training.film(task, *training.LADDER[1], at)]
    assert not wrong[-1]
    assert sum(wrong) >= len(at) / 2


def test_responses_of_several_inputs_and_outputs_are_drawn_apart():
    row = scoreboard.solve(TASKS["Newton_Magnetic"], ladder=training.LADDER[:1], pool=1024, fresh=200, prove=False)
    _, ax = figures.figure()
    figures.draw_response(ax, row.trained.net, 10)
    lines = [line.get_ydata() for line in ax.lines]
    np.testing.assert_allclose(np.stack(lines)[:, 0], [1, 0, 0, 1], atol=0.05)
    assert len(lines) == 4
