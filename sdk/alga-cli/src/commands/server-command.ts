import type { Command } from 'commander';

import { addCommand, type Invocation, type ShownOptions } from '../command.js';
import type { Environment } from '../environment.js';
import { ExitCode, Failure } from '../failure.js';
import { nearest } from '../manifest/capabilities.js';
import { ApiClient, resolveTarget, type ServerOptions } from '../server/client.js';
import type { Extension, Install } from '../server/types.js';

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
  shown: ShownOptions = {},
): Command {
  return addCommand<Options & ServerOptions>(
    parent,
    usage,
    description,
    environment,
    async (invocation) => {
      const target = await resolveTarget(environment, invocation.options);
      await action({ ...invocation, client: new ApiClient(target, invocation.output) });
    },
    shown,
  )
    .option('--url <url>', 'server (default: ALGA_URL, then the last login)')
    .option('--tenant <id>', 'tenant, for accounts that see several (default: ALGA_TENANT_ID)');
}

/** Option of the commands that show errors at the author's own lines. */
export const MAPS_OPTION = [
  '--maps-token-file <file>',
  "publisher's token, to read source maps with (default: ALGA_MAPS_TOKEN, then alga login --maps)",
] as const;

/**
 * Whether an argument names an extension: by id, by slug (`publisher.name`), or by the name alone,
 * as it stands in the manifest.
 */
function names(reference: string, id: string, slug: string): boolean {
  return id === reference || slug === reference || slug.endsWith(`.${reference}`);
}

/** The install that an argument means: its id, or its extension's id, slug or name. */
export async function findInstall(client: ApiClient, reference: string): Promise<Install> {
  const { installs } = await client.json<{ installs: Install[] }>('/api/v1/installs');
  const exact = installs.find(({ id, slug }) => id === reference || slug === reference);
  if (exact !== undefined) return exact;
  const matches = installs.filter(({ extension_id: id, slug }) => names(reference, id, slug));
  const [install] = matches;
  if (install === undefined) {
    const slugs = installs.map(({ slug }) => slug);
    const near = nearest(reference, [...slugs, ...slugs.map(nameOf)]);
    const where = client.tenant === undefined ? '' : ` for tenant ${client.tenant}`;
    throw new Failure('install.not_found', `"${reference}" is not installed${where}`, {
      hint:
        near === undefined
          ? 'alga list shows the installs; alga install <extension> makes one; --tenant names another tenant'
          : `did you mean ${near}? alga list shows the installs`,
      exitCode: ExitCode.Server,
    });
  }
  return only(install, matches, reference);
}

/** The id of the extension that an argument means; what is unknown is left for the server to judge. */
export async function findExtensionId(client: ApiClient, reference: string): Promise<string> {
  const { extensions } = await client.json<{ extensions: Extension[] }>('/api/v1/extensions');
  const exact = extensions.find(({ id, slug }) => id === reference || slug === reference);
  if (exact !== undefined) return exact.id;
  const matches = extensions.filter(({ id, slug }) => names(reference, id, slug));
  const [extension] = matches;
  if (extension !== undefined) return only(extension, matches, reference).id;
  const slugs = extensions.map(({ slug }) => slug);
  const near = nearest(reference, [...slugs, ...slugs.map(nameOf)]);
  if (near === undefined) return reference;
  throw new Failure('extension.not_found', `There is no extension "${reference}"`, {
    hint: `did you mean ${near}? alga list shows what there is`,
    exitCode: ExitCode.Server,
  });
}

/** `tickets` of `example.tickets`. */
function nameOf(slug: string): string {
  return slug.slice(slug.indexOf('.') + 1);
}

function only<T extends { id: string }>(first: T, matches: readonly T[], reference: string): T {
  if (matches.length === 1) return first;
  throw new Failure('usage.ambiguous', `"${reference}" means ${matches.length} things`, {
    hint: `name one by its id: ${matches.map(({ id }) => id).join(', ')}`,
    exitCode: ExitCode.Usage,
  });
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
        hint: `for example: ${text === '' || at === 0 ? 'api_url' : text}=https://api.example.com`,
        exitCode: ExitCode.Usage,
      });
    }),
  );
}

export function installPath(install: Install): string {
  return `/api/v1/installs/${encodeURIComponent(install.id)}`;
}
