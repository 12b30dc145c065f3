/**
 * JSON whose numbers keep the digits of the file.
 *
 * A number that JavaScript would write otherwise (an id beyond 2^53, `1.0`, `1e3`) becomes the text
 * that the file holds, which is also what a CSV cell would have given.
 */

/** Finds nothing in most rows, and costs little there. */
const MAY_LOSE_DIGITS = /\d{16}|\d[.eE]/;

const STRING_OR_NUMBER = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** @throws {SyntaxError} for what is not JSON. */
export function parseWithDigits(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (!MAY_LOSE_DIGITS.test(text)) return value;
  const quoted = text.replace(STRING_OR_NUMBER, (token) =>
    token.startsWith('"') || String(Number(token)) === token ? token : `"${token}"`,
  );
  return quoted === text ? value : JSON.parse(quoted);
}
