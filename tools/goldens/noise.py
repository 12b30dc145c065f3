"""The engine's noise, written a second time in numpy: the oracle of the Rust side.

Every random number is a pure function of who asks for it (Philox4x32-10, Salmon et al. 2011,
SC'11):

    stream key = words 0, 1 of philox(counter = [step_lo, step_hi, phase | micro_batch << 8, 0], key
    = [seed_lo, seed_hi])
    draw       = philox(counter = [element_block, position, row, site | sample << 16], key = stream key)
    site       = slot * 16 + purpose,   slot = block * 8 + module,   lm_head: slot = num_layers * 8 + 7

Transcendental functions are evaluated in float64 and rounded once to float32; the engine's own
float32 polynomials differ from that in the last bits. Run as a script to write
crates/blob-core/tests/goldens/noise.json.
"""

import json
from pathlib import Path

import numpy as np

GOLDENS = Path(__file__).resolve().parents[2] / "crates" / "blob-core" / "tests" / "goldens"

TRAINING, EVALUATION, INITIALISATION = 0, 1, 2
GAUSSIAN, INPUT_SIGNS, RANK_SIGNS, MEAN_DROPOUT, NOISE_DROPOUT, INITIAL_A, INITIAL_RHO = range(7)
MODULES = {
    "q_proj": 0,
    "k_proj": 1,
    "v_proj": 2,
    "o_proj": 3,
    "gate_proj": 4,
    "up_proj": 5,
    "down_proj": 6,
    # several in one have the slot of the first
    "qkv_proj": 0,
    "gate_up_proj": 4,
}

# Bits of the uniforms under Box-Muller: u = (⌊w / 2^(32 − bits)⌋ + ½)·2^−bits.
NORMAL_BITS = 23

_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

# Random123's published vectors for philox4x32-10: counter, key, result.
KNOWN_ANSWERS = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def philox(counter, key):
    """Ten rounds of Philox4x32. counter (..., 4), key (2,) → words (..., 4), all uint32."""
    c0, c1, c2, c3 = (np.asarray(counter)[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = (np.uint64(int(word)) for word in key)
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * c0
        product1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (product1 >> _SHIFT) ^ c1 ^ k0,
            product1 & _MASK,
            (product0 >> _SHIFT) ^ c3 ^ k1,
            product0 & _MASK,
        )
        k0 = (k0 + np.uint64(0x9E3779B9)) & _MASK
        k1 = (k1 + np.uint64(0xBB67AE85)) & _MASK
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def words64(value):
    """(low, high) 32-bit words of an unsigned 64-bit number."""
    return value & 0xFFFFFFFF, value >> 32


def stream_key(seed, step, phase, micro_batch=0):
    """The key under which all draws of one update (or evaluation, or initialisation) are made. →
    (2,) uint32."""
    assert step == 0 if phase != TRAINING else step >= 1, (
        "training counts from 1, the other phases use 0"
    )
    return philox(
        np.array([*words64(step), phase | micro_batch << 8, 0], np.uint64), words64(seed)
    )[:2]


def slot_of(module_path, num_layers):
    """Slot of a Hugging Face module path: `model.layers.3.self_attn.q_proj`, `lm_head`."""
    parts = module_path.split(".")
    if parts[-1] == "lm_head":
        return num_layers * 8 + 7
    return int(parts[parts.index("layers") + 1]) * 8 + MODULES[parts[-1]]


def draw(key, slot, purpose, blocks, position=0, row=0, sample=0):
    """Words of the element blocks 0..blocks. → (blocks, 4) uint32."""
    site = slot * 16 + purpose
    assert site < 1 << 16 and sample < 1 << 16, "site and sample hold 16 bits each"
    counter = np.zeros((blocks, 4), np.uint64)
    counter[:, 0] = np.arange(blocks)
    counter[:, 1:] = [position, row, site | sample << 16]
    return philox(counter, key)


def normals_of_words(words):
    """Box-Muller: words (..., 4) → standard normals (..., 4), float64."""
    u = ((words >> np.uint32(32 - NORMAL_BITS)).astype(np.float64) + 0.5) * 2.0**-NORMAL_BITS
    radius = np.sqrt(-2.0 * np.log(u[..., 0::2]))
    angle = 2.0 * np.pi * u[..., 1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(words.shape)


def gaussian(key, slot, r, k, sample=0):
    """E, shared by every row of a forward call. → (r, k) float32."""
    words = draw(key, slot, GAUSSIAN, -(-r * k // 4), sample=sample)
    return normals_of_words(words).ravel()[: r * k].reshape(r, k).astype(np.float32)


def uniforms(key, slot, purpose, count):
    """Multiples of 2^-24 in [0, 1). → (count,) float64 (exact in float32)."""
    words = draw(key, slot, purpose, -(-count // 4))
    return ((words >> np.uint32(8)).astype(np.float64) * 2.0**-24).ravel()[:count]


def initial_a(key, slot, r, k):
    """Kaiming-uniform with a = √5: U(-1/√k, 1/√k). → (r, k) float32."""
    u = uniforms(key, slot, INITIAL_A, r * k).reshape(r, k)
    return ((2.0 * u - 1.0) / np.sqrt(k)).astype(np.float32)


def initial_rho(key, slot, r, k, eps=0.05):
    """eps ≥ 0 (σ = ρ²): U(eps/√2, eps); eps < 0 (σ = softplus ρ): U(eps - 1, eps). → (r, k)
    float32."""
    lo, hi = (eps / np.sqrt(2.0), eps) if eps >= 0 else (eps - 1.0, eps)
    u = uniforms(key, slot, INITIAL_RHO, r * k).reshape(r, k)
    return (lo + (hi - lo) * u).astype(np.float32)


def signs(key, slot, purpose, count, position, row, sample=0):
    """Flipout signs of one token: bit 1 is -1, bit 0 is +1. → (count,) float32."""
    words = draw(key, slot, purpose, -(-count // 128), position, row, sample).ravel()
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    return (1.0 - 2.0 * bits.ravel()[:count]).astype(np.float32)


def dropped_below(p):
    """Of 65,536 halves of words those below it are dropped. p in (0, 1) → int."""
    return min(max(int(np.floor(np.float32(p) * np.float32(65536) + 0.5)), 1), 65535)


def dropped(key, slot, purpose, count, p, position, row, sample=0):
    """What dropout takes from one token: eight elements to a draw, a word's low half first. → (count,)
    bool."""
    words = draw(key, slot, purpose, -(-count // 8), position, row, sample)
    halves = np.stack([words & np.uint32(0xFFFF), words >> np.uint32(16)], axis=-1)
    return halves.ravel()[:count] < dropped_below(p)


def token_signs(mode, key, slot, purpose, count, positions, row, sample=0):
    """Signs of the tokens of one prompt under --noise token, example or shared. → (len(positions),
    count) float32."""
    if mode == "shared":
        return np.ones((len(positions), count), np.float32)
    asked = positions if mode == "token" else [0] * len(positions)
    return np.stack([signs(key, slot, purpose, count, position, row, sample) for position in asked])


def check():
    """The generator's published answers, one normal by hand, and moments over many draws."""
    for counter, key, expected in KNOWN_ANSWERS:
        assert philox(np.array(counter, np.uint64), key).tolist() == expected

    key = stream_key(1, 1, TRAINING)
    words = draw(key, 0, GAUSSIAN, 1)[0]
    u = [((int(word) >> (32 - NORMAL_BITS)) + 0.5) / 2**NORMAL_BITS for word in words]
    by_hand = np.sqrt(-2 * np.log(u[2])) * np.sin(2 * np.pi * u[3])
    assert abs(by_hand - gaussian(key, 0, 1, 4)[0, 3]) < 1e-6

    e = gaussian(key, 3, 8, 32768).astype(
        np.float64
    )  # n = 262144: sd of the mean is 0.002, of the variance 0.0028
    assert abs(e.mean()) < 0.01 and abs(e.var() - 1) < 0.014 and abs((e**4).mean() - 3) < 0.1
    s = signs(key, 3, INPUT_SIGNS, 65536, 5, 9)
    assert abs(s.mean()) < 0.02 and set(s) == {-1.0, 1.0}
    assert not np.array_equal(gaussian(key, 3, 2, 8), gaussian(key, 3, 2, 8, sample=1))
    mask = dropped(key, 3, MEAN_DROPOUT, 65536, 0.1, 5, 9)
    assert abs(mask.mean() - 0.1) < 0.006


def normal_case(key, slot, r, k, sample):
    values = gaussian(key, slot, r, k, sample).ravel().tolist()
    return {"slot": slot, "r": r, "k": k, "sample": sample, "values": values}


def sign_case(key, slot, purpose, count, position, row, sample):
    values = signs(key, slot, purpose, count, position, row, sample).astype(int).tolist()
    case = {
        "slot": slot,
        "purpose": purpose,
        "count": count,
        "position": position,
        "row": row,
        "sample": sample,
    }
    return case | {"negative": [i for i, value in enumerate(values) if value < 0]}


def mask_case(key, slot, purpose, count, p, position, row, sample):
    mask = dropped(key, slot, purpose, count, p, position, row, sample)
    case = {
        "slot": slot,
        "purpose": purpose,
        "count": count,
        "p": p,
        "position": position,
        "row": row,
        "sample": sample,
    }
    return case | {"dropped": np.flatnonzero(mask).tolist()}


def golden():
    """Every function above on a few arguments, awkward ones among them (64-bit seed and step, part
    blocks)."""
    big = 0xFEDCBA9876543210
    asked = [
        (1, 1, TRAINING, 0),
        (big, 5_000_000_000, TRAINING, 3),
        (7, 0, EVALUATION, 0),
        (7, 0, INITIALISATION, 0),
    ]
    key = stream_key(big, 5_000_000_000, TRAINING, 3)
    extremes = np.array(
        [[0, 0, 0, 0xFFFFFFFF], [0x80000000, 0x40000000, 0xFFFF0000, 0xC0000000]], np.uint32
    )
    return {
        "philox": [{"counter": c, "key": k, "words": w} for c, k, w in KNOWN_ANSWERS],
        "stream_keys": [
            {
                "seed": s,
                "step": t,
                "phase": p,
                "micro_batch": m,
                "key": stream_key(s, t, p, m).tolist(),
            }
            for s, t, p, m in asked
        ],
        "key": key.tolist(),
        "draws": [
            {
                "slot": 255,
                "purpose": 4,
                "position": 299,
                "row": 0xFFFFFFFF,
                "sample": 65535,
                "blocks": 2,
                "words": draw(key, 255, 4, 2, 299, 0xFFFFFFFF, 65535).tolist(),
            }
        ],
        "normals_of_words": [
            {"words": w.tolist(), "values": normals_of_words(w).tolist()} for w in extremes
        ],
        "gaussian": [normal_case(key, 0, 4, 8, 0), normal_case(key, 23, 3, 5, 9)],
        "signs": [
            sign_case(key, 16, INPUT_SIGNS, 300, 0, 0, 0),
            sign_case(key, 18, INPUT_SIGNS, 32, 17, 123456, 2),
            sign_case(key, 18, RANK_SIGNS, 8, 17, 123456, 2),
        ],
        "dropped": [
            mask_case(key, 16, MEAN_DROPOUT, 300, 0.1, 3, 0, 0),
            mask_case(key, 18, NOISE_DROPOUT, 37, 0.5, 17, 123456, 2),
        ],
        "initial_a": {
            "slot": 2,
            "r": 3,
            "k": 7,
            "values": initial_a(key, 2, 3, 7).ravel().tolist(),
        },
        "initial_rho": [
            {
                "slot": 2,
                "r": 3,
                "k": 7,
                "eps": eps,
                "values": initial_rho(key, 2, 3, 7, eps).ravel().tolist(),
            }
            for eps in (0.05, -0.05)
        ],
        "normal_bits": NORMAL_BITS,
        "versions": {"numpy": np.__version__},
    }


def write_document(name, document):
    """A JSON golden: one line for each top-level key, small and still readable in a diff."""
    GOLDENS.mkdir(parents=True, exist_ok=True)
    lines = (
        f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}"
        for key, value in document.items()
    )
    (GOLDENS / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    check()
    write_document("noise.json", golden())


if __name__ == "__main__":
    main()
