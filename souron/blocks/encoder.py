"""The Transformer encoder of texts: every token attends to all others (bidirectional).

Devlin, Chang, Lee, Toutanova: BERT (2018). https://arxiv.org/abs/1810.04805

    x = norm(token + position);    x = norm(x + attention(x));  x = norm(x + mlp(x))    per layer
"""

import torch
from torch import Tensor, nn

PAD = -1  # padding of shorter texts
STD = 0.02  # of initial weights


class Encoder(nn.Module):
    """Tokens (B, T), padded with ``PAD`` -> features (B, T, width)."""

    def __init__(self, vocabulary: int, context: int, layers: int, width: int, heads: int, drop: float = 0.0) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.place = nn.Embedding(context, width)
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(drop)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, drop, "gelu", batch_first=True)
            for _layer in range(layers)
        )
        self.apply(begin)

    def forward(self, tokens: Tensor) -> Tensor:
        nothing = tokens < 0  # (B, T)
        position = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.drop(self.norm(self.token(tokens.clamp(min=0)) + self.place(position)))
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=nothing)
        return x

    def matrices(self) -> list[nn.Parameter]:
        """Return the matrices to train by Muon: all weights but embeddings, norms and biases."""
        return [weight for weight in self.layers.parameters() if weight.ndim == 2]


def begin(part: nn.Module) -> None:
    """Initialise the weights as in the paper."""
    if isinstance(part, nn.Linear | nn.Embedding):
        nn.init.normal_(part.weight, std=STD)
    if isinstance(part, nn.MultiheadAttention):
        nn.init.normal_(part.in_proj_weight, std=STD)
    if isinstance(part, nn.Linear) and part.bias is not None:
        nn.init.zeros_(part.bias)
