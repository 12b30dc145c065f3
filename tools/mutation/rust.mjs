// npm run mutate:rust -- [module…]: changes each function and operator of the engine's mathematics,
// and counts the changes that no test sees. Needs cargo-mutants (cargo install cargo-mutants
// --locked). Not part of npm test: there are a thousand, and each is compiled.

import { run } from '../steps.mjs';

const MODULES = ['adapter', 'kl', 'method', 'objective', 'optim', 'predict', 'noise'];
/** Those that hold the mathematics; the others are about files, kernels and guests. */
const TESTS = ['--lib', '--test', 'identities', '--test', 'training', '--test', 'parity'];

const asked = process.argv.slice(2);
const source = 'crates/blob-core/src';
const files = (asked.length > 0 ? asked : MODULES).flatMap((name) => [
  ...['--file', `${source}/${name}.rs`],
  ...['--file', `${source}/${name}/**`],
]);
const { ok } = run('cargo', [
  ...['mutants', '--package', 'blob-core', '--output', '.cache/mutation', ...files],
  ...['--cargo-arg=--config=tools/mutation/profile.toml', '--profile=mutants', '--jobs=1'],
  ...['--timeout=600', '--', '--locked', ...TESTS],
]);
process.exitCode = ok ? 0 : 1;
