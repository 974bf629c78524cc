"""The paper's road: normal forms, lattices, tables of whole numbers and the three regressions."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.kernels.rnn import random_recurrent
from lib.papers.mips import lattice, normal, pipeline, polishing, regression, training
from lib.papers.mips.expressions import OPERATORS, evaluate, text
from lib.papers.mips.networks import Network, network
from lib.papers.mips.programs import Program, safe
from lib.papers.mips.tasks import TASKS, wrong


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rng(seed=0):
    return np.random.default_rng(seed)


def affine(W, U, b, V, c, start=None):
    return Network(((np.concatenate([W, U], 1), b),), ((V, c),), start)


def random_net(seed=0, n=3, d=2, o=2, width=5):
    draw = rng(seed).normal
    transition = ((draw(size=(width, n + d)), draw(size=width)), (draw(size=(n, width)) / 3, draw(size=n)))
    readout = ((draw(size=(width, n)), draw(size=width)), (draw(size=(o, width)), draw(size=o)))
    return Network(transition, readout, draw(size=n))


def newton(disguise=True):
    """v += x, p += v, y = p, in coordinates that hide it."""
    net = affine([[1, 0], [1, 1]], [[1], [1]], np.zeros(2), [[0, 1]], np.zeros(1))
    return net.change(np.array([[0.7, -0.4], [0.3, 1.1]]), [0.37, -1.2]) if disguise else net


def whole(seed, low, high, shape=(300, 8, 1)):
    return rng(seed).integers(low, high + 1, shape)


# --- networks and normal forms


def test_a_member_of_a_stack_is_the_same_network_in_plain_units():
    stack = random_recurrent(3, (4, 6, 3), (3, 5, 2), seed=1, dtype=torch.float64)
    x = rng().normal(size=(7, 5, 1))
    net = network(stack, 1, 4.0, 10.0)
    wanted = stack(torch.tensor(x / 4))[1].numpy() * 10
    np.testing.assert_allclose(net.outputs(x), wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(net.states(x), 4 * stack.states(torch.tensor(x / 4))[1].numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_affine_symmetry_keeps_all_answers_and_moves_the_states(seed):
    net, x = random_net(seed), rng(seed).normal(size=(20, 6, 2))
    A, s = rng(seed + 9).normal(size=(3, 3)), rng(seed + 10).normal(size=3)
    changed = net.change(A, s)
    np.testing.assert_allclose(changed.outputs(x), net.outputs(x), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(changed.states(x), net.states(x) @ A.T + s, rtol=1e-8, atol=1e-8)


def test_normalizers_other_than_rounding_keep_the_function():
    for net, x in ((random_net(4), rng(4).normal(size=(50, 6, 2))), (newton(), whole(1, -5, 5))):
        for name, stage in normal.normalise(net, x).items():
            if name not in ("quantised", "de-bias"):
                np.testing.assert_allclose(stage.outputs(x), net.outputs(x), rtol=1e-5, atol=1e-5, err_msg=name)


def test_whitened_states_have_unit_moments():
    net, x = newton(), whole(2, -5, 5)
    h = normal.whiten(net, x).states(x).reshape(-1, 2)
    np.testing.assert_allclose(h.T @ h / len(h), np.eye(2), atol=1e-8)


@pytest.mark.parametrize(
    "J",
    [
        np.diag([0.0, 2.0, 4.0]),
        np.array([[0.0, 1, 0], [0, 0, 1], [0, 0, 0]]),
        np.array([[1.0, 1, 0], [0, 1, 0], [0, 0, 3]]),
        np.array([[1.0, 1, 0], [0, 1, 0], [0, 0, 1]]),
        np.zeros((3, 3)),
    ],
)
def test_jordan_form_of_disguised_matrices(J):
    for seed in range(3):
        A = np.linalg.qr(rng(seed).normal(size=(3, 3)))[0]
        net = affine(A @ J @ A.T, rng(seed).normal(size=(3, 1)), np.zeros(3), np.ones((1, 3)), np.zeros(1))
        W = normal.jordan(net).weights[0]
        np.testing.assert_allclose(np.sort(np.diag(W)), np.sort(np.diag(J)), atol=1e-6)
        above = abs(np.diag(W, 1))
        assert abs(W - np.diag(np.diag(W)) - np.diag(np.diag(W, 1), 1)).max() < 1e-6
        assert sorted(above.round(5)) == sorted(np.diag(J, 1))


def test_jordan_form_keeps_a_conjugate_pair_real():
    turn = np.array([[0.5, -0.87], [0.87, 0.5]])
    A = np.array([[2.0, 0.3], [0.1, 0.5]])
    W = normal.jordan(
        affine(A @ turn @ np.linalg.inv(A), np.ones((2, 1)), np.zeros(2), np.ones((1, 2)), np.zeros(1))
    ).weights[0]
    assert W[0, 0] == pytest.approx(0.5)
    assert abs(W[0, 1]) == pytest.approx(0.87)
    assert W[0, 1] == pytest.approx(-W[1, 0])


def test_toeplitz_lets_the_input_enter_one_unit_with_weight_one():
    J = np.array([[0.0, 1, 0], [0, 0, 1], [0, 0, 0]])
    for U in ([[0.3], [-2.0], [0.7]], [[0.3], [0.7], [0.0]]):
        net = affine(J, U, np.zeros(3), np.ones((1, 3)), np.zeros(1))
        W, entered, *_ = normal.toeplitz(net).weights
        np.testing.assert_allclose(W, J, atol=1e-10)
        np.testing.assert_allclose(np.sort(entered.ravel()), [0, 0, 1], atol=1e-10)


def test_debias_moves_what_f_never_reads_and_rounding_rounds():
    net = affine([[1, 0], [0, 0]], [[1], [2]], [3.0, 0.5], [[1, 4]], [0.25])
    done = normal.debias(net)
    x = whole(3, 0, 4)
    np.testing.assert_allclose(done.outputs(x), net.outputs(x), atol=1e-12)
    np.testing.assert_allclose(done.transition[0][1], [3, 0], atol=1e-12)
    np.testing.assert_allclose(done.readout[0][1], [2.25], atol=1e-12)
    near = normal.quantise(affine([[0.995]], [[1.02]], [0.0], [[2.0]], [0.0]))
    assert near.weights[0] == 1
    assert near.weights[1] == 1.02


def recurrences():
    shift = np.diag(np.ones(2), -1)  # (x_t, x_{t-1}, x_{t-2})
    first = np.array([[1.0], [0], [0]])
    one = np.ones(1)
    return {
        "sum of the last three": affine(shift, first, np.zeros(3), np.ones((1, 3)), 0 * one),
        "the one before the last": affine(shift, first, np.zeros(3), [[0, 0, 1]], 0 * one),
        "free body": newton(False),
        "gravity": affine([[1, 0], [1, 1]], [[1], [1]], [-1, -1], [[0, 1]], 0 * one),
        "spring": affine([[1, -1], [1, 0]], [[1], [1]], np.zeros(2), [[0, 1]], 0 * one),
        "not": affine([[0]], [[-1]], one, [[1]], 0 * one),
        "alternate": affine([[-1]], [[0]], one, [[1]], 0 * one, one),
        "two outputs": affine([[1, -1], [1, 2]], [[1, 0], [0, 1]], np.zeros(2), np.eye(2), np.zeros(2)),
    }


@pytest.mark.parametrize("name", recurrences())
def test_observer_form_is_whole_and_is_the_program(name):
    net = recurrences()[name]
    A = np.linalg.qr(rng(5).normal(size=(net.size, net.size)))[0] @ np.diag(np.linspace(0.5, 2, net.size))
    hidden = net.change(A, rng(6).normal(size=net.size))
    x = whole(7, -3, 6, (200, 12, net.weights[1].shape[1]))
    form = normal.observer(hidden)
    np.testing.assert_allclose(form.outputs(x), net.outputs(x), atol=1e-6)
    assert normal.integer_share(form, 1e-6) == 1
    assert normal.integer_share(hidden) < 1
    assert not wrong(regression.affine_program(form), x, net(x)).any()


def test_observer_form_drops_what_no_output_shows():
    net = affine(np.diag([1.0, 0.5]), [[1], [1]], np.zeros(2), [[1, 0]], np.zeros(1))
    form, x = normal.observer(net), whole(1, 0, 5)
    assert form.size == 1
    np.testing.assert_allclose(form.outputs(x), net.outputs(x), atol=1e-9)
    with pytest.raises(ValueError, match="expected one layer"):
        normal.observer(random_net())


# --- lattices


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_reduction_keeps_the_lattice_and_shortens_it(seed, n):
    draw = rng(seed)
    basis = np.eye(n) + 0.2 * draw.normal(size=(n, n))
    mixed = basis.copy()
    for _ in range(6):
        if n > 1:
            i, j = draw.choice(n, 2, replace=False)
            mixed[i] += draw.integers(-2, 3) * mixed[j]
    done = lattice.reduce_basis(mixed)
    times = done @ np.linalg.inv(mixed)
    np.testing.assert_allclose(times, np.round(times), atol=1e-6)
    assert abs(np.linalg.det(done)) == pytest.approx(abs(np.linalg.det(mixed)), rel=1e-6)
    assert np.linalg.norm(done) <= np.linalg.norm(mixed) + 1e-9


def test_encoding_and_decoding_are_inverse_on_the_lattice():
    found = lattice.Lattice(np.array([[0.4, 0.1], [-0.2, 0.9]]), np.array([3.0, -1.0]))
    z = rng().integers(-9, 9, (100, 2))
    assert (found.encode(found.decode(z)) == z).all()
    assert found.rounding(found.decode(z)) < 1e-12
    assert found.rounding(rng().normal(size=(4000, 2)) * 50) == pytest.approx(0.25, abs=0.01)
    assert found.description_length(found.decode(np.zeros((5, 2)))) == pytest.approx(0, abs=1e-9)


def test_gcd_of_the_worked_line():
    points = np.array([[1.7], [3.2], [6.2], [7.7]])
    found = lattice.gcd_lattices(points, sample=8)
    assert any(one.basis[0, 0] == pytest.approx(1.5) for one in found)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_both_finders_recover_a_noisy_lattice(n):
    draw = rng(n)
    basis = np.eye(n) + 0.25 * draw.normal(size=(n, n))
    z = draw.integers(0, 4, (600, n))
    points = z @ basis + 0.3 + 1e-3 * draw.normal(size=(600, n))
    best = min(lattice.gcd_lattices(points), key=lambda found: found.description_length(points))
    assert abs(np.linalg.det(best.basis)) == pytest.approx(abs(np.linalg.det(basis)), rel=0.05)
    assert best.rounding(points) < 0.01
    assert len(np.unique(best.encode(points), axis=0)) == len(np.unique(z, axis=0))


def test_linear_finder_recovers_the_moves_of_an_affine_network():
    net, x = newton(), whole(3, -4, 4)
    rows = lattice.transitions(net.states(x), x, net(x))
    found = lattice.linear_lattice(*rows[:3])
    assert found.rounding(rows[2]) < 1e-6
    blind = affine([[-1]], [[0]], [1.0], [[1]], [0.0])
    assert lattice.linear_lattice(*lattice.transitions(blind.states(x), x, blind(x))[:3]) is None


def test_conflicts_are_keys_with_more_than_one_value():
    keys = np.array([[0, 1], [0, 1], [1, 1], [1, 1], [2, 0]])
    values = np.array([[5], [6], [7], [7], [7]])
    assert lattice.conflicts(keys, values) == (1, 3)
    table = lattice.Table(keys[:, :1], keys[:, 1:], values, values)
    assert table.conflicts() == ((1, 3), (0, 3))
    assert table.mirrored([True]).current.ravel().tolist() == [2, 1, 0, 0, 0]


# --- programs and regressions


def test_programs_run_as_python_runs_their_text():
    later = ("next_b", (">", ("+", ("+", "b", "x0"), "x1"), 1))
    programs = [
        Program("Boolean", ("x0", "x1"), {"a": 0, "b": 1}, (("next_a", ("^", "b", "x0")), later, ("y", "next_a")), ("y",)),
        Program("integer", ("x",), {"a": 3}, (("next_a", ("abs", ("-", "a", "x"))), ("y", ("in", "next_a", 0, 2))), ("y",)),
        Program("integer", ("x",), {"a": 3}, (("y", ("-", "a", "x")), ("next_a", ("+", "y", 1))), ("y",)),
        Program("integer", ("x",), {"a": 3}, (("next_a", ("-", "a", "x")), ("y", ("-", "a", "next_a"))), ("y",)),
    ]
    for program in programs:
        x = whole(1, 0, 1, (40, 6, len(program.inputs)))
        lists = [[tuple(v) if len(program.inputs) > 1 else v[0] for v in row] for row in x.tolist()]
        wanted = np.array([safe(program.text())(row) for row in lists]).reshape(40, 6, -1)
        assert (program(x) == wanted).all()
    assert "a, b = b ^ x0, int(b + x0 + x1 > 1)\n        y = a\n" in programs[0].text()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4).flatmap(lambda k: st.tuples(st.just(k), st.lists(st.integers(0, 1), min_size=2**k, max_size=2**k))))
def test_boolean_texts_are_the_function(case):
    k, truth = case
    names = "abcd"[:k]
    index = np.arange(2**k)
    values = {name: (index >> i) & 1 for i, name in enumerate(names)}
    assert (evaluate(regression.boolean_expression(tuple(truth), tuple(names)), values) == truth).all()
    assert (evaluate(regression._fewest(np.array(truth), tuple(names)), values) == truth).all()


def test_boolean_texts_join_cases():
    index = np.arange(8)
    a, b, c = ((index >> i) & 1 for i in range(3))
    assert text(regression._fewest((1 - c) & (a | b), tuple("abc"))) == "a & (1 - c) | b & (1 - c)"
    assert text(regression.boolean_expression(tuple(a ^ b & c), tuple("abc"))) == "a ^ b & c"
    assert text(regression._fewest(a & b & c | a & b & (1 - c), tuple("abc"))) == "a & b"


def test_boolean_texts_are_short_for_the_adder():
    index = np.arange(8)
    ones = sum((index >> i) & 1 for i in range(3))
    assert text(regression.boolean_expression(tuple(ones % 2), tuple("abc"))) == "a ^ b ^ c"
    assert text(regression.boolean_expression(tuple(ones > 1), tuple("abc"))) == "int(a + b + c > 1)"
    assert text(regression.boolean_expression(tuple(ones < 1), tuple("abc"))) == "int(a + b + c < 1)"


def clouds(codes, inputs, noise=0.02, seed=0):
    """Transitions of hidden states around the corners of a skewed square, in the order of the codes (rows, 2)."""
    corners = np.array([[0.1, 0.0], [1.0, 0.3], [0.2, 1.2], [1.4, 1.1]])
    return corners[codes[:, 0] + 2 * codes[:, 1]] + noise * rng(seed).normal(size=(len(codes), 2))


def test_boolean_regression_finds_the_ripple_carry_adder():
    before, x = whole(1, 0, 1, (400, 2)), whole(2, 0, 1, (400, 2))
    total = before[:, 1] + x.sum(1)
    after = np.stack([total % 2, total // 2], 1)
    program = regression.boolean_program(clouds(before, x), x, clouds(after, x, seed=1), after[:, :1], np.zeros(2), 2)
    v = dict(program.steps)["y"].removeprefix("next_")
    w = "ab"[v == "a"]
    assert program.updates[v] == f"{w} ^ x0 ^ x1"
    assert program.updates[w] == f"int({w} + x0 + x1 > 1)"
    assert program.answers == {"y": v}
    long, wanted = TASKS["Binary_Addition"].sample(500, 3)
    assert not wrong(program, long, wanted).any()
    assert regression.boolean_program(clouds(before, x), x, clouds(after, x), 1 - x[:, :1], np.zeros(2), 2) is None


def test_linear_regression_reads_a_table():
    z, x = whole(1, 0, 9, (200, 2)), whole(2, 0, 9, (200, 1))
    new = np.concatenate([z[:, :1] + x, z.sum(1, keepdims=True) + x - 3], 1)
    program = regression.linear_program(lattice.Table(z, x, new, 2 * new[:, 1:] + 1), np.array([0, 0]))
    assert program.updates == {"a": "a + x", "b": "a + b + x - 3"}
    assert text(dict(program.steps)["y"]) == "2 * next_b + 1"


def brute(given, wanted, names):
    """The length of the first of all postfix expressions of up to four symbols, one by one, that gives the wanted column."""
    leaf = dict(zip(names, given.T, strict=True)) | {k: k + 0 * wanted for k in regression.CONSTANTS}
    for length in range(1, 5):
        for symbols in product([*leaf, *regression.UNARY, *regression.PAIRS], repeat=length):
            stack = []
            for s in symbols:
                if s in leaf:
                    stack.append(leaf[s])
                elif s in regression.UNARY and stack:
                    stack.append(evaluate(regression.UNARY[s]("e"), {"e": stack.pop()}))
                elif s in regression.PAIRS and len(stack) > 1:
                    b, a = stack.pop(), stack.pop()
                    if s == "%" and (b == 0).any():
                        break
                    stack.append(OPERATORS[s](a, b))
                else:
                    break
            else:
                if len(stack) == 1 and (stack[0] == wanted).all():
                    return length
    return None


def postfix(expression):
    """Symbols of an expression: each leaf and each operation one, "+1" and "> 0" one as well."""
    if not isinstance(expression, tuple):
        return 1
    inside = sum(map(postfix, expression[1:]))
    return inside if len(expression) == 3 and expression[2] in (0, 1, 100) else inside + 1


@pytest.mark.parametrize(
    "f",
    [lambda a, x: abs(a - x), lambda a, x: x % 3, lambda a, x: 1 * (a == 0), lambda a, x: a * x + 1, lambda a, x: -x - 100],
)
def test_integer_expressions_are_as_short_as_brute_force_finds(f):
    given = whole(4, 0, 6, (20, 2))
    wanted = f(*given.T)
    (found,) = regression.integer_expressions(given, wanted[:, None], ("a", "x"))
    assert (evaluate(found, dict(zip("ax", given.T, strict=True))) == wanted).all()
    assert postfix(found) == brute(given, wanted, ("a", "x"))


def test_integer_expressions_solve_counting_in_a_ring_and_give_up():
    given = np.array(list(product(range(3), range(3))))
    (found,) = regression.integer_expressions(given, (given.sum(1) % 3)[:, None], ("a", "x"))
    assert text(found) == "(a + x) % 3"
    assert regression.integer_expressions(given, rng(1).integers(0, 10**6, (9, 1)), ("a", "x")) == [None]


# --- the whole road


@pytest.mark.parametrize(("name", "method"), [("Sum_Last2", "linear"), ("Binary_Addition", "Boolean")])
def test_trained_networks_go_the_whole_road(name, method):
    trained = pipeline.small(TASKS[name], pipeline.shapes(name), members=8, pool=2048)
    assert trained.errors == 0
    road = pipeline.distil(TASKS[name], trained.net, sequences=500, fresh=3000)
    assert all(road.right.values())
    assert road.solutions["trained"].program.kind == method
    assert not wrong(road.program, *TASKS[name].sample(3000, 99)).any()


def test_l1_and_retraining_keep_the_answers_and_the_zeros():
    task = TASKS["Binary_Addition"]
    net = pipeline.small(task, pipeline.shapes(task.name), members=8, pool=2048).net
    x, y = task.sample(500, 5)
    total = lambda net: sum(abs(part).sum() for layer in (*net.transition, *net.readout) for part in layer)  # noqa: E731
    thin = pipeline.sparse(net, x, y)
    assert not wrong(thin, x, y).any()
    assert total(thin) <= total(net)
    rounded = normal.quantise(normal.whiten(thin, x))
    again = polishing.polished(rounded, x[:128], y[:128], freeze=True)
    for (W, b), (V, c) in zip((*rounded.transition, *rounded.readout), (*again.transition, *again.readout), strict=True):
        assert (V[W == 0] == 0).all()
        assert (c[b == 0] == 0).all()
    assert abs(again.outputs(x) - y).mean() <= abs(rounded.outputs(x) - y).mean() + 1e-9


def test_the_same_road_on_integer_states_of_a_ring():
    """States on a line at 0, 1, 2 times 0.7, the sum so far mod 3."""
    x = whole(5, 0, 2, (400, 6, 1))
    z = x.cumsum(1) % 3
    found = regression.regress(0.7 * z + 0.001 * rng().normal(size=z.shape), x, z)
    assert found.program.kind == "integer"
    assert not wrong(found.program, x, z).any()


def test_untrained_networks_give_nothing():
    for name in ("Sum_Last2", "Binary_Addition"):
        net = training.untrained(TASKS[name], pipeline.shapes(name)[0])
        x, y = TASKS[name].sample(300, 2)
        program = regression.regress(net.states(x), x, net(x), net.start).program
        assert program is None or wrong(program, x, y).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: affine([[np.nan]], [[1]], [0], [[1]], [0]), "transition W = nan"),
        (lambda: affine(np.eye(2), np.ones((2, 1)), [0, 0], [[1.0]], [0]), "readout = 1 inputs"),
        (lambda: Network(((np.eye(2), np.zeros(2)),), ((np.eye(2), np.zeros(2)),)), "transition = 2 inputs"),
        (lambda: affine([[1]], [[1]], [0], [[1]], [0], [1, 2]), "start = array"),
        (lambda: newton().states(np.zeros((0, 3, 1))), "x = array of shape"),
        (lambda: lattice.gcd_lattices(np.zeros((9, 4))), "points = 4 coordinates"),
        (lambda: lattice.gcd_lattices(np.zeros((9, 2)), sample=2), "sample = 2"),
        (lambda: lattice.transitions(np.ones((2, 3, 1)), np.ones((2, 4, 1)), np.ones((2, 3, 1))), "hidden, inputs, outputs"),
        (lambda: lattice.transitions(*[np.ones((2, 3, 1))] * 3, steps=3), "steps = 3"),
        (lambda: training.Shape(0), "hidden = 0"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_network_whose_states_explode_has_no_linear_lattice():
    W, U = np.array([[-1.71434189, 2.08303063], [-27.87177857, 31.80727709]]), np.array([[0.1292074], [0.17823762]])
    inputs = np.random.default_rng(0).integers(0, 4, (500, 10, 1)).astype(float)
    states = [np.zeros((500, 2))]
    for t in range(10):
        states.append(states[-1] @ W.T + inputs[:, t] @ U.T)
    assert lattice.linear_lattice(states[-2], inputs[:, -1], states[-1]) is None
