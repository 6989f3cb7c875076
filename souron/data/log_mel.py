"""Log-mel spectrograms: sound as an image of energy by time and by pitch as it is heard.

Stevens, Volkmann, Newman: A Scale for the Measurement of the Psychological Magnitude Pitch (1937).
https://doi.org/10.1121/1.1915893; in the variant of Slaney's Auditory Toolbox (1998): linear to 1
kHz, logarithmic above. Windows, range and scaling are those of Whisper (Radford and others 2022).

    sound -> 25 ms windows, one each 10 ms -> power at each frequency -> mel bands -> logarithm
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RATE = 16_000  # samples a second
WINDOW, HOP = 400, 160  # samples: 25 ms and 10 ms
FRAMES = RATE // HOP  # a second
LINEAR = 1000.0  # Hz, up to which the scale is linear, 200 / 3 Hz a mel
STEP = 6.4  # ratio of frequencies over 27 mels above it
DEEPEST = 8.0  # powers of ten below the loudest, at which the scale ends


def mels_of(hertz: Tensor) -> Tensor:
    """Convert frequencies to Slaney's mels.

    >>> mels_of(torch.tensor([0.0, 500.0, 1000.0, 6400.0])).tolist()
    [0.0, 7.5, 15.0, 42.0]
    """
    above = 15 + 27 / torch.log(torch.tensor(STEP)) * (hertz.clamp(min=LINEAR) / LINEAR).log()
    return torch.where(hertz < LINEAR, hertz * 3 / 200, above)


def hertz_of(mels: Tensor) -> Tensor:
    """Convert Slaney's mels to frequencies.

    >>> hertz_of(torch.tensor([7.5, 15.0])).tolist()
    [500.0, 1000.0]
    """
    above = LINEAR * (torch.log(torch.tensor(STEP, dtype=mels.dtype)) / 27 * (mels - 15)).exp()
    return torch.where(mels < 15, mels * 200 / 3, above)


@lru_cache(maxsize=4)
def filters(bands: int) -> Tensor:
    """Return triangular filters (bands, WINDOW / 2 + 1) of equal area, from 0 Hz to 8 kHz."""
    top = mels_of(torch.tensor(RATE / 2, dtype=torch.float64))
    edges = hertz_of(torch.linspace(0, 1, bands + 2, dtype=torch.float64) * top)
    own = torch.linspace(0, RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (own - low) / (middle - low), (high - own) / (high - middle)
    triangle = rising.minimum(falling).clamp(min=0)
    return (triangle * 2 / (high - low)).float()


def log_mel(wave: Tensor, bands: int = 80) -> Tensor:
    """Return the log-mel spectrogram (bands, n / HOP) of samples (n,) in -1..1, about -1..1.

    Powers below 1e-8 of the loudest are raised to that.

    >>> log_mel(torch.zeros(16_000)).shape
    torch.Size([80, 100])
    """
    if len(wave) < WINDOW:
        wave = torch.nn.functional.pad(wave, (0, WINDOW - len(wave)))
    window = torch.hann_window(WINDOW, device=wave.device)
    power = torch.stft(wave, WINDOW, HOP, window=window, return_complex=True).abs().square()
    energy = filters(bands).to(wave.device) @ power[:, :-1]
    level = energy.clamp(min=1e-10).log10()
    return (level.maximum(level.max() - DEEPEST) + 4) / 4


class LogMel(nn.Module):
    """The same of many sounds of one length, by a convolution: for programs without a Fourier transform.

    >>> sound = torch.sin(torch.arange(8000.0) / 3)
    >>> bool((LogMel(40)(sound[None])[0] - log_mel(sound, 40)).abs().max() < 1e-3)
    True
    """

    waves: Tensor
    filters: Tensor

    def __init__(self, bands: int = 80) -> None:
        super().__init__()
        angle = (
            torch.arange(WINDOW // 2 + 1, dtype=torch.float64)[:, None] * torch.arange(WINDOW) * 2 * torch.pi / WINDOW
        )
        window = torch.hann_window(WINDOW, dtype=torch.float64)
        waves = torch.cat([angle.cos() * window, angle.sin() * window]).float()[:, None]
        self.register_buffer("waves", waves, persistent=False)
        self.register_buffer("filters", filters(bands), persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """Map samples (B, n), n at least ``WINDOW``, to (B, bands, n / HOP)."""
        around = F.pad(sound[:, None], (WINDOW // 2, WINDOW // 2), mode="reflect")
        real, imaginary = F.conv1d(around, self.waves, stride=HOP)[..., :-1].chunk(2, 1)
        level = (self.filters @ (real.square() + imaginary.square())).clamp(min=1e-10).log10()
        return (level.maximum(level.amax((1, 2), keepdim=True) - DEEPEST) + 4) / 4
