/** `bpeft report` */

import { type Command, Option } from 'commander';
import { fileOf, STANDARD_OUTPUT } from '../../config/standard-output.ts';
import { BpeftError } from '../../errors.ts';
import { REPORT_FORMATS, type ReportFormat } from '../../report/write-report.ts';
import type { Output } from '../output.ts';
import { addOutputFlags } from '../settings.ts';

interface ReportFlags {
  readonly format: string;
  readonly out?: string;
  readonly card?: boolean;
  readonly overwrite?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const HTML_FILE = 'report.html';

export function defineReport(command: Command, output: Output): void {
  command
    .argument('<run...>', 'folders of runs and evaluations')
    .addOption(
      new Option('--format <name>', `what to write: ${REPORT_FORMATS.join(', ')}`).default('html'),
    )
    .addOption(
      new Option(
        '--out <file>',
        `output file; - is standard output (default: ${HTML_FILE}, of other formats -)`,
      ),
    )
    .addOption(
      new Option('--card', "write a calibration card into the run's adapter folder instead"),
    )
    .addOption(new Option('--overwrite', 'replace the output file'));
  addOutputFlags(command).action(async (folders: string[], flags: ReportFlags) => {
    const { readReport, reportText, writeCard, writeReport } = await import(
      '../../report/write-report.ts'
    );
    const overwrite = flags.overwrite === true;
    const tell = (path: string) => {
      if (flags.json === true)
        output.stdout.write(`${JSON.stringify({ format: 1, file: path })}\n`);
      else if (flags.quiet !== true) output.stderr.write(`written: ${path}\n`);
    };
    if (flags.card === true && flags.out !== undefined) {
      const message = "--card writes into the run's adapter folder, and takes no --out";
      throw new BpeftError('BPEFT_USAGE', message, { hint: 'leave one of them out' });
    }
    if (flags.card === true) return tell(await writeCard(folders, { overwrite }));
    const format = checkedFormat(flags);
    const text = await reportText(await readReport(folders), format);
    const out = fileOf(flags.out ?? (format === 'html' ? HTML_FILE : STANDARD_OUTPUT));
    if (out === undefined) {
      output.stdout.write(text);
      return;
    }
    await writeReport(out, text, { overwrite });
    tell(out);
  });
}

/** `--json` without a format is the report as JSON. */
function checkedFormat({ format, json, out }: ReportFlags): ReportFormat {
  if (json === true && format === 'html' && fileOf(out) === undefined) return 'json';
  const known = REPORT_FORMATS.find((one) => one === format);
  if (known !== undefined) return known;
  throw new BpeftError(
    'BPEFT_USAGE',
    `--format must be one of ${REPORT_FORMATS.join(', ')}, got ${format}`,
  );
}
