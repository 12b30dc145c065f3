/** How every command of the program behaves. */

import type { Command } from 'commander';
import type { Output } from './output.ts';

/** A command that throws instead of exiting and leaves the printing of errors to `runCli`. */
export function newCommand(command: Command, output: Output): Command {
  return command
    .exitOverride()
    .allowExcessArguments(false)
    .showSuggestionAfterError(false)
    .helpCommand(false)
    .helpOption('-h, --help', 'print this help')
    .configureHelp({ helpWidth: 110 })
    .configureOutput({ writeOut: (text) => output.stdout.write(text), writeErr: () => undefined });
}
