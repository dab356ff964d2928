import type { Command } from 'commander';

import type { Environment } from '../environment.js';
import { ExitCode, Failure } from '../failure.js';
import { canonicalCapability, KNOWN_CAPABILITIES, nearest } from '../manifest/capabilities.js';
import { egressRuleProblem } from '../manifest/egress.js';
import { loadManifest } from '../manifest/manifest.js';
import type { Output } from '../output.js';
import { noteMissingSettings } from '../server/declared.js';
import type { CapabilityDifference, Extension, Install } from '../server/types.js';
import {
  addServerCommand,
  append,
  collect,
  findExtensionId,
  findInstall,
  installPath,
  parseAssignments,
} from './server-command.js';

interface InstallOptions {
  version?: string;
  grant?: string[];
  grantDeclared?: boolean;
  egress?: string[];
  egressDeclared?: boolean;
  config?: string[];
}

interface GrantOptions {
  capability?: string[];
  revoke?: string[];
  egress?: string[];
  revokeEgress?: string[];
}

interface ChangeAnswer {
  install: Install;
  capability_difference?: CapabilityDifference;
  /** Of the server: rules and limits that it has taken, and that deserve a second look. */
  warnings?: string[];
}

function warnOf({ warnings = [] }: ChangeAnswer, output: Output): void {
  for (const message of warnings) output.warn({ code: 'install.doubtful', message });
}

export function registerInstallCommands(program: Command, environment: Environment): void {
  addServerCommand<InstallOptions>(
    program,
    'install <extension>',
    'Install an extension for a tenant; only what is named here is granted',
    environment,
    async ({ options, args: [extension = ''], output, client, project }) => {
      const declared =
        options.egressDeclared === true ? (await loadManifest(project)).manifest.egress : undefined;
      const egress = checkEgress([...(options.egress ?? []), ...(declared ?? [])]);
      let answer = await client.json<ChangeAnswer>('/api/v1/installs', {
        method: 'POST',
        json: {
          extension: await findExtensionId(client, extension),
          ...(options.version === undefined ? {} : { version: options.version }),
          capabilities: checkCapabilities(options.grant ?? []),
          egress,
          config: parseAssignments(options.config ?? []),
        },
      });
      const { install, capability_difference: difference } = answer;
      warnOf(answer, output);
      if (options.grantDeclared === true && (difference?.withheld.length ?? 0) > 0) {
        const capabilities = difference?.requested ?? [];
        const granted = await client.json<ChangeAnswer>(`${installPath(install)}/grants`, {
          method: 'PUT',
          json: { capabilities },
        });
        warnOf(granted, output);
        answer = granted;
      }
      output.print(`Installed ${install.slug} ${install.version} as ${install.id}`);
      showGrants(answer.install, output);
      const missing = await noteMissingSettings(client, install, output);
      output.result({ ...answer, missing });
    },
    { project: true },
  )
    .option('--version <version>', 'version to install (default: the newest)')
    .option('-g, --grant <capability>', 'grant a capability (repeatable, or with commas)', collect)
    .option('--grant-declared', 'grant everything that the manifest declares')
    .option('-e, --egress <rule>', 'allow an outgoing address (repeatable)', append)
    .option('--egress-declared', 'allow the addresses that manifest.json of the project declares')
    .option('-c, --config <key=value>', 'set a configuration value (repeatable)', append);

  addServerCommand<{ version: string }>(
    program,
    'update <install>',
    'Move an install to another version',
    environment,
    async ({ options, args: [reference = ''], output, client }) => {
      const install = await findInstall(client, reference);
      const answer = await client.json<ChangeAnswer>(`${installPath(install)}/update`, {
        method: 'POST',
        json: { version: options.version },
      });
      warnOf(answer, output);
      output.print(
        `${answer.install.slug} is now ${answer.install.version} (was ${install.version})`,
      );
      showGrants(answer.install, output);
      const missing = await noteMissingSettings(client, answer.install, output);
      output.result({ ...answer, missing });
    },
  ).requiredOption('--version <version>', 'version to move to (must be named)');

  addServerCommand(
    program,
    'uninstall <install>',
    'Remove an install with its configuration, secrets and records',
    environment,
    async ({ args: [reference = ''], output, client }) => {
      const install = await findInstall(client, reference);
      await client.json(installPath(install), { method: 'DELETE' });
      output.print(`Uninstalled ${install.slug} (${install.id})`);
      output.result({ install: install.id });
    },
  );

  for (const [name, description] of [
    ['enable', 'Let an install run again'],
    ['disable', 'Stop an install from running; nothing is lost'],
  ] as const) {
    addServerCommand(program, `${name} <install>`, description, environment, async (invocation) => {
      const { args, output, client } = invocation;
      const found = await findInstall(client, args[0] ?? '');
      const { install } = await client.json<ChangeAnswer>(`${installPath(found)}/${name}`, {
        method: 'POST',
        json: {},
      });
      output.print(`${install.slug} is ${install.enabled ? 'enabled' : 'disabled'}`);
      output.result({ install });
    });
  }

  addServerCommand<GrantOptions>(
    program,
    'grant <install>',
    'Show or change what an install may do',
    environment,
    async ({ options, args: [reference = ''], output, client }) => {
      const found = await findInstall(client, reference);
      const changes = grantChanges(found, options);
      warnOfNothingToRevoke(found, options, output);
      let install = found;
      if (Object.keys(changes).length > 0) {
        const answer = await client.json<ChangeAnswer>(`${installPath(found)}/grants`, {
          method: 'PUT',
          json: changes,
        });
        warnOf(answer, output);
        install = answer.install;
      }
      output.print(`${install.slug} ${install.version} (${install.id})`);
      showGrants(install, output);
      output.result({ install });
    },
  )
    .option('-g, --capability <name>', 'grant a capability (repeatable, or with commas)', collect)
    .option('--revoke <name>', 'take a capability away (repeatable, or with commas)', collect)
    .option('-e, --egress <rule>', 'allow an outgoing address (repeatable)', append)
    .option('--revoke-egress <rule>', 'take an egress rule away (repeatable)', append);

  addServerCommand(
    program,
    'list',
    "List published extensions and the tenant's installs",
    environment,
    async ({ output, client }) => {
      const { extensions } = await client.json<{ extensions: Extension[] }>('/api/v1/extensions');
      const installs = await listInstalls(client, output);
      output.print('Extensions');
      output.table(
        ['slug', 'versions, newest first', 'id'],
        extensions.map((extension) => [extension.slug, newestVersions(extension), extension.id]),
      );
      output.print('');
      output.print('Installs');
      output.table(
        ['extension', 'version', 'state', 'tenant', 'id'],
        installs.map((install) => [
          install.slug,
          install.version,
          install.enabled ? install.status : 'disabled',
          install.tenant,
          install.id,
        ]),
      );
      output.result({ extensions, installs });
    },
  );
}

/** Versions of an extension that a table shows. */
const SHOWN_VERSIONS = 5;

/** The versions that were published last, the newest first. */
function newestVersions({ versions }: Extension): string {
  const sorted = [...versions].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  const shown = sorted.slice(0, SHOWN_VERSIONS).map(({ version }) => version);
  const more = sorted.length - shown.length;
  return `${shown.join(', ') || '-'}${more > 0 ? ` and ${more} more` : ''}`;
}

/** The installs of the tenant; a publisher's account has none to see. */
async function listInstalls(
  client: Parameters<typeof findInstall>[0],
  output: Output,
): Promise<Install[]> {
  try {
    return (await client.json<{ installs: Install[] }>('/api/v1/installs')).installs;
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== ExitCode.Denied) throw error;
    output.warn({
      code: 'list.no_installs',
      message: 'This account may not see installs',
      hint: "an account of the tenant may; a publisher's sees extensions",
    });
    return [];
  }
}

function grantChanges(
  install: Install,
  options: GrantOptions,
): { capabilities?: string[]; egress?: string[] } {
  const { capability = [], revoke = [], egress = [], revokeEgress = [] } = options;
  const changes: { capabilities?: string[]; egress?: string[] } = {};
  if (capability.length + revoke.length > 0) {
    const gone = checkCapabilities(revoke);
    const wanted = new Set([...install.granted, ...checkCapabilities(capability)]);
    changes.capabilities = [...wanted].filter((name) => !gone.includes(name));
  }
  if (egress.length + revokeEgress.length > 0) {
    const wanted = new Set([...install.egress, ...checkEgress(egress)]);
    changes.egress = [...wanted].filter((rule) => !revokeEgress.includes(rule));
  }
  return changes;
}

function warnOfNothingToRevoke(install: Install, options: GrantOptions, output: Output): void {
  const { revoke = [], revokeEgress = [] } = options;
  const absent = [
    ...checkCapabilities(revoke).filter((name) => !install.granted.includes(name)),
    ...revokeEgress.filter((rule) => !install.egress.includes(rule)),
  ];
  for (const what of absent) {
    const message = `"${what}" was not granted: there is nothing to revoke`;
    output.warn({ code: 'grant.not_granted', message });
  }
}

function checkCapabilities(names: readonly string[]): string[] {
  return names.map((name) => {
    const canonical = canonicalCapability(name);
    if (canonical !== undefined) return canonical;
    const near = nearest(name, KNOWN_CAPABILITIES);
    throw new Failure('usage.capability', `There is no capability "${name}"`, {
      hint:
        near === undefined ? `known: ${KNOWN_CAPABILITIES.join(', ')}` : `did you mean ${near}?`,
      exitCode: ExitCode.Usage,
    });
  });
}

function checkEgress(rules: readonly string[]): string[] {
  for (const rule of rules) {
    const problem = egressRuleProblem(rule);
    if (problem === undefined) continue;
    throw new Failure('usage.egress', `"${rule}": ${problem}`, {
      hint: 'for example "https://api.example.com" or "GET https://*.example.com/v1/"',
      exitCode: ExitCode.Usage,
    });
  }
  return [...rules];
}

function showGrants(install: Install, output: Output): void {
  const withheld = install.requested.filter((name) => !install.granted.includes(name));
  output.print(`  granted   ${install.granted.join(', ') || 'nothing beyond the defaults'}`);
  if (withheld.length > 0) output.print(`  withheld  ${withheld.join(', ')}`);
  output.print(
    `  egress    ${install.egress.join(', ') || 'nothing: every outgoing call is denied'}`,
  );
}
