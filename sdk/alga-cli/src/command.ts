import { relative, resolve } from 'node:path';

import { InvalidArgumentError, type Command } from 'commander';

import type { Environment } from './environment.js';
import { Output } from './output.js';

/** Options that commands have in common. */
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

/** Which of the common options a command has, and what `--help` says of them. */
export interface ShownOptions {
  /** What `--json` does, where it is not one document. */
  json?: string;
  /** It is about a project: `--project`. */
  project?: boolean;
}

/** Adds a command. Positional arguments stand in `usage`, as commander writes them: `<name> [dir]`. */
export function addCommand<Options = object>(
  parent: Command,
  usage: string,
  description: string,
  environment: Environment,
  action: Action<Options>,
  shown: ShownOptions = {},
): Command {
  const command = parent.command(usage).description(description);
  command.option('--json', shown.json ?? 'print one JSON document instead of text');
  if (shown.project === true) {
    command.option('-p, --project <dir>', 'folder of the extension project (default: this one)');
  }
  command.showHelpAfterError(
    `usage: ${path(parent)}${usage.replace(/ .*/, '')} ${command.usage()}\n(--help explains each option)`,
  );
  command.action(async (...received: unknown[]) => {
    const options = received.at(-2) as Options & CommonOptions;
    const args = received
      .slice(0, -2)
      .flat()
      .filter((value) => typeof value === 'string');
    const output = new Output(environment, options.json === true);
    environment.onOutput?.(output);
    await action({
      options,
      args,
      environment,
      output,
      project: resolve(environment.cwd, options.project ?? '.'),
    });
  });
  return command;
}

/** Reads the value of an option that is a whole number between two bounds. */
export function count(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

/** A path as people read it best: relative where it lies below the working folder, else absolute. */
export function shownPath(environment: Environment, path: string): string {
  const shown = relative(environment.cwd, path) || '.';
  return shown.startsWith('..') ? path : shown;
}
