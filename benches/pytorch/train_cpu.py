#!/usr/bin/env python3
"""Times the training step of a Partition Generative Model in PyTorch, float32 on a CPU.

    train_cpu.py [--d-model 128 ...] --threads 2 --steps 30 --warmup 5
    train_cpu.py --fixtures FOLDER

A point of comparison for this project's own training step: the same network, loss,
optimizer and batch, with dense boolean masks for the attention. The first form
prints one JSON object. The second checks network, loss and gradients against golden
values and ends with status 1 where they differ. Tokens are random: timing needs no
text. Needs torch, and safetensors for the second form.
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

TIME_EPS = 1e-3  # the smallest time drawn
ALPHA_EPS = 1e-3  # alpha(t) = 1 - (1 - ALPHA_EPS) t
SIGMA_FREQUENCIES = 128
TOLERANCE = 5e-3


# ---- network -----------------------------------------------------------------


def sinusoid(values, frequencies, period):
    """[cos | sin] of values [n] at 10000^(-j / period), j < frequencies."""
    rate = 10000.0 ** (-torch.arange(frequencies) / period)
    angle = values.float()[:, None] * rate
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


def rotary_tables(length, head_dim):
    angle = sinusoid(torch.arange(length), head_dim // 2, head_dim / 2)
    return angle.chunk(2, dim=-1)


def rotate(x, rotary):
    """Rotary embedding of x [b, h, l, e]: the first half of e against the second."""
    cos, sin = rotary
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Groups:
    """What each position may look at, given its group [b, l] (0 or 1)."""

    def __init__(self, group):
        self.same = (group[:, :, None] == group[:, None, :])[:, None]
        other = ~self.same
        # [b, 1, l, 1]: False where the other group is empty. Such a row looks at
        # everything, so that no softmax is empty, and its output is set to zero.
        self.other_exists = other.any(-1, keepdim=True)
        self.other = other | ~self.other_exists


def attention(q, k, v, n_heads, rotary, mask, keep=None):
    """Multi-head attention [b, l, d] -> [b, l, d] without its projections."""
    q, k, v = (x.unflatten(-1, (n_heads, -1)).transpose(1, 2) for x in (q, k, v))
    out = F.scaled_dot_product_attention(
        rotate(q, rotary), rotate(k, rotary), v, attn_mask=mask
    )
    if keep is not None:
        out = out * keep
    return out.transpose(1, 2).flatten(2)


def modulate(x, shift, scale):
    return x * (1 + scale) + shift


def zero_linear(n_in, n_out):
    linear = nn.Linear(n_in, n_out)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def mlp(d):
    return nn.Sequential(
        nn.Linear(d, 4 * d), nn.GELU(approximate="tanh"), nn.Linear(4 * d, d)
    )


class TokenEmbedding(nn.Module):
    def __init__(self, vocab, d):
        super().__init__()
        bound = 1 / math.sqrt(d)
        self.embedding = nn.Parameter(torch.empty(vocab, d).uniform_(-bound, bound))

    def forward(self, tokens):
        return F.embedding(tokens, self.embedding)


class SigmaMap(nn.Module):
    def __init__(self, cond):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(2 * SIGMA_FREQUENCIES, cond), nn.SiLU(), nn.Linear(cond, cond)
        )

    def forward(self, sigma):
        return self.mlp(sinusoid(sigma, SIGMA_FREQUENCIES, SIGMA_FREQUENCIES))


class EncoderBlock(nn.Module):
    def __init__(self, d, n_heads, cond, dropout):
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.norm1 = nn.LayerNorm(d, bias=False)
        self.attn_qkv = nn.Linear(d, 3 * d, bias=False)
        self.attn_out = nn.Linear(d, d, bias=False)
        self.norm2 = nn.LayerNorm(d, bias=False)
        self.mlp = mlp(d)
        self.adaLN_modulation = zero_linear(cond, 6 * d)

    def branch(self, x, gate):
        return gate * F.dropout(x, self.dropout, self.training)

    def forward(self, x, c, groups, rotary):
        shift1, scale1, gate1, shift2, scale2, gate2 = (
            self.adaLN_modulation(c)[:, None].chunk(6, dim=-1)
        )
        q, k, v = self.attn_qkv(modulate(self.norm1(x), shift1, scale1)).chunk(3, -1)
        a = attention(q, k, v, self.n_heads, rotary, groups.same)
        x = x + self.branch(self.attn_out(a), gate1)
        h = self.mlp(modulate(self.norm2(x), shift2, scale2))
        return x + self.branch(h, gate2)


class GroupSwap(nn.Module):
    """Queries that know only their position read the encoder output of the other group."""

    def __init__(self, d, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.base_embedding = nn.Parameter(torch.randn(1, d))
        self.pre_query_norm = nn.LayerNorm(d)
        self.query_processor = nn.Linear(d, d)
        self.hidden_to_key_value = nn.Linear(d, 2 * d)
        self.output_linear = nn.Linear(d, d)

    def forward(self, encoded, groups, rotary):
        b, l, d = encoded.shape
        query = self.base_embedding + sinusoid(torch.arange(l), d // 2, d / 2)
        query = self.query_processor(self.pre_query_norm(query)).expand(b, l, d)
        k, v = self.hidden_to_key_value(encoded).chunk(2, dim=-1)
        a = attention(
            query, k, v, self.n_heads, rotary, groups.other, groups.other_exists
        )
        return self.output_linear(a)


class DecoderBlock(nn.Module):
    def __init__(self, d, n_heads, cond, dropout):
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.q_norm1 = nn.LayerNorm(d, bias=False)
        self.kv_norm1 = nn.LayerNorm(d, bias=False)
        self.attn_q = nn.Linear(d, d, bias=False)
        self.attn_kv = nn.Linear(d, 2 * d, bias=False)
        self.attn_out = nn.Linear(d, d, bias=False)
        self.norm2 = nn.LayerNorm(d, bias=False)
        self.mlp = mlp(d)
        self.adaLN_modulation = zero_linear(cond, 6 * d)

    branch = EncoderBlock.branch

    def forward(self, x, encoded, c, groups, rotary):
        shift1, scale1, gate1, shift2, scale2, gate2 = (
            self.adaLN_modulation(c)[:, None].chunk(6, dim=-1)
        )
        q = self.attn_q(modulate(self.q_norm1(x), shift1, scale1))
        k, v = self.attn_kv(self.kv_norm1(encoded)).chunk(2, dim=-1)
        a = attention(q, k, v, self.n_heads, rotary, groups.other, groups.other_exists)
        x = x + self.branch(self.attn_out(a), gate1)
        h = self.mlp(modulate(self.norm2(x), shift2, scale2))
        return x + self.branch(h, gate2)


class OutputLayer(nn.Module):
    def __init__(self, d, vocab, cond):
        super().__init__()
        self.norm_final = nn.LayerNorm(d, bias=False)
        self.linear = zero_linear(d, vocab)
        self.adaLN_modulation = zero_linear(cond, 2 * d)

    def forward(self, x, c):
        shift, scale = self.adaLN_modulation(c)[:, None].chunk(2, dim=-1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class PartitionTransformer(nn.Module):
    """Predicts every token from the tokens of the other group; the last id is MASK."""

    def __init__(self, vocab, length, d, n_heads, n_encoder, n_decoder, cond, dropout):
        super().__init__()
        block = (d, n_heads, cond, dropout)
        self.vocab_embed = TokenEmbedding(vocab, d)
        self.sigma_map = SigmaMap(cond)
        self.encoder = nn.ModuleDict(
            {"blocks": nn.ModuleList(EncoderBlock(*block) for _ in range(n_encoder))}
        )
        self.decoder = nn.ModuleDict(
            {
                "group_swap": GroupSwap(d, n_heads),
                "layers": nn.ModuleList(DecoderBlock(*block) for _ in range(n_decoder)),
            }
        )
        self.output_layer = OutputLayer(d, vocab, cond)
        self.rotary = rotary_tables(length, d // n_heads)

    def forward(self, tokens, group, sigma):
        groups = Groups(group)
        c = F.silu(self.sigma_map(sigma))
        x = self.vocab_embed(tokens)
        for block in self.encoder["blocks"]:
            x = block(x, c, groups, self.rotary)
        encoded = x
        x = self.decoder["group_swap"](encoded, groups, self.rotary)
        for layer in self.decoder["layers"]:
            x = layer(x, encoded, c, groups, self.rotary)
        return self.output_layer(x, c)


# ---- training step -------------------------------------------------------------


def draw_times(n):
    """t and 1 - t, one draw in each n-th of the interval; neither is ever zero."""
    draw = torch.rand(n)
    u = (draw + torch.arange(n)) / n
    one_minus_u = ((1 - draw) + torch.arange(n - 1, -1, -1)) / n
    return (1 - TIME_EPS) * u + TIME_EPS, (1 - TIME_EPS) * one_minus_u


def draw_groups(t, length):
    """Group 1 with probability 1 - alpha(t)."""
    return (torch.rand(len(t), length) < (1 - ALPHA_EPS) * t[:, None]).long()


def elbo_terms(model, tokens, group, t, one_minus_t):
    """Each token's share [b, l] of the loss, whose mean is the training loss.

    -alpha'(t) / (1 - alpha(t)) is 1 / t; group 0 is seen as noised at time 1 - t.
    """
    logits = model(tokens, group, torch.zeros_like(t))
    # Without the last column MASK has probability zero.
    nll = F.cross_entropy(
        logits[..., :-1].flatten(0, 1), tokens.flatten(), reduction="none"
    ).view_as(tokens)
    return 0.5 * nll / torch.where(group == 1, t[:, None], one_minus_t[:, None])


class Ema:
    def __init__(self, parameters, decay=0.9999):
        self.shadow = [p.detach().clone() for p in parameters]
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, parameters):
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.shadow, list(parameters), 1 - decay)


def run_timing(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    model = PartitionTransformer(
        args.vocab_size,
        args.seq_len,
        args.d_model,
        args.n_heads,
        args.encoder_layers,
        args.decoder_layers,
        args.cond_dim,
        args.dropout,
    )
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=3e-4, fused=True)
    ema = Ema(parameters)

    seconds, losses = [], []
    for _ in range(args.warmup + args.steps):
        tokens = torch.randint(args.vocab_size - 1, (args.batch_size, args.seq_len))
        start = time.perf_counter()
        t, one_minus_t = draw_times(args.batch_size)
        group = draw_groups(t, args.seq_len)
        loss = elbo_terms(model, tokens, group, t, one_minus_t).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        ema.update(parameters)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)

    timed = seconds[args.warmup :]
    rates = [args.batch_size * args.seq_len / s for s in timed]
    quartiles = statistics.quantiles(rates, n=4, method="inclusive")
    sizes = {k: v for k, v in vars(args).items() if k != "fixtures"}
    report = {
        "tokens_per_s": {
            "median": round(quartiles[1], 1),
            "quartiles": [round(quartiles[0], 1), round(quartiles[2], 1)],
            "min": round(min(rates), 1),
            "max": round(max(rates), 1),
        },
        "ms_per_step": round(1e3 * statistics.median(timed), 2),
        "loss_first": round(losses[0], 4),
        "loss_last": round(losses[-1], 4),
        "parameters": sum(p.numel() for p in parameters),
        "torch": torch.__version__,
        "dtype": "float32",
        **sizes,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(report, indent=2))
    return True


# ---- golden values ---------------------------------------------------------------


def run_fixtures(folder):
    from safetensors.torch import load_file

    def load(name):
        return load_file(folder / f"{name}.safetensors")

    weights, inputs = load("weights_pgm_linear_n025"), load("pgm_inputs")
    golden, golden_loss = load("pgm_learn_freqs_linear_n025"), load("pgm_losses")
    tokens, group, t = inputs["tokens"], inputs["group_idxs"], inputs["t"]

    head_dim = 2 * len(weights.pop("rotary_emb.inv_freq"))
    vocab, d = weights["vocab_embed.embedding"].shape
    model = PartitionTransformer(
        vocab,
        tokens.shape[1],
        d,
        d // head_dim,
        len({k.split(".")[2] for k in weights if k.startswith("encoder.blocks.")}),
        len({k.split(".")[2] for k in weights if k.startswith("decoder.layers.")}),
        weights["sigma_map.mlp.2.weight"].shape[0],
        0.0,
    )
    model.load_state_dict(weights)
    good = True

    def check(name, ours, theirs, relative=False):
        nonlocal good
        error = (ours - theirs).abs().max().item()
        if relative:
            error /= theirs.abs().max().item()
        passed = error <= TOLERANCE  # False for NaN
        good = good and passed
        kind = "relative" if relative else "absolute"
        print(f"{'ok  ' if passed else 'FAIL'} {name}: largest {kind} error {error:.2e}")

    with torch.no_grad():
        logits = model(tokens, group, inputs["sigma"])
        check("logits_train", logits[..., :-1], golden["logits_train"][..., :-1])
        one_group = group.clone()
        one_group[1] = 0
        logits = model(tokens, one_group, inputs["sigma"])
        name = "logits_train_empty_group"
        check(name, logits[..., :-1], golden[name][..., :-1])

    terms = elbo_terms(model, tokens, group, t, 1 - t)
    terms.mean().backward()
    name = "n025.elbo.train.nll"
    check(name, terms.detach(), golden_loss[name], relative=True)
    for name, value in golden_loss.items():
        if name.startswith("n025.grad."):
            parameter = model.get_parameter(name.removeprefix("n025.grad."))
            check(name, parameter.grad, value, relative=True)
    return good


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--d-model", type=int, default=128)
    parser.add_argument("--n-heads", type=int, default=4)
    parser.add_argument("--encoder-layers", type=int, default=3)
    parser.add_argument("--decoder-layers", type=int, default=3)
    parser.add_argument("--seq-len", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--vocab-size", type=int, default=1025, help="MASK included")
    parser.add_argument("--cond-dim", type=int, default=32)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30, help="timed steps")
    parser.add_argument("--warmup", type=int, default=5, help="steps before them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fixtures", type=Path, help="check against this folder instead")
    args = parser.parse_args()
    good = run_fixtures(args.fixtures) if args.fixtures else run_timing(args)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
