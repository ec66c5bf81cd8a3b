"""Writes tiny checkpoints in the form of the authors' (PyTorch 2.x, no other package needed).

    python make_checkpoints.py

Training checkpoints hold what Lightning puts beside the weights: optimizer states, loops, callbacks,
and hyperparameters with objects of classes that do not exist elsewhere. One of these objects would
make a folder named `executed-by-a-pickle` if it were unpickled.

Element j of parameter k is 1000 k + j in `state_dict` and its negative in `ema.shadow_params`;
parameters are counted in the order of `parameters()`. In `state_dict_pgm_mlp4.pt` it is k. `checkpoint_wrapped.pt` has
the values of `checkpoint_mdlm.ckpt` as other training code keeps them: `model` and `ema.shadow` by name, with the prefixes
of wrappers, and with buffers that are no floats.
"""

import collections
import enum
import os
import pathlib
import typing

import torch
from torch import nn

VOCAB, D, COND, RATIO = 11, 8, 4, 2


def linear(d_in, d_out, bias=True):
    return nn.Linear(d_in, d_out, bias=bias)


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(D))


class Embedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(VOCAB, D))


class SigmaMap(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(linear(256, COND), nn.SiLU(), linear(COND, COND))


class Rotary(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("inv_freq", torch.ones(2))


def mlp():
    return nn.Sequential(linear(D, RATIO * D), nn.GELU(), linear(RATIO * D, D))


class EncoderBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = Norm()
        self.attn_qkv = linear(D, 3 * D, bias=False)
        self.attn_out = linear(D, D, bias=False)
        self.norm2 = Norm()
        self.mlp = mlp()
        self.adaLN_modulation = linear(COND, 6 * D)


class DecoderBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_norm1 = Norm()
        self.kv_norm1 = Norm()
        self.norm2 = Norm()
        self.attn_q = linear(D, D, bias=False)
        self.attn_kv = linear(D, 2 * D, bias=False)
        self.attn_out = linear(D, D, bias=False)
        self.mlp = mlp()
        self.adaLN_modulation = linear(COND, 6 * D)


class GroupSwap(nn.Module):
    def __init__(self, mlp4):
        super().__init__()
        self.base_embedding = nn.Parameter(torch.empty(1, D))
        self.pre_query_norm = nn.LayerNorm(D)
        self.query_processor = (
            nn.Sequential(linear(D, 4 * D), nn.SiLU(), linear(4 * D, D)) if mlp4 else linear(D, D)
        )
        self.hidden_to_key_value = linear(D, 2 * D)
        self.output_linear = linear(D, D)


class Output(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_final = Norm()
        self.linear = linear(D, VOCAB)
        self.adaLN_modulation = linear(COND, 2 * D)


class Blocks(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock() for _ in range(n))


class Decoder(nn.Module):
    def __init__(self, n, mlp4):
        super().__init__()
        self.group_swap = GroupSwap(mlp4)
        self.layers = nn.ModuleList(DecoderBlock() for _ in range(n))


class Pgm(nn.Module):
    def __init__(self, mlp4=False):
        super().__init__()
        self.vocab_embed = Embedding()
        self.sigma_map = SigmaMap()
        self.rotary_emb = Rotary()
        self.encoder = Blocks(1)
        self.decoder = Decoder(2, mlp4)
        self.output_layer = Output()


class Mdlm(nn.Module):
    def __init__(self):
        super().__init__()
        self.vocab_embed = Embedding()
        self.sigma_map = SigmaMap()
        self.rotary_emb = Rotary()
        self.blocks = nn.ModuleList(EncoderBlock() for _ in range(2))
        self.output_layer = Output()


class Precision(enum.Enum):
    BF16 = "bf16"


class Config:
    """Refers to itself, as nested OmegaConf nodes refer to their parents."""

    def __init__(self):
        self.content = {"length": 16, "lr": 3e-4, "precision": Precision.BF16}
        self.parent = self
        self.cache = collections.defaultdict(dict, {"now": {}})
        self.type = typing.Any


class Tokenizer:
    def __getstate__(self):
        return {"vocab": {f"token-{i}": i for i in range(20)}, "bytes": bytes(range(256))}


class AttributeDict(dict):
    pass


class Executed:
    def __reduce__(self):
        return os.mkdir, ("executed-by-a-pickle",)


def fill(model):
    with torch.no_grad():
        for k, parameter in enumerate(model.parameters()):
            values = 1000 * k + torch.arange(parameter.numel(), dtype=torch.float32)
            parameter.copy_(values.reshape(parameter.shape))
    return model


def lightning_checkpoint(backbone):
    module = nn.Module()
    module.backbone = backbone
    optimizer = torch.optim.Adam(list(backbone.parameters())[:1])
    next(backbone.parameters()).grad = torch.zeros(VOCAB, D)
    state = optimizer.state_dict()
    state["state"][0] = {"step": torch.tensor(3.0), "exp_avg": torch.zeros(VOCAB, D)}
    hyper_parameters = AttributeDict(config=Config(), tokenizer=Tokenizer(), run=Executed())
    return {
        "epoch": 0,
        "global_step": 2**40,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": module.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"ready": 1}}},
        "callbacks": {"ModelCheckpoint{}": {"best": torch.tensor(4.2), "path": None}},
        "optimizer_states": [state],
        "lr_schedulers": [{"last_epoch": 3, "_last_lr": [3e-4]}],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters,
        "ema": {
            "decay": 0.9999,
            "num_updates": 3,
            "shadow_params": [-p.detach().clone() for p in backbone.parameters()],
        },
    }


def wrapped_checkpoint(network):
    """Of a compiled network with compiled blocks in `DistributedDataParallel`, and a loss with weights of its own."""
    names = [name for name, _ in network.named_parameters()]
    names = [name.replace("blocks.0.", "blocks.0._orig_mod.") for name in names]
    raw = {f"module._orig_mod.{name}": p.detach() for name, p in zip(names, network.parameters())}
    average = {name: -tensor for name, tensor in raw.items()}
    raw["module._orig_mod.blocks.0._orig_mod.mask"] = torch.ones(1, 4, dtype=torch.bool).expand(4, 4)
    raw["module._orig_mod.n_batches"] = torch.tensor(3, dtype=torch.int16)
    raw["loss.class_weights"] = torch.ones(VOCAB)
    return {"step": 3, "model": raw, "ema": {"decay": 0.9999, "shadow": average}, "rng": torch.get_rng_state()}


def main():
    folder = pathlib.Path(__file__).parent
    torch.save(lightning_checkpoint(fill(Pgm())), folder / "checkpoint_pgm.ckpt")
    torch.save(lightning_checkpoint(fill(Mdlm())), folder / "checkpoint_mdlm.ckpt")
    torch.save(wrapped_checkpoint(fill(Mdlm())), folder / "checkpoint_wrapped.pt")
    # A bare state dict in half precision, all of it one storage.
    model = Pgm(mlp4=True)
    sizes = [p.numel() for p in model.parameters()]
    flat = torch.cat([torch.full((n,), float(k)) for k, n in enumerate(sizes)]).bfloat16()
    parts = flat.split(sizes)
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    views = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes)}
    torch.save(views, folder / "state_dict_pgm_mlp4.pt")


if __name__ == "__main__":
    main()
