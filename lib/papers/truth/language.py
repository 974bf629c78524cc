"""One way to read and steer any causal language model of `transformers`, the exported toy included."""

import os
from dataclasses import dataclass

import torch

from . import llama


def _refuse(name, expected):
    raise ValueError(f"model = {name!r}: expected {expected}")


def check_model(name):
    """Raise ValueError unless `name` is "toy", a folder that holds a model, or the name of one on the Hugging Face Hub."""
    if not isinstance(name, str) or not name.strip():
        _refuse(name, '"toy", a folder or a name on the Hugging Face Hub')
    local = os.path.isdir(name) or os.path.isabs(name) or name.startswith((".", "~")) or name.count("/") > 1
    if local and not os.path.isfile(os.path.join(name, "config.json")):
        _refuse(name, "a folder with a config.json, weights and a tokenizer")
    if not local and name != "toy" and "/" not in name and "-" not in name and not name[0].isalpha():
        _refuse(name, '"toy", a folder or a name on the Hugging Face Hub')


def load(name, device="cpu"):
    """The `Language` in a local folder, or the one of that name on the Hugging Face Hub (float32 on the CPU, else bfloat16).

    A folder is read as it is: nothing is looked up on the network.

    Raises:
        ValueError: if it is missing, cannot be read, or is of a family whose blocks are not found.
    """
    check_model(name)
    import transformers

    transformers.utils.logging.disable_progress_bar()
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    options = {"local_files_only": os.path.isdir(name)}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
        model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **options)
    except Exception as reason:  # missing, gated, without network, not a language model: the library's own words say which
        words = str(reason).strip().splitlines()[0]
        raise ValueError(f"model = {name!r}: expected a causal language model that can be loaded ({words})") from reason
    return Language(os.path.basename(name.rstrip("/")), model.to(device).eval(), tokenizer)


def toys(trained):
    """Each toy of a `Trained` as a `Language`."""
    tokenizer = llama.tokenizer()
    return [Language(f"toy {s}", llama.export(t), tokenizer) for s, t in zip(trained.seeds, trained.theta, strict=True)]


@dataclass(frozen=True)
class Tokens:
    """Texts as tokens, padded on the right: a causal model never looks there.

    Attributes:
        ids: (texts, length), int64.
        last: index of each text's last token, (texts,).
        word: index of the token that ends the (first) statement's last word, (texts,).
        answer: first token of the right continuation, (texts,), -1 where none was asked for.
    """

    ids: torch.Tensor
    last: torch.Tensor
    word: torch.Tensor
    answer: torch.Tensor

    def __getitem__(self, rows):
        return Tokens(self.ids[rows], self.last[rows], self.word[rows], self.answer[rows])


class Language:
    """A causal language model with its tokenizer."""

    def __init__(self, name, model, tokenizer, rows=1024):
        """`rows`: texts for one pass, at most.

        Raises:
            ValueError: for a family whose list of blocks is not found (Llama, GPT-NeoX, GPT-2 and their kin have one).
        """
        self.name, self.model, self.tokenizer, self.rows = name, model, tokenizer, rows
        base = model.base_model
        self.blocks = getattr(base, "layers", None) or getattr(base, "h", None)
        if self.blocks is None:
            _refuse(name, f"blocks called layers or h, as in Llama, GPT-NeoX or GPT-2; {type(base).__name__} has none")
        self.depth, self.width, self.device = len(self.blocks), model.config.hidden_size, model.device

    def _ids(self, text):
        return self.tokenizer(text, return_token_type_ids=False)

    def read(self, statements):
        """`Tokens` of statements."""
        found = [self._ids(s.text) for s in statements]
        words = [f.char_to_token(s.word) for f, s in zip(found, statements, strict=True)]
        return self._pack([f.input_ids for f in found], words)

    def pose(self, questions):
        """`Tokens` of questions, with the first token of each answer as this model would go on to write it.

        Raises:
            ValueError: if two answers begin with the same token.
        """
        rows, words, answers = [], [], []
        for q in questions:
            whole = self._ids(f"{q.prompt} {q.answer}")
            start = whole.char_to_token(len(q.prompt) + 1)
            rows.append(whole.input_ids[:start])
            words.append(whole.char_to_token(q.context.word))
            answers.append(whole.input_ids[start])
        names = {a: q.answer for a, q in zip(answers, questions, strict=True)}
        if len(names) < len({q.answer for q in questions}):
            raise ValueError(f"model = {self.name!r}: expected answers that each begin with a token of their own")
        return self._pack(rows, words, answers)

    def _pack(self, rows, words, answers=None):
        longest = max(map(len, rows))
        ids = torch.tensor([r + [r[-1]] * (longest - len(r)) for r in rows])
        last = torch.tensor([len(r) - 1 for r in rows])
        answer = torch.tensor(answers or [-1] * len(rows))
        return Tokens(*(t.to(self.device) for t in (ids, last, torch.tensor(words), answer)))

    @torch.inference_mode()
    def run(self, tokens, *, at=None, edit=None, place=None, replaced=False):
        """Read texts; look into the residual stream after every block, or change it there.

        Args:
            tokens: `Tokens`.
            at: token indices to look at, (texts, k); None for none.
            edit: {block: vectors (texts, width)} added to the residual stream after that block at `place`.
            place: token indices of the edits, (texts,).
            replaced: the vectors take the place of the stream instead of being added to it.

        Returns:
            Next-token probabilities at the last token (texts, vocabulary), and states (blocks, texts, k, width) or None,
            both float32.
        """
        chances, states = [], []
        for start in range(0, len(tokens.ids), self.rows):
            part = slice(start, start + self.rows)
            seen, rows = {}, torch.arange(len(tokens.ids[part]), device=self.device)

            def hook(block, part=part, seen=seen, rows=rows):
                def change(_module, _inputs, output):
                    h = output[0] if isinstance(output, tuple) else output  # the stream; some families add more
                    if edit is not None and block in edit:
                        h, where, v = h.clone(), (rows, place[part]), edit[block][part].to(h.dtype)
                        h[where] = v if replaced else h[where] + v
                    if at is not None:
                        seen[block] = h[rows[:, None], at[part]].float()
                    return (h, *output[1:]) if isinstance(output, tuple) else h

                return change

            handles = [b.register_forward_hook(hook(i)) for i, b in enumerate(self.blocks)]
            try:
                out = self.model.base_model(input_ids=tokens.ids[part], use_cache=False).last_hidden_state
            finally:
                for handle in handles:
                    handle.remove()
            chances.append(self.model.get_output_embeddings()(out[rows, tokens.last[part]]).float().softmax(-1))
            if at is not None:
                states.append(torch.stack([seen[i] for i in range(self.depth)]))
        return torch.cat(chances), torch.cat(states, 1) if at is not None else None

    def states(self, statements):
        """States at the statements' last word after every block, (blocks, statements, width), float32."""
        tokens = self.read(statements)
        return self.run(tokens, at=tokens.word[:, None])[1][:, :, 0]
