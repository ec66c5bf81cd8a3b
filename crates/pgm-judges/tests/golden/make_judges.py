"""Tiny, randomly initialised judges and their logits, as `transformers` computes them on a CPU.

    pip install torch transformers safetensors gguf
    python make_judges.py [name ...]

Writes `<name>/`, all of them or those that are named: `config.json`, `model.safetensors` (or `model.gguf`) and
`expected.safetensors` with `tokens` [2, 24] and `logits` [2, 24, 300]. A variant has no weights of its own, but those of
another folder. Made with torch 2.15.0, transformers 5.23.0 (`llama3` with 5.24.0; the variants and `llama3_gguf` with
5.17.0), gguf 0.19.0.
"""

import shutil
import sys
from pathlib import Path

import gguf
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent
VOCAB = 300

GPT2 = GPT2Config(vocab_size=VOCAB, n_positions=32, n_embd=32, n_layer=2, n_head=4)


def llama(**settings):
    sizes = dict(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return LlamaConfig(**(sizes | settings))


def randomise(model):
    """Larger weights than those after initialisation, and no norm or bias that does nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = "norm" in name or "ln_" in name
            mean = 1.0 if is_norm and name.endswith("weight") else 0.0
            parameter.copy_(mean + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def save_expected(folder, model):
    tokens = torch.randint(0, VOCAB, (2, 24), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        logits = model(tokens).logits
    save_file({"tokens": tokens, "logits": logits.contiguous()}, folder / "expected.safetensors")


def save_folder(name, model):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    save_expected(folder, model)


def save_variant(name, weights_of, model):
    """Another configuration for the weights of another folder."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    for parameter, tensor in load_file(HERE / weights_of / "model.safetensors").items():
        assert torch.equal(model.get_parameter(parameter), tensor), parameter
    model.config.save_pretrained(folder)
    save_expected(folder, model)


def save_gguf_variant(name, weights_of, model):
    """Rotary frequencies for the dequantised weights of another folder; the test writes them into a copy of its header."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scratch = folder / "model.gguf"
    write_gguf(scratch, model, None)
    original = gguf.GGUFReader(HERE / weights_of / "model.gguf").tensors
    for tensor, wanted in zip(gguf.GGUFReader(scratch).tensors, original, strict=True):
        assert tensor.name == wanted.name and (tensor.data == wanted.data).all(), tensor.name
    scratch.unlink()
    save_expected(folder, model)


def save_gguf(name, model, rope_divisors=None):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_gguf(folder / "model.gguf", model, rope_divisors)
    save_expected(folder, model)


def write_gguf(path, model, rope_divisors):
    """As llama.cpp converts: rows of queries and keys sorted for neighbouring pairs, then quantised."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if rope_divisors is not None:
        writer.add_tensor("rope_freqs.weight", rope_divisors.numpy())
    types = {
        "q_proj": gguf.GGMLQuantizationType.Q4_1,
        "k_proj": gguf.GGMLQuantizationType.Q8_0,
        "v_proj": gguf.GGMLQuantizationType.Q4_0,
        "o_proj": gguf.GGMLQuantizationType.F16,
        "embed": gguf.GGMLQuantizationType.Q8_0,
    }
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            kind = next((kind for part, kind in types.items() if part in name), gguf.GGMLQuantizationType.F32)
            heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
            heads = next((n for part, n in heads.items() if part in name), None)
            values = parameter
            if heads is not None:
                halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
                values = halves.swapaxes(1, 2).reshape(parameter.shape)
            packed = gguf.quantize(values.numpy(), kind)
            restored = torch.from_numpy(gguf.dequantize(packed, kind).copy()).reshape(values.shape)
            if heads is not None:
                pairs = restored.reshape(heads, restored.shape[0] // heads // 2, 2, *restored.shape[1:])
                restored = pairs.swapaxes(1, 2).reshape(parameter.shape)
            parameter.copy_(restored)
            file_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
            writer.add_tensor(file_name, packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gpt2(**settings):
    return randomise(GPT2LMHeadModel(GPT2Config(**(GPT2.to_diff_dict() | settings))))


def tied_llama(rope, **settings):
    settings = dict(tie_word_embeddings=True, rope_parameters=dict(rope)) | settings
    return randomise(LlamaForCausalLM(llama(**settings)))


ROPE = {"rope_theta": 50000.0, "rope_type": "default"}
# Frequencies of Llama 3.1 with a length that puts waves of these 4 pairs into all three of its ranges.
LLAMA3 = {
    "rope_theta": 500.0,
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_theta": 50000.0, "rope_type": "linear", "factor": 4.0}
YARN = {
    "rope_theta": 50000.0,
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
# A ramp from pair 0.25 to pair 2.97 of the pairs 0 to 3.
YARN_OPTIONS = YARN | {
    "rope_theta": 50.0,
    "beta_fast": 2.0,
    "beta_slow": 0.14,
    "truncate": False,
    "mscale": 1.5,
    "mscale_all_dim": 0.5,
}


def llama3_gguf():
    """llama.cpp has no frequencies of Llama 3.1, but a tensor of what the plain ones are divided by."""
    model = tied_llama(LLAMA3, max_position_embeddings=512)
    plain = 500.0 ** -(torch.arange(0, 8, 2) / 8)
    save_gguf("llama3_gguf", model, plain / model.model.rotary_emb.inv_freq)


JUDGES = {
    "gpt2": lambda: save_folder("gpt2", gpt2()),
    "llama": lambda: save_folder("llama", randomise(LlamaForCausalLM(llama(tie_word_embeddings=False)))),
    "llama_tied": lambda: save_folder("llama_tied", tied_llama(ROPE)),
    "llama3": lambda: save_folder("llama3", tied_llama(LLAMA3, max_position_embeddings=512)),
    "llama_gguf": lambda: save_gguf("llama_gguf", tied_llama(ROPE)),
    "llama3_gguf": llama3_gguf,
    "gpt2_scaled": lambda: save_variant(
        "gpt2_scaled",
        "gpt2",
        gpt2(scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True),
    ),
    "llama_linear": lambda: save_variant("llama_linear", "llama_tied", tied_llama(LINEAR)),
    "llama_yarn": lambda: save_variant("llama_yarn", "llama_tied", tied_llama(YARN)),
    "llama_yarn_options": lambda: save_variant("llama_yarn_options", "llama_tied", tied_llama(YARN_OPTIONS)),
    "llama_gguf_linear": lambda: save_gguf_variant("llama_gguf_linear", "llama_gguf", tied_llama(LINEAR)),
    "llama_gguf_yarn": lambda: save_gguf_variant("llama_gguf_yarn", "llama_gguf", tied_llama(YARN)),
}

for name in sys.argv[1:] or JUDGES:
    torch.manual_seed(0)
    JUDGES[name]()
