import { readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';

import { codeFrame } from '../code-frame.js';
import { Failure } from '../failure.js';
import { reasonOf } from '../system-failure.js';
import { canonicalCapability } from './capabilities.js';
import { validateManifest } from './validate.js';

export interface Endpoint {
  method: string;
  path: string;
  handler?: string;
  schedulable?: boolean;
}

export interface Setting {
  description?: string;
  required?: boolean;
}

/** A manifest that passed validation. */
export interface Manifest {
  name: string;
  version: string;
  runtime: string;
  displayName?: string;
  description?: string;
  publisher?: string;
  entry?: string;
  capabilities?: string[];
  egress?: string[];
  config?: Record<string, Setting>;
  secrets?: Record<string, Setting>;
  ui?: { type: 'iframe'; entry: string; hooks?: Record<string, unknown> };
  api?: { endpoints?: Endpoint[] };
  sbom?: string;
}

export const MANIFEST_FILE = 'manifest.json';

/** The canonical names of what the manifest asks for, without duplicates. */
export function declaredCapabilities(manifest: Manifest): string[] {
  const names = (manifest.capabilities ?? []).map(canonicalCapability);
  return [...new Set(names.filter((name) => name !== undefined))];
}

/** The text of `manifest.json` of a project. */
export async function readManifest(project: string): Promise<string> {
  try {
    return await readFile(join(project, MANIFEST_FILE), 'utf8');
  } catch (cause) {
    const missing = ['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '');
    if (!missing) {
      const reason = `Cannot read ${join(project, MANIFEST_FILE)}: ${reasonOf(cause)}`;
      throw new Failure('manifest.unreadable', reason, {
        hint: 'it must be a file that you may read',
        cause,
      });
    }
    throw new Failure('manifest.not_found', `There is no ${MANIFEST_FILE} in ${project}`, {
      hint: 'run the command in an extension project, name one with --project, or make one with: alga new <name>',
      cause,
    });
  }
}

/** Reads and checks `manifest.json` of a project; throws a Failure that shows the place. */
export async function loadManifest(project: string): Promise<{ manifest: Manifest; text: string }> {
  const file = join(project, MANIFEST_FILE);
  const shown = relative(process.cwd(), file) || file;
  const text = await readManifest(project);
  const result = validateManifest(text);
  if (result.ok) return { manifest: result.manifest, text };
  const [problem] = result.problems;
  if (problem === undefined) throw new Error('an invalid manifest without a problem');
  const { path, message, hint, line, column } = problem;
  const more = result.problems.length - 1;
  const others = more === 0 ? '' : ` (and ${more} more: alga validate shows all)`;
  throw new Failure(
    'manifest.invalid',
    `${path === '' ? 'the manifest' : path}: ${message}${others}`,
    {
      location: { file: shown, line, column },
      frame: codeFrame(text, line, column),
      ...(hint === undefined ? {} : { hint }),
      details: { problems: result.problems },
    },
  );
}
