"""Inside a GPT: tokens, attention, MLP activations, the next token's probabilities, the KV cache.

The network is a decoder of souron: the ready-trained ``gpt_small``, a run of the reader, or
SmolLM2 where it is downloaded. ``evaluation.language.inside_decoder`` computes the attention
weights of its heads; the page's script computes the softmax with temperature, top-k and top-p from
the model's own logits.

After the ideas of Vig: A Multiscale Visualization of Attention in the Transformer Model (2019),
https://arxiv.org/abs/1906.05714, and Cho and others: Transformer Explainer (2024),
https://arxiv.org/abs/2408.04619.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from souron.studio import interactive
from souron.studio.interactive import beside, button, canvas, choice, controls, images, part, parts, plot, slider
from souron.studio.security.paths import project_folder
from souron.utils.messages import N_, UserError, _

TITLE = N_("Inside a GPT")
ABOUT = N_(
    "A GPT reads a text as tokens. In each layer every head lets each token attend to itself and to those before it, "
    "then an MLP works on each token alone; the last layer gives a logit to every token of the vocabulary. Type a "
    "text of your own, look into each part, and choose the next token by hand."
)
QUESTION = N_(
    "The model has read 20 tokens and kept their keys and values in its KV cache. One token is appended. Of how "
    "many tokens does it compute new keys and values?"
)
CHOICES = (N_("of 1"), N_("of 20"), N_("of all 21"))
RIGHT = 0
ANSWER = N_(
    "Of one. A token attends only to those before it, so that nothing which comes later changes its keys and values: "
    "they are kept, and only the new token's are computed. The answer is the same, as the difference of the logits "
    "shows. The cache costs memory instead, and grows with every token."
)
WORDS = {
    "cut": N_("Only the last {count} tokens are read; {left} before them are left out."),
    "read": N_(
        "{count} tokens. The model: {layers} layers, {parameters} parameters, a vocabulary of {vocabulary} tokens."
    ),
    "token": N_("token {place}, {token}, id {id}"),
    "attends": N_("Layer {layer}, head {head}: {token} attends to {most}."),
    "active": N_("Layer {layer}: {active} of {units} units are not zero at this token; the strongest: {strongest}."),
    "cache": N_(
        "Keys and values of {kept} tokens are kept, of {new} computed anew: {cached} million products instead of "
        "{whole} million. The cache holds {numbers} numbers. Logits with and without it differ by at most {difference}."
    ),
    "likely": N_("Most probable: {token}, {share} %. {count} tokens can be drawn; entropy {entropy} bits."),
    "append": N_("append {token}, {share} %"),
    "chosen": N_("appended: {token}"),
    "full": N_("{most} tokens are as many as fit here; take some away"),
    "entropy": N_("mean entropy of attention, bits"),
    "previous": N_("attention on the previous token"),
    "first": N_("attention on the first token"),
    "head": N_("head"),
    "layer": N_("layer"),
    "heads": N_(
        "Mean entropy over the heads: {mean} bits, from {low} to {high}; attention equal everywhere has {equal}."
    ),
    "queries": N_("query"),
    "keys": N_("key"),
}
TOUR = (
    ("text", N_("Type a text of your own, in English or Japanese. The page reads at most its last 64 tokens.")),
    ("tokens", N_("The tokens with their ids. Press one, or use the slider, to see what it attends to.")),
    ("embedding", N_("Each id selects a row of the embedding matrix: one vector for each token, drawn as a strip.")),
    ("lines", N_("Can a token attend to one that comes after it?"), (N_("yes"), N_("no, the causal mask hides it")), 1),
    ("profile", N_("Each point is a head. Switch to the weights before training: there the heads are alike.")),
    ("mlp", N_("The MLP works on each token by itself. Many of its units are zero; which ones depends on the token.")),
    ("temperature", N_("Temperature divides the logits before the softmax; top-k and top-p cut off the rare tokens.")),
    (
        "next",
        N_("At temperature 0, does the model draw by chance?"),
        (N_("yes, a little"), N_("no, it takes the most probable token")),
        1,
    ),
)
MOST = 64  # tokens
LONGEST = 2000  # characters
TOP = 50  # candidates whose texts are sent
READY = ("gpt_small", "gpt", "gpt_instructed", "gpt_aligned")
SETTINGS = {"model": READY[:1], "layer": (1, 2, 3, 4)}  # of an exported page


def models() -> list[tuple[str, str, str]]:
    """Return the language models that can be shown: value in the form, text, name to load."""
    from souron import registry
    from souron.hub import names, zoo
    from souron.runs import folder

    places = ((name, place) for name in READY if (place := zoo.where(name)))
    ready = [
        (name, " – ".join(filter(None, (name, _("ready trained"), zoo.nature(place)))), name) for name, place in places
    ]
    offered = names.offered(("complete",), project_folder())
    published = [(name, f"{name} – {about}", name) for name, about in offered if name == "smollm2"]
    runs = []
    for run in sorted(project_folder().glob("complete/*/weights/best.safetensors")):
        place = run.parent.parent
        try:
            system = registry.find(str(folder.read_args(place)["system"]))[0].name
        except (UserError, KeyError):  # a damaged run, which the page of the runs reports
            continue
        if system == "gpt":
            shown = " – ".join(filter(None, (place.name, _("your run"), zoo.nature(place))))
            runs.append((f"run:{place.name}", shown, str(place)))
    return [*ready, *runs, *published]


def stage() -> Markup:
    known = models()
    if not known:
        return Markup("<p>{}</p>").format(_("The ready-trained systems are not installed."))
    text = Markup('<label class="wide">{} <textarea name="text" rows="2" maxlength="{}">{}</textarea></label>').format(
        _("text"), LONGEST, first_text()
    )
    looked = (
        heading(_("Token embeddings"))
        + images(
            canvas("embedding", _("token embeddings"), 576, 180, _("A row for each token, blue above 0, orange below"))
        )
        + heading(_("Attention"))
        + images(*_attention())
        + parts("attends", "heads")
        + Markup('<details><summary>{}</summary><div class="numbers" data-part="stats"></div></details>').format(
            _("the heads as numbers")
        )
        + heading(_("MLP"))
        + images(
            canvas(
                "mlp",
                _("activations of the MLP at the chosen token"),
                576,
                192,
                _("A cell for each unit of this layer's MLP, at the chosen token"),
            )
        )
        + part("active")
        + heading(_("KV cache"))
        + images(
            canvas(
                "cache",
                _("keys in the KV cache"),
                576,
                150,
                _("The chosen head's keys, a column for each token; framed: computed anew"),
            )
        )
        + part("cache")
    )
    return (
        controls(
            text,
            choice("model", _("model"), [(value, shown) for value, shown, _name in known]),
            choice("weights", _("weights"), [("trained", _("as trained")), ("untrained", _("before training"))]),
            button("look", _("Read the text"), first=True),
        )
        + part("read")
        + Markup('<ol class="read" data-part="tokens"></ol>')
        + beside(
            controls(
                slider("token", _("token"), 1, MOST, MOST),
                slider("layer", _("layer"), 1, 64, 1),
                slider("head", _("head"), 1, 64, 1),
            )
            + part("token"),
            looked,
        )
        + heading(_("The next token"))
        + beside(
            controls(
                slider("temperature", _("temperature"), 0, 2, 1, 0.05),
                slider("topk", _("top-k (0: all)"), 0, TOP, 0),
                slider("topp", _("top-p"), 0.05, 1, 1, 0.05),
                button("draw", _("Draw a token"), first=True),
                button("back", _("Take the last one away")),
            ),
            Markup('<ol class="next" data-part="next"></ol>'),
            part("likely"),
        )
    )


def heading(text: str) -> Markup:
    return Markup("<h3>{}</h3>").format(text)


def _attention() -> list[Markup]:
    """Return the canvases on attention."""
    return [
        canvas(
            "lines",
            _("attention of the chosen head as lines; arrow keys choose the token"),
            330,
            400,
            _("From each token (right) to those that it attends to (left)"),
            keys=True,
        ),
        canvas(
            "matrix",
            _("attention of the chosen head as a matrix"),
            330,
            330,
            _("The same as a matrix; each row sums to 1"),
        ),
        canvas(
            "layers",
            _("attention of all heads of this layer; arrow keys choose the head"),
            330,
            330,
            _("All heads of this layer; press one"),
            keys=True,
        ),
        plot(
            "profile",
            _("entropy and attention on the previous token, head by head"),
            400,
            300,
            _(
                "All heads, a colour for each layer: entropy of the attention, and share on the previous token. "
                "Hollow: with the other weights"
            ),
        ),
    ]


def first_text() -> str:
    return _(
        "To insert a table, choose the menu Table and then Insert. In the dialog you can set the number of rows and"
    )


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the network computes on a text: attention of one layer, activations, logits."""
    import torch

    from souron.evaluation.language import inside_decoder
    from souron.studio.model_cache import models as cache

    text, more, blank = _text(asked), asked.get("more", []), asked.get("untrained", False)
    known = {value: name for value, _shown, name in models()}
    if not known:
        raise UserError("zoo", _("The ready-trained systems are not installed."))
    name = known[interactive.among(asked, "model", list(known))]
    with cache.answering(name) as model:
        system = model.system
        trained = decoder_of(system)
        layer = interactive.whole(asked, "layer", 0, trained.structure.layers - 1, 0)
        ids, left = read(system, text, appended(more, trained.structure.vocabulary))
        own = untrained(system) if blank is True else trained
        tokens = torch.tensor(ids)
        found = inside_decoder.trace(own, tokens)
        other = None
        if hasattr(system, "decoder"):  # a second pass of a published model would take seconds
            other = inside_decoder.trace(trained if blank is True else untrained(system), tokens).attention
        names = system.tokenizer.backend.id_to_token
        return {
            **sizes(own),
            **pictures(found, layer),
            **candidates(found.logits[-1], names),
            "tokens": [[each, _label(names(each))] for each in ids],
            "left": left,
            "most": MOST,
            "heads": heads(found.attention),
            "other": [] if other is None else heads(other),
            "equal": [round(value, 4) for value in inside_decoder.uniform(len(ids))] if len(ids) > 2 else [],
            "difference": float((inside_decoder.cached_logits(own, tokens) - found.logits[-1]).abs().max()),
        }


def record() -> Iterator[dict[str, Any]]:
    """Yield the requests of an exported page: each layer, trained or not, and the most probable next tokens."""
    first = READY[0]
    if first not in [value for value, _shown, _name in models()]:
        return
    asked = {"model": first, "text": first_text(), "more": [], "untrained": False, "layer": 0}
    layers = answer(asked)["layers"]
    for untrained_ in (False, True):
        yield from (asked | {"untrained": untrained_, "layer": layer} for layer in range(layers))
    more: list[int] = []
    for _step in range(8):
        more = [*more, answer(asked | {"more": more})["top"][0][0]]
        yield asked | {"more": more}


def _text(asked: Mapping[str, Any]) -> str:
    text = asked.get("text")
    if not isinstance(text, str) or len(text) > LONGEST:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="text", value=str(text)[:40]),
            expected=_("a text of at most {count} characters").format(count=LONGEST),
        )
    return text


def appended(more: Any, vocabulary: int) -> list[int]:
    """Read the ids of appended tokens. Raises UserError."""
    good = isinstance(more, list) and len(more) <= MOST
    if not good or not all(type(each) is int and 0 <= each < vocabulary for each in more):
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="more", value=str(more)[:40]),
            expected=_("at most {count} ids of tokens below {vocabulary}").format(count=MOST, vocabulary=vocabulary),
        )
    return more


def read(system: Any, text: str, more: list[int]) -> tuple[list[int], int]:
    """Return the last tokens of a text, and how many before them were left out.

    A model trained to answer reads the text as a question, as in ``predict``.
    """
    from souron.kinds.chat import Turn

    tokenizer = system.tokenizer
    if system.spec is not None and system.spec.lesson != "text":
        ids = tokenizer.conversation([Turn("user", text)], answer=True)[0]
    else:
        ids = [tokenizer.start, *tokenizer.encode(text)]
    ids = [*ids, *more]
    return ids[-MOST:], max(0, len(ids) - MOST)


def decoder_of(system: Any) -> Any:
    """Return the decoder of a language model. Raises UserError where souron does not have its structure."""
    from souron.blocks.decoder import Decoder

    decoder = getattr(system, "decoder", None)
    if decoder is None and hasattr(system, "held"):
        decoder = system.held[2]
    if not isinstance(decoder, Decoder):
        raise UserError("model", _("this model is no decoder of souron"), expected="gpt_small, smollm2")
    return decoder


def untrained(system: Any) -> Any:
    """Return the same decoder with random weights, as before training."""
    if hasattr(system, "decoder"):
        kind: Any = type(system)
        return _begun(kind, system.config, system.spec).decoder
    return _random(system.held[2].structure)


@lru_cache(maxsize=2)
def _begun(system_class: Any, config: Any, spec: Any) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return system_class(config, spec).eval()


@lru_cache(maxsize=1)
def _random(structure: Any) -> Any:
    """Return a decoder of a published structure with random weights, in bfloat16."""
    import torch

    from souron.blocks.decoder import Decoder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Decoder(structure).bfloat16().eval()
        for weight in decoder.parameters():
            if weight.ndim == 2:
                torch.nn.init.normal_(weight, std=0.02)
    return decoder


def sizes(decoder: Any) -> dict[str, int]:
    s = decoder.structure
    matrices = sum(weight.numel() for weight in decoder.matrices()) + s.vocabulary * s.width
    return {
        "layers": s.layers,
        "count": s.heads,
        "groups": s.shared,
        "depth": s.head_width,
        "width": s.width,
        "vocabulary": s.vocabulary,
        "parameters": sum(weight.numel() for weight in decoder.parameters()),
        "products": matrices,  # a token
        "kept": 2 * s.layers * s.shared * s.head_width,  # numbers in the cache, a token
    }


def pictures(found: Any, layer: int) -> dict[str, Any]:
    """Return the numbers of one layer as bytes, and the embeddings."""
    units = found.hidden[layer]
    strongest = units.abs().topk(3, dim=1)
    return {
        "embedding": signed(found.embedding),
        "attention": interactive.packed(interactive.as_bytes(found.attention[layer], 0, 1)),
        "cache": signed(found.keys[layer]),
        "mlp": signed(units / strongest.values[:, :1].clamp(min=1e-9)),
        "units": units.shape[1],
        "active": (units != 0).sum(1).tolist(),
        "strongest": [
            [[place, round(float(units[row, place]), 3)] for place in places]
            for row, places in enumerate(strongest.indices.tolist())
        ],
    }


def signed(values: Any) -> str:
    """Encode numbers around 0 as bytes: 127.5 is 0."""
    most = max(float(values.abs().max()), 1e-9)
    return interactive.packed(interactive.as_bytes(values, -most, most))


def candidates(logits: Any, names: Any) -> dict[str, Any]:
    """Return the logits of the next token, as float32, and the texts of the most probable ones."""
    import numpy as np

    best = logits.topk(min(TOP, len(logits))).indices.tolist()
    raw = np.ascontiguousarray(logits.numpy(), dtype="<f4").view(np.uint8)
    return {"logits": interactive.packed(raw), "top": [[each, _label(names(each))] for each in best]}


def heads(attention: Any) -> list[list[float]]:
    """Return layer, head, entropy, attention on the previous and on the first token of each head."""
    from souron.evaluation.language import inside_decoder

    return [
        [head.layer, head.head, *(round(value, 4) for value in (head.entropy, head.previous, head.first))]
        for head in inside_decoder.heads(attention)
    ]


def _label(name: str | None) -> str:
    from souron.kinds.tokens import label

    return label(name or "")
