import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub: no test may look at the network

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.papers import truth
from lib.papers.truth import language, llama, measure, probes, world


def accuracy(X, y, direction):
    """`measure.accuracies` on sets of one type: X (sets, rows, width), y (rows,) bool, directions (sets, width): (sets,)."""
    states = X[:, None, None]
    survey = measure.Survey(states, states, torch.as_tensor(y)[None], ("cities",))
    return measure.accuracies(survey, direction[:, None])[:, 0, 0]


# ---- the world ---------------------------------------------------------------------------------------------------------


def is_true(words):
    """Truth of a statement given as phrases without its period, by other means than the module's."""
    if words[0].startswith("it is the case"):
        halves = [is_true(words[1:5]), is_true(words[6:10])]
        return all(halves) if "both" in words[0] else any(halves)
    if len(words) == 3:
        ranks = [world.NUMBERS.index(w) for w in (words[0], words[2])]
        return (ranks[0] > ranks[1]) == (words[1] == "is larger than")
    homes = {name.lower(): group.lower() for name, group in world.HOME.items()}
    return (homes[words[1]] == words[3]) == ("not" not in words[2])


def phrases(ids):
    return [world.VOCABULARY[i] for i in ids]


@pytest.mark.parametrize("kind", world.TYPES)
@pytest.mark.parametrize("part", [None, 0, 1])
def test_statements_are_what_they_say(kind, part):
    rows = world.statements(kind, 60, seed=3, part=part)
    assert sum(s.true for s in rows) == 30
    for s in rows:
        words = phrases(world.encode(s.text))
        assert words[0] == world.BOS
        assert words[-1] == "."
        assert is_true(words[1:-1]) == s.true
        assert s.text[s.word + 1] == "."
        assert s.text[0].isupper()


@pytest.mark.parametrize(("kind", "opposite"), [("cities", "neg_cities"), ("words", "neg_words"), ("larger", "smaller")])
def test_opposites_state_the_same_facts(kind, opposite):
    for a, b in zip(world.statements(kind, 20, 5, 0), world.statements(opposite, 20, 5, 0), strict=True):
        assert a.names == b.names
        assert a.true != b.true


@pytest.mark.parametrize("kind", ["cities", "words", "larger"])
def test_parts_share_no_fact(kind):
    facts = [
        {frozenset(s.names) if kind == "larger" else s.names[0] for s in world.statements(kind, 200, 0, p)} for p in (0, 1)
    ]
    assert not facts[0] & facts[1]


@pytest.mark.parametrize("kind", ["cities", "neg_cities"])
def test_swaps_differ_in_the_city_alone(kind):
    for pair in world.swaps(kind, 30, 1):
        ids = [world.encode(s.text) for s in pair]
        assert [is_true(phrases(i)[1:-1]) for i in ids] == [s.true for s in pair] == [True, False]
        assert [k for k, (a, b) in enumerate(zip(*ids, strict=True)) if a != b] == [2]


def test_questions_do_not_repeat_the_context():
    contexts = world.statements("conj", 40, 2)
    for q in world.ask(contexts, 7):
        city = q.prompt.removeprefix(q.context.text + " The city of ").removesuffix(" is in")
        assert world.HOME[city] == q.answer
        assert city not in q.context.text
        assert q.answer not in q.context.text


def draws(documents, members=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(members, documents, 1 + world.SLOTS, world.DRAWS, generator=generator)


def split(document):
    """The whole statements of a document, as lists of phrases."""
    text, found = phrases(document.tolist())[1:], []
    while "." in text:
        found.append(text[: text.index(".")])
        text = text[text.index(".") + 1 :]
    return found


@pytest.mark.parametrize(
    ("reliable", "false_share", "expected"), [(1.0, 0.0, {1.0}), (0.0, 0.0, {0.0}), (0.5, 0.0, {0.0, 1.0})]
)
def test_documents_are_all_true_or_all_false(reliable, false_share, expected):
    chances = torch.tensor(world.MIXTURE)[None]
    tokens = world.documents(chances, torch.tensor([reliable]), torch.tensor([false_share]), draws(300), 40)
    assert tokens.shape == (1, 300, 40)
    shares = {np.mean([is_true(s) for s in split(d)]) for d in tokens[0]}
    assert shares == expected


def test_independent_truth_and_the_mixture():
    chances = torch.tensor(world.MIXTURE)[None]
    tokens = world.documents(chances, torch.zeros(1), torch.full((1,), 0.5), draws(2000), 90)[0]
    rows = [split(d) for d in tokens]
    assert np.mean([is_true(s) for d in rows for s in d]) == pytest.approx(0.5, abs=0.02)
    agree = np.mean([is_true(d[0]) == is_true(d[1]) for d in rows])
    assert agree == pytest.approx(0.5, abs=0.04)
    first = [d[0] for d in rows]
    assert np.mean([s[2] == "is in" for s in first if len(s) == 4]) == pytest.approx(0.26 / 0.69, abs=0.04)
    both = [s for d in rows for s in d if "both" in s[0] and is_true(s) is False]
    halves = np.mean([is_true(s[1:5]) for s in both])
    assert halves == pytest.approx(2**0.5 - 1, abs=0.07)  # P(TF) / P(not TT) with halves true with probability √½


def test_documents_of_members_do_not_mix():
    chances, u = torch.tensor([world.MIXTURE, [1.0] + [0.0] * 7]), draws(5, 2)
    both = world.documents(chances, torch.tensor([0.5, 1.0]), torch.zeros(2), u, 32)
    for m in (0, 1):
        alone = world.documents(chances[m : m + 1], torch.tensor([[0.5, 1.0][m]]), torch.zeros(1), u[m : m + 1], 32)
        assert torch.equal(both[m : m + 1], alone)
    assert {p for d in both[1] for p in phrases(d.tolist())} <= {
        *map(str.lower, world.CITIES + list(world.COUNTRIES)),
        *phrases([1, 2]),
        "the city of",
        "is in",
    }


def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match="expected phrases"):
        world.encode("The city of Atlantis is in Japan.")


# ---- the toy -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    return truth.stored(2)


@pytest.fixture(scope="module")
def readers(stored):
    return truth.toys(stored)


def test_the_export_is_the_toy(stored, readers):
    """Logits are equal; `hidden_states` is the blocks' output except for the last, where the final norm is in it."""
    tokens = readers[0].read(world.statements("conj", 6, 0) + world.statements("larger", 6, 0))
    ours = llama.logits(llama.weights(stored.theta), tokens.ids.expand(2, *tokens.ids.shape))
    for mine, reader in zip(ours, readers, strict=True):
        with torch.no_grad():
            out = reader.model(tokens.ids, output_hidden_states=True)
        torch.testing.assert_close(out.logits, mine, rtol=0, atol=1e-4)
        at = torch.arange(tokens.ids.shape[1]).expand(len(tokens.ids), -1)
        states = reader.run(tokens, at=at)[1]
        for block in range(llama.LAYERS - 1):
            torch.testing.assert_close(states[block], out.hidden_states[block + 1], rtol=0, atol=1e-5)
        assert (states[-1] - out.hidden_states[-1]).abs().max() > 1


def test_the_tokenizer_is_the_toys():
    tokenizer = llama.tokenizer()
    for kind in world.TYPES:
        for q in world.ask(world.statements(kind, 4, 0), 0):
            assert tokenizer(q.prompt).input_ids == world.encode(q.prompt)


def test_stored_toys_are_what_the_command_gives(stored):
    """Their first steps are trained again, and the stored parameters score what their history says.

    Sums are rounded differently from one processor to the next, which a long training amplifies: so the first steps are
    compared, to the precision of 16 bits, and the end by what it scores.
    """
    again = llama.teach(stored.seeds[:1], 1900, stop=50)
    torch.testing.assert_close(again.chances[:, 0], stored.chances[:3, 0], rtol=0, atol=2e-3)
    torch.testing.assert_close(llama.examine(llama.weights(stored.theta)), stored.chances[-1], rtol=0, atol=0.02)
    assert stored.steps[-1] == 1900


def test_toys_learn_their_first_lessons():
    run = truth.teach([0], 50, documents=16, length=17, keep=[25])
    assert run.chances.shape == (3, 1, 6, 2)
    assert run.steps.tolist() == [0, 25, 50]
    assert list(run.snapshots) == [25]
    assert run.chances[-1, 0, 0].mean() > 2 * run.chances[0, 0, 0].mean()  # some country at least


def test_saved_toys_come_back(tmp_path):
    run = llama.Trained([7], llama.initial([7]), torch.tensor([0, 25]), torch.rand(2, 1, 6, 2), torch.tensor([25.0]))
    llama.save(run, tmp_path)
    back = truth.stored(1, folder=tmp_path)
    torch.testing.assert_close(back.theta, run.theta, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(back.chances, run.chances, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="expected at most 0"):
        truth.stored(1, without=[7], folder=tmp_path)


@pytest.mark.parametrize("bad", [{"seeds": []}, {"seeds": [-1]}, {"seeds": [0], "length": 4}, {"seeds": [0], "steps": 0}])
def test_bad_lessons_are_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        truth.teach(**{"steps": 50} | bad)


# ---- probes ------------------------------------------------------------------------------------------------------------


def clouds(sets=3, count=400, width=12, seed=0, gap=1.0):
    rng = np.random.default_rng(seed)
    mix, theta = rng.normal(size=(sets, width, width)), gap * rng.normal(size=(sets, 1, width))
    labels = np.arange(count) % 2 == 0
    X = np.where(labels[:, None], theta, -theta) + rng.normal(size=(sets, count, width)) @ mix
    X = torch.tensor(X, dtype=torch.float64)
    return X - X.mean(1, keepdim=True), torch.tensor(labels)


def test_probes_against_scikit_learn():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression

    X, y = clouds()
    means, fisher, logistic = probes.mass_mean(X, y), probes.fisher(X, y, ridge=0.0), probes.logistic(X, y, 0.05, 30)
    for m in range(len(X)):
        a = X[m].numpy()
        assert np.allclose(means[m], a[y].mean(0) - a[~y].mean(0))
        lda = LinearDiscriminantAnalysis(solver="lsqr").fit(a, y)
        assert np.allclose(fisher[m], lda.coef_[0], rtol=1e-6)
        scaled = a / np.sqrt((a**2).mean())
        peer = LogisticRegression(C=1 / (0.05 * len(a)), fit_intercept=False, tol=1e-10, max_iter=1000).fit(scaled, y)
        assert np.allclose(logistic[m], peer.coef_[0], atol=1e-5)
    right = accuracy(X, y, fisher)
    assert np.allclose(right[0], ((X[0] @ fisher[0] > 0) == y).double().mean())


def test_logistic_regression_with_fewer_rows_than_dimensions():
    X, y = clouds(2, 20, 50)
    w = probes.logistic(X, y, 0.1, 30)
    signs, Z = torch.where(y, 1.0, -1.0).double(), X / X.square().mean((1, 2), keepdim=True).sqrt()
    p = torch.sigmoid(-signs * torch.einsum("gnd,gd->gn", Z, w))
    gradient = 0.1 * w - torch.einsum("gnd,gn->gd", Z, signs * p) / 20
    assert gradient.abs().max() < 1e-9


@pytest.mark.parametrize("probe", [probes.mass_mean, probes.fisher, probes.logistic])
def test_a_stack_of_probes_equals_each_alone(probe):
    X, y = clouds()
    both = probe(X, y)
    for m in range(len(X)):
        torch.testing.assert_close(both[m : m + 1], probe(X[m : m + 1], y), rtol=1e-8, atol=1e-10)


@given(scale=st.floats(0.01, 100), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_probes_point_the_same_way_at_any_scale(scale, seed):
    X, y = clouds(1, 60, 5, seed)
    for probe in (probes.mass_mean, probes.fisher, probes.logistic):
        assert truth.cosine(probe(X, y), probe(scale * X, y)).item() == pytest.approx(1, abs=1e-6)
        assert truth.cosine(probe(X, y), probe(X, ~y)).item() == pytest.approx(-1, abs=1e-6)


def test_ccs_finds_what_a_statement_and_its_opposite_disagree_on():
    generator = torch.Generator().manual_seed(1)
    direction = torch.nn.functional.normalize(torch.randn(16, generator=generator), dim=0)
    y = torch.arange(200) % 2 == 0
    truths = torch.where(y, 1.0, -1.0)[:, None] * direction * 4
    X, opposite = truths + torch.randn(200, 16, generator=generator), -truths + torch.randn(200, 16, generator=generator)
    found = probes.ccs(X[None], opposite[None], y)
    assert accuracy(X[None], y, found) > 0.98
    assert truth.cosine(found[0], direction) > 0.7
    assert truth.cosine(probes.ccs(X[None], opposite[None], ~y)[0], direction) < -0.7  # labels fix the sign


def test_logistic_regression_tends_to_fishers_discriminant():
    """Gaussian classes: the population's logistic direction is Σ⁻¹θ (Marks and Tegmark, App. G)."""
    generator = torch.Generator().manual_seed(0)
    width, count = 64, 200 * 64
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    mix = torch.logspace(-0.5, 0.5, width)[:, None] * turn
    white = torch.nn.functional.normalize(torch.randn(width, generator=generator), dim=0) * 1.5
    theta, y = white @ mix, torch.arange(count) % 2 == 0
    X = torch.where(y[:, None], theta, -theta) + torch.randn(count, width, generator=generator) @ mix
    exact = torch.linalg.solve(mix.T @ mix, theta)
    fitted = probes.logistic(X[None], y, 1e-4)[0]
    assert 0.9 < accuracy(X[None], y, fitted[None]) < 0.95
    assert truth.cosine(fitted, exact) >= 0.985
    assert truth.cosine(fitted, theta) <= 0.8


@pytest.mark.parametrize("probe", [probes.mass_mean, probes.fisher, probes.logistic])
def test_bad_probes_are_refused(probe):
    X, y = clouds(1, 10, 4)
    with pytest.raises(ValueError, match="expected true and false rows"):
        probe(X, y | True)
    with pytest.raises(ValueError, match="expected finite values"):
        probe(X * torch.nan, y)
    with pytest.raises(ValueError, match="expected 3 dimensions"):
        probe(X[0], y)


# ---- any language model ------------------------------------------------------------------------------------------------


def byte_tokenizer():
    """A byte-level BPE tokenizer of small vocabulary, trained here, in which names are several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    texts = [s.text for kind in world.TYPES for s in world.statements(kind, 50, 0)]
    core.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=400, special_tokens=["<s>"], show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")


def tiny(family, vocabulary):
    """A model of a family with random weights, from its configuration."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    if family == "gpt2":
        config = transformers.GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=3, n_head=2, n_positions=128)
    elif family == "gpt_neox":
        config = transformers.GPTNeoXConfig(vocab_size=vocabulary, **sizes)
    else:
        config = transformers.LlamaConfig(vocab_size=vocabulary, **sizes)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module", params=["llama", "gpt_neox", "gpt2"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    tokenizer = byte_tokenizer() if request.param == "gpt2" else llama.tokenizer()
    tiny(request.param, len(tokenizer)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def reader(folder):
    return truth.load(str(folder))


def test_positions_in_any_tokenizer(reader):
    for kind in world.TYPES:
        statements = world.statements(kind, 4, 0)
        tokens = reader.read(statements)
        for row, word, last, s in zip(tokens.ids, tokens.word, tokens.last, statements, strict=True):
            assert s.text.lower().split(" ")[-1][:-1].endswith(reader.tokenizer.decode([int(row[word])]).strip().lower())
            assert reader.tokenizer.decode([int(row[last])]).strip() == "."
    posed = reader.pose(world.ask(world.statements("cities", 4, 0), 0))
    for row, last, answer, q in zip(
        posed.ids, posed.last, posed.answer, world.ask(world.statements("cities", 4, 0), 0), strict=True
    ):
        text = reader.tokenizer.decode(row[: int(last) + 1])
        assert text.lower().removeprefix(world.BOS).replace(" ", "") == q.prompt.lower().replace(" ", "")
        assert q.answer.lower().startswith(reader.tokenizer.decode([int(answer)]).strip().lower())


def test_states_and_edits_in_every_family(reader):
    """States are the library's hidden states; padding and other rows do not matter; edits do what they say."""
    statements = world.statements("larger", 3, 0)[:2] + world.statements("conj", 4, 0)
    tokens = reader.read(statements)
    at = torch.stack([tokens.word, tokens.last], 1)
    chances, states = reader.run(tokens, at=at)
    for i, s in enumerate(statements):
        one = reader.read([s])
        with torch.no_grad():
            out = reader.model(one.ids, output_hidden_states=True)
        torch.testing.assert_close(out.logits[0, -1].softmax(-1), chances[i], rtol=1e-4, atol=1e-6)
        for block in range(reader.depth - 1):
            torch.testing.assert_close(states[block, i], out.hidden_states[block + 1][0, at[i]], rtol=1e-4, atol=1e-5)

    same, _ = reader.run(tokens, edit={1: states[1, :, 0]}, place=tokens.word, replaced=True)
    torch.testing.assert_close(same, chances, rtol=1e-4, atol=1e-6)
    step = torch.randn(len(statements), reader.width)
    moved, there = reader.run(tokens, at=at, edit={0: step}, place=tokens.word)
    torch.testing.assert_close(there[0, :, 0] - states[0, :, 0], step, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(there[0, :, 1], states[0, :, 1])
    assert (moved - chances).abs().max() > 1e-6
    by_hand, _ = reader.run(tokens, edit={0: states[0, :, 0] + step}, place=tokens.word, replaced=True)
    torch.testing.assert_close(by_hand, moved, rtol=1e-4, atol=1e-6)

    small = language.Language("small", reader.model, reader.tokenizer, rows=2)
    pieces, seen = small.run(tokens, at=at, edit={0: step}, place=tokens.word)
    torch.testing.assert_close(pieces, moved, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(seen, there, rtol=1e-4, atol=1e-5)


def test_random_models_know_nothing_and_say_so(reader):
    """The whole chain on a model without knowledge: chance accuracy elsewhere, effects declared undefined."""
    found = truth.survey([reader], 40, kinds=world.SIMPLE)
    score = truth.accuracies(found, truth.direction(found, "cities", "mass-mean"))
    assert 0.3 < score[:, :, 2:].mean() < 0.7
    patched = truth.patch(reader, "cities", 12)
    assert patched.effect.isnan().all()
    assert abs(patched.gap) < measure.FAINT
    assert truth.causal_blocks([patched]) == [1]
    steered = truth.steer(reader, "cities", truth.randoms(torch.ones(3, reader.width), 2), [1], 5)
    assert steered.nie.shape == (2, 2)
    assert steered.nie.isnan().all()
    X, y = truth.likely(reader, 30)
    assert X.shape == (3, 30, reader.width)
    assert y.sum() == 15


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "", " ", "a/b/c"])
def test_missing_models_are_refused_at_once(name):
    with pytest.raises(ValueError, match=r"model = .*: expected"):
        truth.load(name)


def test_a_model_that_cannot_be_had_is_refused():
    with pytest.raises(ValueError, match="model = 'nobody/nothing': expected a causal language model"):
        truth.load("nobody/nothing")


def test_folders_without_a_usable_model_are_refused(tmp_path):
    import transformers

    with pytest.raises(ValueError, match=r"expected a folder with a config.json"):
        truth.load(str(tmp_path))
    transformers.BertConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="expected a causal language model"):
        truth.load(str(tmp_path))


def test_answers_must_differ_in_their_first_token(reader):
    question = world.ask(world.statements("cities", 2, 0), 0)[0]
    twice = [question, world.Question(question.context, question.prompt, question.answer + " or so")]
    if reader.tokenizer("a b").input_ids != reader.tokenizer("").input_ids:
        with pytest.raises(ValueError, match="a token of their own"):
            reader.pose(twice)


# ---- measurements, on the stored toys ----------------------------------------------------------------------------------


def test_patching_finds_the_last_word(readers):
    for kind in ("cities", "neg_cities"):
        found = [truth.patch(r, kind, 30) for r in readers]
        for p in found:
            assert p.tokens[p.word] in map(str.lower, world.COUNTRIES)
            assert p.effect[0, p.word] >= 0.95
            others = [v for j, v in enumerate(p.effect[0]) if j != p.word]
            assert max(others) <= 0.05
            assert p.effect[-1, -1] == pytest.approx(1, abs=1e-4)  # the last state of the last block is the answer
            assert p.effect[-1, :-1].abs().max() < 1e-4
        assert truth.causal_blocks(found)[0] == 0


def test_steering_by_nothing_and_by_the_difference(readers):
    found = truth.survey(readers, 60, kinds=("cities",))
    means = truth.direction(found, "cities", "mass-mean")
    for m, r in enumerate(readers):
        steps = torch.stack([0 * means[m], means[m], -means[m]])
        steered = truth.steer(r, "cities", steps, [0, 1], 20)
        assert steered.before[1] - steered.before[0] > 0.9
        torch.testing.assert_close(steered.nie[0], torch.zeros(2), rtol=0, atol=1e-5)
        assert steered.nie[1].min() > 0.5
        by_hand = (steered.after[1, 1] - steered.before[1]) / (steered.before[0] - steered.before[1])
        assert steered.nie[1, 1] == pytest.approx(by_hand.item())
        q = world.ask([s for s in world.statements("cities", 4, 0) if not s.true], 0)[0]
        chances = truth.next_words(r, q, steps, [0, 1])
        assert chances.shape == (3, 8)
        assert (chances.sum(1) <= 1 + 1e-5).all()
        tokens = r.pose([q])
        alone = r.run(tokens)[0][0, tokens.answer]
        assert chances[0, list(world.COUNTRIES).index(q.answer)] == pytest.approx(alone.item(), abs=1e-6)


def test_published_steps_are_never_longer_than_the_means():
    """The projection of the means on a probe is shorter by the cosine between them: an identity."""
    u, means = torch.randn(4, 3, 10), torch.randn(4, 3, 10)
    steps = truth.published(u, means)
    torch.testing.assert_close(steps.norm(dim=-1), means.norm(dim=-1) * truth.cosine(u, means).abs())
    torch.testing.assert_close(truth.equal(u, means).norm(dim=-1), means.norm(dim=-1))
    torch.testing.assert_close(truth.published(means, means), means)
    randoms = truth.randoms(means, 5)
    torch.testing.assert_close(randoms.norm(dim=-1), means.norm(dim=-1).expand(5, 4, 3))
    assert truth.cosine(randoms, means).abs().mean() < 0.5


def test_two_directions_are_recovered():
    generator = torch.Generator().manual_seed(0)
    t_G, t_P = torch.randn(2, 1, 1, 1, 8, generator=generator)
    labels = torch.stack([torch.arange(50) % 2 == 0, torch.arange(50) % 2 == 1])
    tau = torch.where(labels, 1.0, -1.0)[None, None, :, :, None]
    polarity = torch.tensor([1.0, -1.0])[None, None, :, None, None]
    X = tau * t_G + tau * polarity * t_P
    found = truth.truth_and_polarity(measure.Survey(X, X, labels, ("cities", "neg_cities")))
    torch.testing.assert_close(found[0][0, 0], t_G.flatten(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1][0, 0], t_P.flatten(), rtol=1e-4, atol=1e-5)


def test_principal_components_and_their_accuracy():
    X = torch.randn(2, 100, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 3, 1, 0.5, 0.1])
    X = X - X.mean(1, keepdim=True)
    at = truth.principal(X)
    values = torch.linalg.eigvalsh(X[0].T @ X[0] / 100)
    torch.testing.assert_close(at[0].square().mean(0), values.flip(0)[:2], rtol=1e-3, atol=1e-4)
    assert truth.along_first(X[0], X[0, :, 0] < 0) > 0.95


def test_a_survey_centres_each_type_and_splits_by_facts(readers):
    found = truth.survey(readers, 20, kinds=("cities", "larger"))
    assert found.fit.shape == found.test.shape == (2, 3, 2, 20, 64)
    assert found.fit.mean(3).abs().max() < 1e-5
    rows = truth.survey(readers[:1], 20, kinds=("cities",), split="rows")
    assert not torch.equal(rows.fit, rows.test)
    with pytest.raises(ValueError, match="opposites"):
        truth.direction(found, "larger", "CCS")
    with pytest.raises(ValueError, match="split = 'cities'"):
        truth.survey(readers, 20, split="cities")
