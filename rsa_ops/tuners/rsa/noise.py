"""Noise on a model's input embeddings, for one forward at a time: NEFTune's, and R3F's.

Sources: NEFTune, Jain et al. 2023 (arXiv 2310.05914), algorithm 1; R3F, Aghajanyan et al. 2020 (arXiv 2008.03156),
uniform noise. transformers has a NEFTune hook too (`neftune_noise_alpha`); it scales by the padded length and
disturbs the padding, where the paper and its code take the tokens of each example, as here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class EmbeddingNoise:
    """A forward hook on `embeddings` that adds nothing until one of the two contexts is open.

    Attributes:
        used: whether the embeddings were called in the last context.
    """

    def __init__(self, embeddings: nn.Module) -> None:
        self.used = False
        self._alpha: float | None = None
        self._mask: Tensor | None = None
        self._half_width: float | None = None
        self._generator_seed = 0
        self._handle: RemovableHandle = embeddings.register_forward_hook(self._hook)

    def remove(self) -> None:
        """Take the hook off."""
        self._handle.remove()

    def start_neftune(self, alpha: float, mask: Tensor | None) -> None:
        """From now on add uniform noise of half width alpha / sqrt(L * d) to the tokens in `mask` [rows, tokens].

        L is the number of tokens of the example, d the width of the embeddings; without a mask all tokens count.
        """
        self._alpha, self._mask = alpha, mask

    def stop_neftune(self) -> None:
        """Add nothing any more."""
        self._alpha = self._mask = None

    @contextmanager
    def uniform(self, half_width: float) -> Iterator[None]:
        """Within this context, add uniform noise in [-half_width, half_width], from random numbers of its own."""
        self.used = False
        self._half_width = half_width
        # A generator of its own: drawing from the global one would shift the dropout masks that are to be repeated.
        self._generator_seed = int(torch.randint(2**62, (), device="cpu"))
        try:
            yield
        finally:
            self._half_width = None

    def _hook(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:  # noqa: ARG002  torch's signature
        self.used = True
        if self._half_width is not None:
            generator = torch.Generator(device=output.device).manual_seed(self._generator_seed)
            noise = torch.empty_like(output).uniform_(-self._half_width, self._half_width, generator=generator)
            return output + noise
        if self._alpha is not None and module.training:
            return output + self._neftune(output, self._alpha)
        return None

    def _neftune(self, output: Tensor, alpha: float) -> Tensor:
        mask = self._mask
        if mask is None:
            mask = torch.ones(output.shape[:2], device=output.device)
        if mask.shape != output.shape[:2]:
            raise ValueError(
                f"robustness: neftune_alpha needs an attention_mask [rows, tokens], {list(output.shape[:2])}; "
                f"found {list(mask.shape)}."
            )
        mask = mask.to(output.device, torch.float32)
        width = alpha / (mask.sum(dim=1).clamp(min=1) * output.shape[-1]).sqrt()
        scale = (mask * width[:, None])[..., None].to(output.dtype)
        return torch.empty_like(output).uniform_(-1, 1) * scale


def input_embeddings(model: Any) -> nn.Module:
    """The module that turns token ids into vectors.

    Raises:
        ValueError: the model does not say which it is.
    """
    try:
        found = model.get_input_embeddings()
    except (AttributeError, RuntimeError):  # transformers raises a kind of RuntimeError where there are none
        found = None
    if found is None:
        raise ValueError(
            f"robustness: r3f and neftune_alpha need get_input_embeddings(), and {type(model).__name__} has none."
        )
    return cast("nn.Module", found)


def refuse_lost_noise(embeddings: nn.Module, half_width: float) -> None:
    """Refuse noise that rounding would swallow: in bfloat16 the usual 1e-5 changes no embedding at all.

    Raises:
        ValueError: it is below half a unit in the last place of a typical entry.
    """
    weight = getattr(embeddings, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or half_width == 0:
        return
    typical = float(weight.detach().float().square().mean().sqrt())
    least = typical * torch.finfo(weight.dtype).eps / 2
    if half_width < least:
        raise ValueError(
            f"robustness: r3f_noise {half_width:g} is lost in the rounding of {weight.dtype} embeddings of size "
            f"{typical:.2g}; give {least:.1g} or more, or load the base in float32."
        )


class RandomState:
    """torch's global random state at one moment (CPU, and CUDA where it is in use), to go back to."""

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Within this context, draw what was drawn after that moment; afterwards go on from here."""
        here = RandomState()
        self._restore()
        try:
            yield
        finally:
            here._restore()

    def _restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
