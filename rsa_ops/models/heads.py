"""A classifier for sentence encoders: the mean of the token states, normalised, then one linear layer.

Sentence encoders (MiniLM, E5, ...) are trained so that the *mean* of their last states carries the meaning;
the pooler that comes with BERT's own classification class was never trained in them. On the embedded triage
data a linear probe on the mean reaches .69 accuracy from 400 examples where the pooler gives .58
(`benchmarks/results/pooling.json`).
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class MeanPoolClassifier(PreTrainedModel):  # type: ignore[misc]
    """Encoder, mean over attended tokens scaled to unit rms, linear `classifier` to `config.num_labels`."""

    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True  # the encoder decides; the head has no attention of its own
    _supports_flash_attn = True

    def __init__(self, config: Any, encoder: nn.Module | None = None) -> None:
        super().__init__(config)
        self.encoder = encoder if encoder is not None else AutoModel.from_config(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's token embeddings."""
        return cast("nn.Module", cast("Any", self.encoder).get_input_embeddings())

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,  # noqa: FBT001  PEFT's signature
        output_hidden_states: bool | None = None,  # noqa: FBT001  PEFT's signature
        return_dict: bool | None = None,  # noqa: FBT001, ARG002  PEFT's signature
    ) -> Any:
        """Logits [batch, labels], and the mean cross-entropy when `labels` [batch] are given.

        Args:
            input_ids: [batch, length].
            attention_mask: [batch, length], 1 for tokens, 0 for padding; None means all tokens count.
            inputs_embeds: [batch, length, hidden], in the place of `input_ids`.
            labels: class indices [batch], or None.
            output_attentions: passed on to the encoder.
            output_hidden_states: passed on to the encoder.
            return_dict: accepted for PEFT; the answer is always a named output.
        """
        out = self.encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        states = out.last_hidden_state
        if attention_mask is None:
            attention_mask = states.new_ones(states.shape[:2])
        weights = attention_mask[..., None].to(states.dtype)
        mean = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        features = normalize(mean, dim=-1) * math.sqrt(mean.shape[-1])
        logits = self.classifier(features)
        loss = cross_entropy(logits, labels) if labels is not None else None
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=out.hidden_states, attentions=out.attentions
        )


def mean_pool_from_base(folder: str, config: Any, dtype: torch.dtype) -> MeanPoolClassifier:
    """The encoder in `folder` under a new head."""
    encoder = _without_pooler(AutoModel.from_pretrained(folder, config=config, dtype=dtype))
    return cast("MeanPoolClassifier", MeanPoolClassifier(config, encoder).to(dtype))


def mean_pool_from_checkpoint(folder: str, config: Any, dtype: torch.dtype) -> MeanPoolClassifier:
    """A fully fine-tuned classifier, every tensor of it from `folder/model.safetensors`."""
    from safetensors.torch import load_file

    model = MeanPoolClassifier(config, _without_pooler(AutoModel.from_config(config)))
    model.load_state_dict(load_file(f"{folder}/model.safetensors"))
    return cast("MeanPoolClassifier", model.to(dtype))


def _without_pooler(encoder: nn.Module) -> nn.Module:
    # Some encoders have none, and take no argument to leave it out; those that have one do without it.
    if getattr(encoder, "pooler", None) is not None:
        encoder.register_module("pooler", None)
    return encoder
