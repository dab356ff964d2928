import type { Command } from 'commander';

import type { Environment } from '../environment.js';
import { ExitCode, Failure } from '../failure.js';
import type { Output } from '../output.js';
import { readSecretValue } from '../secret-input.js';
import { missingSettings, warnOfUndeclared, type Declared } from '../server/declared.js';
import { addServerCommand, findInstall, installPath, parseAssignments } from './server-command.js';

interface ConfigAnswer {
  config: Record<string, string>;
  version: string | number;
  declared?: Declared;
  /** Of the server: keys that look like secrets. */
  warnings?: string[];
}

interface SecretsAnswer {
  names: string[];
  version: string | number;
  declared?: Declared;
}

export function registerSettingsCommands(program: Command, environment: Environment): void {
  const config = program.command('config').description('Configuration of an install');

  addServerCommand(
    config,
    'get <install> [key]',
    'Show the configuration, or one value of it',
    environment,
    async ({ args: [reference = '', key], output, client }) => {
      const install = await findInstall(client, reference);
      const answer = await client.json<ConfigAnswer>(`${installPath(install)}/config`);
      if (key === undefined) {
        for (const [name, value] of Object.entries(answer.config)) output.print(`${name}=${value}`);
        noteMissing(
          output,
          missingSettings(reference, 'config', answer.declared, Object.keys(answer.config)),
        );
        output.result({ ...answer });
        return;
      }
      const value = Object.hasOwn(answer.config, key) ? answer.config[key] : undefined;
      if (value === undefined) {
        throw new Failure('config.not_set', `"${key}" is not set`, {
          hint: `set it with: alga config set ${reference} ${key}=…`,
        });
      }
      output.print(value);
      output.result({ key, value, version: answer.version });
    },
  );

  addServerCommand(
    config,
    'set <install> <key=value...>',
    'Set configuration values',
    environment,
    async ({ args: [reference = '', ...values], output, client }) => {
      const set = parseAssignments(values);
      const install = await findInstall(client, reference);
      const answer = await client.json<ConfigAnswer>(`${installPath(install)}/config`, {
        method: 'PATCH',
        json: { set, unset: [] },
      });
      for (const message of answer.warnings ?? [])
        output.warn({ code: 'config.doubtful', message });
      warnOfUndeclared(output, install, 'config', Object.keys(set), answer.declared);
      output.print(`Configuration of ${install.slug} is at version ${answer.version}`);
      output.result({ ...answer });
    },
  );

  addServerCommand(
    config,
    'unset <install> <key...>',
    'Remove configuration values',
    environment,
    async ({ args: [reference = '', ...keys], output, client }) => {
      const install = await findInstall(client, reference);
      const path = `${installPath(install)}/config`;
      const { config: before } = await client.json<ConfigAnswer>(path);
      const answer = await client.json<ConfigAnswer>(path, {
        method: 'PATCH',
        json: { set: {}, unset: keys },
      });
      for (const key of keys.filter((one) => !Object.hasOwn(before, one))) {
        output.warn({ code: 'config.not_set', message: `"${key}" was not set` });
      }
      output.print(`Configuration of ${install.slug} is at version ${answer.version}`);
      output.result({ ...answer });
    },
  );

  const secrets = program.command('secrets').description('Secrets of an install (write-only)');

  addServerCommand<{ file?: string }>(
    secrets,
    'set <install> <name>',
    'Set a secret; its value comes from a prompt, standard input or a file, never from the command line',
    environment,
    async ({ options, args: [reference = '', name = ''], output, client }) => {
      if (!/^[A-Za-z0-9._-]{1,128}$/.test(name)) {
        throw new Failure(
          'secrets.invalid_name',
          `${JSON.stringify(name)} is no name of a secret`,
          {
            hint: 'use 1 to 128 letters, digits, dots, dashes and underscores, for example: alga_api_key',
            exitCode: ExitCode.Usage,
          },
        );
      }
      const install = await findInstall(client, reference);
      const value = await readSecretValue(environment, options, `value of ${name}`);
      const answer = await client.json<SecretsAnswer>(secretPath(install, name), {
        method: 'PUT',
        json: { value },
      });
      warnOfUndeclared(output, install, 'secrets', [name], answer.declared);
      output.print(`Secrets of ${install.slug} are at version ${answer.version}`);
      output.result({ ...answer });
    },
  ).option('--file <file>', 'file that holds the value');

  addServerCommand(
    secrets,
    'unset <install> <name>',
    'Remove a secret',
    environment,
    async ({ args: [reference = '', name = ''], output, client }) => {
      const install = await findInstall(client, reference);
      const answer = await client.json<SecretsAnswer>(secretPath(install, name), {
        method: 'DELETE',
      });
      output.print(`Secrets of ${install.slug} are at version ${answer.version}`);
      output.result({ ...answer });
    },
  );

  addServerCommand(
    secrets,
    'list <install>',
    'List the names of the secrets that are set',
    environment,
    async ({ args: [reference = ''], output, client }) => {
      const install = await findInstall(client, reference);
      const answer = await client.json<SecretsAnswer>(`${installPath(install)}/secrets`);
      for (const name of answer.names) output.print(name);
      noteMissing(output, missingSettings(reference, 'secrets', answer.declared, answer.names));
      output.result({ ...answer });
    },
  );
}

function noteMissing(output: Output, commands: readonly string[]): void {
  if (commands.length === 0) return;
  output.note('Required and not set:');
  for (const command of commands) output.note(`  ${command}`);
}

function secretPath(install: Parameters<typeof installPath>[0], name: string): string {
  return `${installPath(install)}/secrets/${encodeURIComponent(name)}`;
}
