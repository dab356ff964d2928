import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Command, CommanderError } from 'commander';

import { registerBuildCommands } from './commands/build.js';
import { registerDev } from './commands/dev.js';
import { registerDoctor } from './commands/doctor.js';
import { registerInstallCommands } from './commands/installs.js';
import { registerInvoke } from './commands/invoke.js';
import { registerLogin } from './commands/login.js';
import { registerLogs } from './commands/logs.js';
import { registerMigrate } from './commands/migrate.js';
import { registerNew } from './commands/new.js';
import { registerPackCommands } from './commands/pack.js';
import { registerPublish } from './commands/publish.js';
import { registerSettingsCommands } from './commands/settings.js';
import { registerSigningCommands } from './commands/signing.js';
import { registerTest } from './commands/test.js';
import { PACKAGE_ROOT } from './contracts.js';
import { processEnvironment, type Environment } from './environment.js';
import { ExitCode, Failure } from './failure.js';
import { Output } from './output.js';
import { systemFailure } from './system-failure.js';

const REGISTER: ((program: Command, environment: Environment) => void)[] = [
  registerNew,
  registerDev,
  registerBuildCommands,
  registerTest,
  registerPackCommands,
  registerSigningCommands,
  registerLogin,
  registerPublish,
  registerInstallCommands,
  registerSettingsCommands,
  registerInvoke,
  registerLogs,
  registerDoctor,
  registerMigrate,
];

/**
 * The whole command line, for running and for generating its reference.
 *
 * @param quiet mistakes of the command line are told by the caller
 */
export function createProgram(environment: Environment, quiet = false): Command {
  const { version } = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  const program = new Command('alga')
    .description('Create, build, test, publish, install and watch Alga extensions')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .showHelpAfterError('(alga <command> --help explains the command)')
    .configureOutput({
      writeOut: (text) => void environment.stdout.write(text),
      writeErr: (text) => {
        if (!quiet) environment.stderr.write(text);
      },
    })
    .enablePositionalOptions()
    .exitOverride();
  for (const register of REGISTER) register(program, environment);
  return program;
}

/** Runs the command and returns its exit code; never throws. */
export async function main(
  argv: readonly string[],
  environment: Environment = processEnvironment(),
): Promise<number> {
  let output = new Output(environment, argv.includes('--json'));
  environment.onOutput = (begun) => (output = begun);
  try {
    await createProgram(environment, output.json).parseAsync([...argv], { from: 'user' });
    return ExitCode.Ok;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return ExitCode.Ok;
      if (output.json) {
        const hint = 'alga <command> --help explains the command';
        output.fail(new Failure('usage', error.message.replace(/^error: /, ''), { hint }));
      }
      return ExitCode.Usage;
    }
    // Who ended it knows why it ended.
    if (!(error instanceof Failure) && environment.signal.aborted) return ExitCode.Interrupted;
    const failure =
      error instanceof Failure ? error : (systemFailure(error) ?? unexpected(error, environment));
    output.fail(failure);
    return failure.exitCode;
  }
}

/** A bug of the command. */
function unexpected(error: unknown, environment: Environment): Failure {
  const message = error instanceof Error ? error.message : String(error);
  const debug = environment.variables['ALGA_DEBUG'] !== undefined && error instanceof Error;
  return new Failure('internal', message, {
    hint: 'this should not happen; set ALGA_DEBUG=1 to see the stack',
    ...(debug && error.stack !== undefined ? { frame: error.stack } : {}),
    cause: error,
  });
}
