// What a run of Stryker has found, from its JSON report.

/**
 * A row of docs/mutation-testing.md: those that are seen, out of those that compile and are reached
 * or not.
 */
export function printed(name, files) {
  const mutants = Object.values(files).flatMap((file) => file.mutants);
  const count = (...states) => mutants.filter(({ status }) => states.includes(status)).length;
  const [seen, unseen] = [count('Killed', 'Timeout'), count('Survived', 'NoCoverage')];
  return `| ${name} | ${seen + unseen} | ${seen} | ${unseen} | ${((100 * seen) / (seen + unseen)).toFixed(1)} % |`;
}

/** `FILE:LINE  WHAT → CHANGE`, for each that no test has seen. */
export function survivors(files) {
  const lines = Object.entries(files).flatMap(([name, { source, mutants }]) => {
    const text = source.split('\n');
    const lived = mutants.filter(({ status }) => status === 'Survived' || status === 'NoCoverage');
    return lived.map(({ location: { start, end }, replacement }) => {
      const to = end.line === start.line ? end.column - 1 : undefined;
      const was = text[start.line - 1]?.slice(start.column - 1, to);
      return `${name}:${start.line}  ${was} → ${String(replacement).split('\n')[0]}`;
    });
  });
  return lines.join('\n');
}
