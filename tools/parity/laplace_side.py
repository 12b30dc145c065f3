"""laplace-torch for `npm run test:parity`: Kronecker factors of an adapter's curvature, the evidence,
and the Gaussian over the logits, in f64.

laplace-torch takes the factors from curvlinops: its KFAC of the type-2 Fisher, which is the
generalised Gauss-Newton matrix of a softmax, with weight sharing as `expand`. PyTorch runs every
layer on all tokens, also where the last one alone is read; the engine does not, and its input factor
is of the rows that a layer sees. So keys, values and the head are compared, where these are the
same.
"""

import torch
from peft import PeftModel
from torch.utils.data import DataLoader, TensorDataset
from transformers import LlamaForCausalLM


class Answers(torch.nn.Module):
    """Logits (B, C) of the answer tokens at the last position of prompts (B, T)."""

    def __init__(self, adapted, tokens):
        super().__init__()
        self.adapted = adapted
        self.tokens = tokens

    def forward(self, prompts):
        return self.adapted(prompts, logits_to_keep=1).logits[:, -1, self.tokens]


def laplace(model, adapter, prompts, labels, tokens, asked, precision, head_alone):
    """Prompts and `asked` have one length each; `head_alone`: only A and B of the head."""
    # Packages of the newest environment alone.
    from laplace import Laplace
    from laplace.curvature import CurvlinopsGGN

    base = LlamaForCausalLM.from_pretrained(model, attn_implementation="eager")
    adapted = PeftModel.from_pretrained(base, adapter, is_trainable=True).double().eval()
    for name, weight in adapted.named_parameters():
        is_covered = "lora_" in name and ("lm_head" in name or not head_alone)
        weight.requires_grad_(is_covered)
    answers = Answers(adapted, torch.tensor(tokens))
    rows = TensorDataset(torch.tensor(prompts), torch.tensor(labels))
    approximation = Laplace(
        answers,
        "classification",
        subset_of_weights="all",
        hessian_structure="kron",
        prior_precision=precision,
        backend=CurvlinopsGGN,
    )
    approximation.fit(DataLoader(rows, batch_size=len(rows)))
    inputs = torch.tensor(asked)
    mean, covariance = approximation._glm_predictive_distribution(inputs)
    return {
        "evidence": approximation.log_marginal_likelihood().item(),
        "mean": mean.tolist(),
        "covariance": covariance.tolist(),
        "bridge": approximation(inputs, link_approx="bridge").tolist(),
    }
