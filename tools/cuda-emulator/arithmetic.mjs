// Counts the arithmetic that kernels execute: each instruction of the compiler's assembly adds what
// it does to one of three counters, which `emu_arithmetic` names to the driver:
//
//   0  additions, multiplications, comparisons; two of a fused multiply-add
//   1  the same inside of a tensor core's operation (functions with `emu_mma` in their name)
//   2  divisions, roots, exponentials and other functions
//
// Neither moves nor `lea` change the flags that the surrounding code relies on.

const ARITHMETIC = /^\tv(add|sub|mul|max|min|div|sqrt)(ss|sd|ps|pd)\t.*?(%[xy]mm)\d+$/;
const FUSED = /^\tvfn?m(?:add|sub)(?:132|213|231)(ss|sd|ps|pd)\t.*?(%[xy]mm)\d+$/;
const FUNCTION =
  /^\tcall\t(?:_Z\w*)?(?:exp2?|log2?|log1p|expm1|sin|cos|tanh|erf|pow|fma|sqrt)(f?)(?:@PLT)?$/;

/** How many values an instruction works on. */
function lanes(kind, register) {
  const whole = register === '%ymm' ? 8 : 4;
  return { ss: 1, sd: 1, ps: whole, pd: whole / 2 }[kind];
}

/** [counter, amount] of a line; null: it does no arithmetic. */
function cost(line, isTensorCore) {
  const plain = isTensorCore ? 1 : 0;
  const fused = FUSED.exec(line);
  if (fused !== null) return [plain, 2 * lanes(fused[1], fused[2])];
  const one = ARITHMETIC.exec(line);
  if (one !== null) {
    const isSlow = one[1] === 'div' || one[1] === 'sqrt';
    return [isSlow ? 2 : plain, lanes(one[2], one[3])];
  }
  if (!FUNCTION.test(line)) return null;
  return /\bfmaf?\b/.test(line) ? [plain, 2] : [2, 1];
}

/** @param text assembly of g++ for x86-64 @returns the same, counting */
export function countArithmetic(text) {
  let isTensorCore = false;
  const counted = text.split('\n').flatMap((line) => {
    const label = /^(\w+):/.exec(line);
    if (label !== null) isTensorCore = label[1].includes('emu_mma');
    const found = cost(line, isTensorCore);
    if (found === null) return [line];
    const [counter, amount] = found;
    const at = `.Lemu_arithmetic+${8 * counter}(%rip)`;
    const add = [`movq\t${at}, %rax`, `leaq\t${amount}(%rax), %rax`, `movq\t%rax, ${at}`];
    const kept = '.Lemu_arithmetic+24(%rip)';
    return [
      `\tmovq\t%rax, ${kept}`,
      ...add.map((one) => `\t${one}`),
      `\tmovq\t${kept}, %rax`,
      line,
    ];
  });
  return `${counted.join('\n')}
\t.bss
\t.globl emu_arithmetic
\t.align 8
emu_arithmetic:
.Lemu_arithmetic:
\t.zero 32
`;
}
