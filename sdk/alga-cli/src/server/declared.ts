import { nearest } from '../manifest/capabilities.js';
import type { Output } from '../output.js';
import type { ApiClient } from './client.js';
import type { Install } from './types.js';

/** What the manifest of an installed version says it reads, by name. */
export type Declared = Record<string, { description: string; required: boolean }>;

export type SettingKind = 'config' | 'secrets';

const WORDS: Record<SettingKind, string> = {
  config: 'configuration keys',
  secrets: 'secrets',
};

/**
 * Warns of names that the installed version does not declare: most of them are misspelt. A manifest
 * that declares none says nothing about names, and a server from before 1.1 does not tell.
 */
export function warnOfUndeclared(
  output: Output,
  install: Install,
  kind: SettingKind,
  names: readonly string[],
  declared: Declared = {},
): void {
  const known = Object.keys(declared);
  if (known.length === 0) return;
  for (const name of names) {
    if (Object.hasOwn(declared, name)) continue;
    const near = nearest(name, known);
    const advice = near === undefined ? '' : `; did you mean "${near}"?`;
    const message =
      `"${name}" is set, but ${install.slug} ${install.version} does not declare it ` +
      `(${WORDS[kind]} in its manifest: ${known.join(', ')})${advice}`;
    output.warn({ code: `${kind}.undeclared`, message });
  }
}

/** Names of the required values that are not set. */
function missingNames(declared: Declared, set: readonly string[]): string[] {
  return Object.keys(declared).filter((name) => declared[name]?.required && !set.includes(name));
}

/** A line for each required value that is not set: what it is, and the command that sets it. */
export function missingSettings(
  reference: string,
  kind: SettingKind,
  declared: Declared = {},
  set: readonly string[],
): string[] {
  return missingNames(declared, set)
    .map((name) => [name, declared[name]?.description ?? ''] as const)
    .map(([name, description]) => {
      const command =
        kind === 'config'
          ? `alga config set ${reference} ${name}=…`
          : `alga secrets set ${reference} ${name}`;
      return description === '' ? command : `${command}   (${description})`;
    });
}

/**
 * Says what an install still needs before it can work, and returns its names. Best effort: the install
 * itself is made, and an account that may not read settings gets undefined.
 */
export async function noteMissingSettings(
  client: ApiClient,
  install: Install,
  output: Output,
): Promise<Record<SettingKind, string[]> | undefined> {
  const path = `/api/v1/installs/${encodeURIComponent(install.id)}`;
  type Config = { config: Record<string, string>; declared?: Declared };
  type Secrets = { names: string[]; declared?: Declared };
  try {
    const { config, declared } = await client.json<Config>(`${path}/config`);
    const secrets = await client.json<Secrets>(`${path}/secrets`);
    const commands = [
      ...missingSettings(install.slug, 'config', declared, Object.keys(config)),
      ...missingSettings(install.slug, 'secrets', secrets.declared, secrets.names),
    ];
    if (commands.length > 0) output.note('It needs values that are not set yet:');
    for (const command of commands) output.note(`  ${command}`);
    return {
      config: missingNames(declared ?? {}, Object.keys(config)),
      secrets: missingNames(secrets.declared ?? {}, secrets.names),
    };
  } catch {
    // Whoever may install but not read settings is told by the extension itself.
    return undefined;
  }
}
