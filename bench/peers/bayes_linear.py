"""BLoB's linear layer (arXiv:2406.11675) as a PyTorch peer has it, and its two optimizers."""

import math

import torch
from torch import nn

RANK, PRIOR = 8, 0.2


class BayesLinear(nn.Module):
    """y = x·W₀ᵀ + s·(x·Mᵀ + T ∘ ((x ∘ S)(ρ² ∘ E)ᵀ))·Bᵀ, with signs S, T per token."""

    def __init__(self, base, scaling):
        super().__init__()
        k, m = base.in_features, base.out_features
        self.base, self.scaling = base, scaling
        self.mean = nn.Parameter(torch.empty(RANK, k).uniform_(-1, 1) / math.sqrt(k))
        self.rho = nn.Parameter(torch.empty(RANK, k).uniform_(0.05 / math.sqrt(2), 0.05))
        self.b = nn.Parameter(torch.zeros(m, RANK))

    def forward(self, x):
        f = x.float()
        perturbation = self.rho.square() * torch.randn_like(self.rho)
        signs_in = torch.randint(0, 2, f.shape).mul_(2).sub_(1).float()
        h = f @ self.mean.t()
        signs_rank = torch.randint(0, 2, h.shape).mul_(2).sub_(1).float()
        h = h + ((f * signs_in) @ perturbation.t()) * signs_rank
        return self.base(x) + (h @ self.b.t() * self.scaling).to(x.dtype)

    def kl(self):
        var, mean = self.rho.double() ** 4, self.mean.double()
        return (math.log(PRIOR) - var.sqrt().log() + (var + mean**2) / (2 * PRIOR**2) - 0.5).sum()


def optimizers(layers, others=()):
    """AdamW on means, B and what else is trained; SGD with the KL on means, B and ρ."""
    point = [p for layer in layers for p in (layer.mean, layer.b)]
    adamw = torch.optim.AdamW([*point, *others], lr=1e-4, eps=1e-6, weight_decay=0.0)
    return adamw, torch.optim.SGD(point + [layer.rho for layer in layers], lr=0.01)


def updated(loss, layers, adamw, sgd):
    """One update by the loss, then one by the KL."""
    loss.backward()
    adamw.step()
    adamw.zero_grad()
    (sum(layer.kl() for layer in layers) * 1e-3).backward()
    sgd.step()
    sgd.zero_grad()
