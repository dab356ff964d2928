import { resolve } from 'node:path';

import type { Command } from 'commander';

import type { Environment } from './environment.js';
import { Output } from './output.js';

/** Options that every command has. */
export interface CommonOptions {
  json?: boolean;
  project?: string;
}

/** What a command's action gets. */
export interface Invocation<Options> {
  options: Options & CommonOptions;
  args: string[];
  output: Output;
  environment: Environment;
  /** Absolute path of the project folder: `--project`, or the working directory. */
  project: string;
}

export type Action<Options> = (invocation: Invocation<Options>) => Promise<void>;

/** `alga secrets ` of a command below `secrets`. */
function path(command: Command): string {
  return `${command.parent === null ? '' : path(command.parent)}${command.name()} `;
}

/** Adds a command. Positional arguments stand in `usage`, as commander writes them: `<name> [dir]`. */
export function addCommand<Options = object>(
  parent: Command,
  usage: string,
  description: string,
  environment: Environment,
  action: Action<Options>,
): Command {
  const command = parent.command(usage).description(description);
  command.option('--json', 'print one JSON document instead of text');
  command.option('-p, --project <dir>', 'folder of the extension project');
  command.showHelpAfterError(
    `usage: ${path(parent)}${usage.replace(/ .*/, '')} ${command.usage()}\n(--help explains each option)`,
  );
  command.action(async (...received: unknown[]) => {
    const options = received.at(-2) as Options & CommonOptions;
    const args = received
      .slice(0, -2)
      .flat()
      .filter((value) => typeof value === 'string');
    await action({
      options,
      args,
      environment,
      output: new Output(environment, options.json === true),
      project: resolve(environment.cwd, options.project ?? '.'),
    });
  });
  return command;
}
