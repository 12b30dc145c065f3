/** How a report looks: light, dark and on paper by one set of variables. */

const LIGHT = `
  --ink: #1d2430; --muted: #5c6675; --line: #dde2ea; --page: #ffffff; --card: #f6f8fb;
  --over: #d9534f; --under: #2f9e6e; --warn: #fff4d6;
  --series-1: #2f6db5; --series-2: #c4572b; --series-3: #2f8f6b; --series-4: #8256b8; --series-5: #a3821a;
  --series-6: #b04a7c;`;

const DARK = `
  --ink: #e6e9ef; --muted: #9aa5b5; --line: #343c49; --page: #14181f; --card: #1c222c;
  --over: #ef7f7b; --under: #56c596; --warn: #3a3116;
  --series-1: #6ea8ea; --series-2: #ee8b61; --series-3: #60c9a0; --series-4: #b592e6; --series-5: #d8b648;
  --series-6: #e586b4;`;

export const STYLE = `
:root { color-scheme: light dark; ${LIGHT} }
@media (prefers-color-scheme: dark) { :root { ${DARK} } }
@media print { :root { color-scheme: light; ${LIGHT} } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; margin: 0 0 16px; }
h2 { font-size: 21px; margin: 40px 0 12px; }
h3 { font-size: 16px; margin: 24px 0 8px; }
.notes { background: var(--warn); border-radius: 8px; padding: 8px 16px; }
.notes ul { margin: 0; padding-left: 20px; }
.note { color: var(--muted); font-size: 13px; margin: 8px 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
.short { width: auto; min-width: min(100%, 620px); }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--muted); font-weight: 600; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bounds { display: block; color: var(--muted); font-size: 0.86em; }
.run { border-top: 2px solid var(--line); margin-top: 40px; }
dl { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 0; }
dl div { display: flex; gap: 8px; }
dt { color: var(--muted); }
dd { margin: 0; }
.definitions { display: grid; grid-template-columns: max-content 1fr; font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 16px; }
figure { margin: 0; background: var(--card); border-radius: 8px; padding: 8px; break-inside: avoid; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { color: var(--muted); font-size: 13px; text-align: center; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; justify-content: center; list-style: none; margin: 0 0 4px;
  padding: 0; font-size: 12px; }
.legend li { display: flex; align-items: center; gap: 6px; }
.legend i { width: 20px; }
pre { background: var(--card); border-radius: 8px; padding: 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  @page { margin: 14mm; }
  main { max-width: none; padding: 0; }
  body { font-size: 11px; }
  table, .note, .legend, figcaption, pre, dl { font-size: 9.5px; }
  th, td { padding: 3px 5px; }
  h2, h3 { break-after: avoid; }
  tr { break-inside: avoid; }
  .charts { grid-template-columns: repeat(3, 1fr); gap: 8px; }
  figure { border: 1px solid var(--line); background: none; }
}
`;
