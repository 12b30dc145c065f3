/**
 * Which columns may be meant by the fields that a row lacks: by their names, else by what they
 * hold.
 */

const LOOKS_LIKE = {
  question: /question|prompt|query|stem|problem|input|instruction/i,
  choices: /choice|option|candidate|ending|alternative|answers/i,
  answer: /answer|gold|label|target|correct|solution|key|cop\b/i,
  text: /text|review|content|sentence|body|tweet|comment|message|title|input/i,
  label: /label|class|category|target|sentiment|intent|topic|gold|stars|rating/i,
} as const;

type Field = keyof typeof LOOKS_LIKE;
type Column = readonly [name: string, value: unknown];

/** As `--columns` takes them; null: nothing fits. */
export function suggestedColumns(row: unknown): string | null {
  if (typeof row !== 'object' || row === null) return null;
  const columns = Object.entries(row);
  const choices = named('choices', columns.filter(isList)) ?? numberedColumns(columns);
  const others = columns.filter(([name]) => !choices?.split('+').includes(name));
  const [asked, answer]: [Field, Field] =
    choices === undefined ? ['text', 'label'] : ['question', 'answer'];
  const texts = others.filter(([, value]) => typeof value === 'string');
  const text = named(asked, texts) ?? longest(texts);
  const short = others.filter((column) => column[0] !== text && isShort(column));
  const numbers = short.filter(([, value]) => typeof value !== 'string');
  const right = named(answer, short) ?? (numbers.length === 1 ? numbers[0]?.[0] : undefined);
  if (text === undefined || right === undefined) return null;
  const pairs = [
    [asked, text],
    ...(choices === undefined ? [] : [['choices', choices]]),
    [answer, right],
  ];
  const written = pairs.filter(([field, name]) => name?.trim().toLowerCase() !== field);
  return written.length === 0 ? null : written.map(([field, name]) => `${field}=${name}`).join(',');
}

function named(field: Field, columns: readonly Column[]): string | undefined {
  return columns.find(([name]) => LOOKS_LIKE[field].test(name))?.[0];
}

function longest(columns: readonly Column[]): string | undefined {
  return columns.toSorted(([, a], [, b]) => String(b).length - String(a).length)[0]?.[0];
}

function isShort([, value]: Column): boolean {
  return ['string', 'number', 'boolean'].includes(typeof value);
}

/** Texts, or Hugging Face's `{text, label}`. */
function isList([, value]: Column): boolean {
  if (Array.isArray(value))
    return value.length > 1 && value.every((one) => typeof one === 'string');
  return typeof value === 'object' && value !== null && 'text' in value;
}

/** `opa`, `opb`, … or `option_1`, `option_2`, … as one list. */
function numberedColumns(columns: readonly Column[]): string | undefined {
  const groups = new Map<string, string[]>();
  for (const [name, value] of columns) {
    const stem = /^(.+?)[ _-]?(?:[a-e]|\d)$/i.exec(name)?.[1];
    if (stem === undefined || typeof value !== 'string') continue;
    const group = groups.get(stem);
    if (group === undefined) groups.set(stem, [name]);
    else group.push(name);
  }
  return [...groups.values()].find((names) => names.length > 1)?.join('+');
}
