import { join } from 'node:path';

import { Failure } from '../failure.js';
import { readJsonFile } from '../json-file.js';
import type { Manifest } from '../manifest/manifest.js';

export const DEV_SETTINGS_FILE = 'alga.dev.json';
const BAD_SETTINGS = 'dev.bad_settings';
const EXAMPLE =
  'for example: { "config": { "region": "eu" }, "secrets": { "alga_api_key": "…" }, "egress": ["http://127.0.0.1:9000"], "headers": ["x-signature"] }';

/** What an administrator would enter, for the author's own machine. Kept out of version control. */
export interface DevSettings {
  config: Record<string, string>;
  secrets: Record<string, string>;
  /** Outgoing addresses beyond those of the manifest, `cidr:` rules included. */
  egress: string[];
  /** Request headers that the handler sees beyond the gateway's own list; read when dev starts. */
  headers: string[];
}

/** Reads `alga.dev.json`; all of it is optional. */
export async function readDevSettings(project: string): Promise<DevSettings> {
  const file = { path: join(project, DEV_SETTINGS_FILE), shown: DEV_SETTINGS_FILE };
  const value = await readJsonFile({ ...file, code: BAD_SETTINGS, hint: EXAMPLE });
  if (value === undefined) return { config: {}, secrets: {}, egress: [], headers: [] };
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad('it must hold an object');
  const { config, secrets, egress, headers, ...others } = value as Record<string, unknown>;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) throw bad(`"${unknown}" is unknown`);
  if (egress !== undefined && !isTexts(egress)) throw bad('"egress" must be a list of rules');
  if (headers !== undefined && !isHeaderNames(headers)) {
    throw bad('"headers" must be a list of header names');
  }
  return {
    config: texts(config, 'config'),
    secrets: texts(secrets, 'secrets'),
    egress: egress ?? [],
    headers: headers ?? [],
  };
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isHeaderNames(value: unknown): value is string[] {
  return isTexts(value) && value.every((name) => /^[A-Za-z0-9-]{1,100}$/.test(name));
}

function texts(value: unknown, name: string): Record<string, string> {
  if (value === undefined) return {};
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject) throw bad(`"${name}" must map names to texts`);
  for (const [key, one] of Object.entries(value)) {
    if (typeof one === 'string') continue;
    const instead = typeof one === 'object' ? 'a text' : `"${String(one)}"`;
    throw bad(`"${name}": the value of "${key}" must be ${instead}, in quotation marks`);
  }
  return value as Record<string, string>;
}

/** A line for each value that the manifest requires and the settings do not give. */
export function missingSettings(manifest: Manifest, settings: DevSettings): string[] {
  return (['config', 'secrets'] as const).flatMap((kind) =>
    Object.entries(manifest[kind] ?? {})
      .filter(([key, { required }]) => required === true && !Object.hasOwn(settings[kind], key))
      .map(
        ([key]) =>
          `manifest.json requires "${key}" of "${kind}", which ${DEV_SETTINGS_FILE} does not set`,
      ),
  );
}

function bad(why: string): Failure {
  return new Failure(BAD_SETTINGS, `${DEV_SETTINGS_FILE}: ${why}`, { hint: EXAMPLE });
}
