"""What bitsandbytes makes of a matrix in NF4 (QLoRA, arXiv:2305.14314 §3), and of it again.

    x̂ = a·c_q      a = max|x| of a block of 64, c the 16 codes, q the nearest

Values, sizes and decoded values as the bits of float32, so that an engine can be held to equality;
without double quantisation. Checked before it is written: each decoded value is a code times its
block's size, and none lies nearer. Writes nf4.json.
"""

import bitsandbytes
import torch
from bitsandbytes import functional
from noise import write_document

ROWS, COLUMNS, BLOCK = 5, 192, 64


def bits(values: torch.Tensor) -> list[int]:
    return [word & 0xFFFFFFFF for word in values.flatten().view(torch.int32).tolist()]


def main() -> None:
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn((ROWS, COLUMNS), generator=generator) * 0.05
    weight[2, 64:128] = 0  # a block of zeros
    weight[3] *= 1e4
    packed, state = functional.quantize_4bit(weight, blocksize=BLOCK, quant_type="nf4")
    decoded = functional.dequantize_4bit(packed, state)
    sizes = weight.view(-1, BLOCK).abs().amax(dim=1)
    assert torch.equal(state.absmax.float(), sizes)
    codes = state.code.float()
    products = codes * sizes[:, None]
    blocks = decoded.view(-1, BLOCK)
    distances = (weight.view(-1, BLOCK, 1) - products[:, None, :]).abs().amin(dim=2)
    assert torch.isin(blocks[0], products[0]).all()
    assert torch.allclose((weight.view(-1, BLOCK) - blocks).abs(), distances, atol=1e-6, rtol=1e-6)
    write_document(
        "nf4.json",
        {
            "bitsandbytes": bitsandbytes.__version__,
            "torch": torch.__version__,
            "rows": ROWS,
            "columns": COLUMNS,
            "values": bits(weight),
            "decoded": bits(decoded),
        },
    )


if __name__ == "__main__":
    main()
