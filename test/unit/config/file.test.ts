import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readConfigFile } from '../../../ts/config/file.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

function written(name: string, text: string): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, text);
  return path;
}

it.each([
  ['x.json', '{"kl_lr": 0.01, "target_modules": ["q_proj"]}'],
  ['x.yaml', 'kl_lr: 0.01\ntarget_modules: [q_proj]\n'],
  ['x.YML', 'kl_lr: 0.01\ntarget_modules: [q_proj]\n'],
])('reads %s by the names of the library', async (name, text) => {
  const { values } = await readConfigFile(written(name, text));
  expect(values).toEqual({ klLr: 0.01, targetModules: ['q_proj'] });
});

it('leaves out what only an editor reads', async () => {
  const path = written('x.json', '{"$schema": "./bpeft.schema.json", "seed": 7}');
  expect((await readConfigFile(path)).values).toEqual({ seed: 7 });
});

it("reads the settings out of a run folder's config.json", async () => {
  const path = written('config.json', '{"format": 1, "config": {"seed": 7}, "versions": {}}');
  expect((await readConfigFile(path)).values).toEqual({ seed: 7 });
});

it.each([
  ['broken JSON', 'x.json', '{', /cannot read config file .*x\.json/],
  ['broken YAML', 'x.yaml', 'a: [', /cannot read config file .*x\.yaml/],
  ['a list', 'x.json', '[1]', /must hold one mapping of settings, got \[1\]/],
  ['null', 'x.json', 'null', /must hold one mapping of settings, got null/],
  ['a text', 'x.json', '"kl_lr"', /must hold one mapping of settings, got "kl_lr"/],
  ['YAML in a file of JSON', 'x.json', 'kl_lr: 0.01', /cannot read config file .*x\.json/],
  ['camelCase', 'x.json', '{"klLr": 1}', /settings are written in snake_case, got "klLr"/],
  ['another kind of file', 'x.toml', 'a = 1', /must name a \.json or \.yaml file/],
])('refuses %s', async (_, name, text, message) => {
  await expect(readConfigFile(written(name, text))).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
    message: expect.stringMatching(message),
  });
});

it('says how a name is written, and why a file could not be read', async () => {
  const camel = written('x.json', '{"klLr": 1}');
  await expect(readConfigFile(camel)).rejects.toMatchObject({ hint: 'did you mean kl_lr?' });
  const broken = written('x.json', '{');
  await expect(readConfigFile(broken)).rejects.toMatchObject({ cause: expect.any(SyntaxError) });
});

it("takes a key `config` for a setting's name where the file is no run's", async () => {
  const path = written('x.json', '{"config": {"seed": 7}}');
  expect((await readConfigFile(path)).values).toEqual({ config: { seed: 7 } });
});
