import type { Command } from 'commander';

import { addCommand, type Invocation } from '../command.js';
import type { Environment } from '../environment.js';
import { ExitCode, Failure } from '../failure.js';
import { ApiClient, resolveTarget, type ServerOptions } from '../server/client.js';
import type { Install } from '../server/types.js';

export interface ServerInvocation<Options> extends Invocation<Options & ServerOptions> {
  client: ApiClient;
}

/** Adds a command that talks to a server: `--url` and `--tenant`, and a client in its invocation. */
export function addServerCommand<Options = object>(
  parent: Command,
  usage: string,
  description: string,
  environment: Environment,
  action: (invocation: ServerInvocation<Options>) => Promise<void>,
): Command {
  return addCommand<Options & ServerOptions>(
    parent,
    usage,
    description,
    environment,
    async (invocation) => {
      const target = await resolveTarget(environment, invocation.options);
      await action({ ...invocation, client: new ApiClient(target) });
    },
  )
    .option('--url <url>', 'server (default: ALGA_URL, then the last login)')
    .option('--tenant <id>', 'tenant, for accounts that see several (default: ALGA_TENANT_ID)');
}

/** The install that an argument means: its id, or the extension's slug, name or id. */
export async function findInstall(client: ApiClient, reference: string): Promise<Install> {
  const { installs } = await client.json<{ installs: Install[] }>('/api/v1/installs');
  const byId = installs.find(({ id }) => id === reference);
  if (byId !== undefined) return byId;
  const matches = installs.filter(
    ({ slug, extension_id: id }) =>
      slug === reference || id === reference || slug.endsWith(`/${reference}`),
  );
  const [install] = matches;
  if (install === undefined) {
    throw new Failure('install.not_found', `"${reference}" is not installed`, {
      hint: 'alga list shows the installs; alga install <extension> makes one',
      exitCode: ExitCode.Server,
    });
  }
  if (matches.length > 1) {
    throw new Failure('install.ambiguous', `"${reference}" means ${matches.length} installs`, {
      hint: `name one by its id: ${matches.map(({ id }) => id).join(', ')}`,
      exitCode: ExitCode.Usage,
    });
  }
  return install;
}

/** Collects an option that may be given several times, and split by commas. */
export function collect(value: string, previous: string[] = []): string[] {
  return [
    ...previous,
    ...value
      .split(',')
      .map((part) => part.trim())
      .filter(Boolean),
  ];
}

/** Collects an option that may be given several times and is taken as it is. */
export function append(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

/** `key=value` arguments as an object; the first `=` separates. */
export function parseAssignments(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((text) => {
      const at = text.indexOf('=');
      if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
      throw new Failure('usage.assignment', `"${text}" is not of the form key=value`, {
        exitCode: ExitCode.Usage,
      });
    }),
  );
}

export function installPath(install: Install): string {
  return `/api/v1/installs/${encodeURIComponent(install.id)}`;
}
