// The pages of docs/api, by typedoc from both doors of the library. It wants a TypeScript of its
// own, which cannot be installed beside ours.

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownPackages } from './own-packages.mjs';
import { root, run } from './steps.mjs';

const PACKAGES = { typedoc: '0.28.20', 'typedoc-plugin-markdown': '4.14.1', typescript: '6.0.3' };

/** Options of the library → command whose flags they are. */
const COMMANDS = {
  TrainOptions: 'train',
  EvaluateOptions: 'eval',
  BayesianizeOptions: 'bayesianize',
  PredictOptions: 'predict',
  DemoOptions: 'demo',
};

const OPTIONS = {
  ...{ entryPoints: [`${root}ts/index.ts`, `${root}ts/engine/index.ts`] },
  ...{
    tsconfig: `${root}tsconfig.build.json`,
    plugin: ['typedoc-plugin-markdown'],
    readme: 'none',
  },
  ...{ treatWarningsAsErrors: true, validation: { invalidLink: true, notExported: false } },
  ...{ disableGit: true, disableSources: true, logLevel: 'Warn' },
  ...{ excludeInternal: true, excludePrivate: true, excludeExternals: true },
  ...{
    outputFileStrategy: 'modules',
    hidePageHeader: true,
    hideBreadcrumbs: true,
    useCodeBlocks: true,
  },
  ...{ parametersFormat: 'table', typeDeclarationFormat: 'table', propertyMembersFormat: 'table' },
  ...{ interfacePropertiesFormat: 'table', classPropertiesFormat: 'table' },
  groupOrder: ['Functions', 'Classes', 'Interfaces', 'Type Aliases', 'Variables'],
};

/**
 * The pages by their paths below docs/api; null where typedoc has complained.
 * @param commands the built `settingsOf` and `defaultOf`, which describe options
 * @returns {Map<string, string> | null}
 */
export function apiPages(commands) {
  const folder = ownPackages('api', PACKAGES);
  if (folder === null) return null;
  const out = join(folder, 'pages');
  rmSync(out, { recursive: true, force: true });
  const options = join(folder, 'typedoc.json');
  writeFileSync(options, JSON.stringify({ ...OPTIONS, out }));
  const typedoc = join(folder, 'node_modules/typedoc/bin/typedoc');
  if (!run(process.execPath, [typedoc, '--options', options]).ok) return null;
  const names = readdirSync(out, { recursive: true }).filter((name) => name.endsWith('.md'));
  return new Map(
    names.sort().map((name) => [name, tidied(readFileSync(join(out, name), 'utf8'), commands)]),
  );
}

const HEAD = `# The library

Written by \`npm run docs\` from the library's types; do not edit.
`;

/** Without anchors that nothing links to; options with what their flags say of themselves. */
function tidied(page, commands) {
  const headed = page.replace(/^# bpeft\n\n## Modules\n/, HEAD);
  const sections = headed.replaceAll(/<a id="[^"]*"><\/a> /g, '').split(/^(?=### )/m);
  return sections.map((section) => described(section, commands)).join('');
}

function described(section, { settingsOf, defaultOf }) {
  const command = COMMANDS[/^### (\w+)\n/.exec(section)?.[1]];
  if (command === undefined) return section;
  const settings = new Map(settingsOf(command).map(({ key, schema }) => [key, schema]));
  return section
    .replace(/#### Extends\n\n.*\n\n/, '')
    .replace('docs/cli.md', '[cli.md](../cli.md)')
    .replace('| Property | Type | Inherited from |', '| Property | Type | What |')
    .replaceAll(
      /\| `z\.input\.(\w+)` \|/g,
      (_, key) => `| ${what(settings.get(key), defaultOf)} |`,
    );
}

function what(schema, defaultOf) {
  const value = schema === undefined ? undefined : defaultOf(schema);
  const byDefault = value === undefined || value === false ? '' : `; \`${value}\` unless given`;
  return `${schema?.description ?? ''}${byDefault}`.replaceAll('|', '\\|').replaceAll('<', '\\<');
}
