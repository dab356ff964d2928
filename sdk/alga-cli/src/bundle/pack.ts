import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';

import { wasmKind } from '../component/binary.js';
import { checkComponent, type ComponentFinding } from '../component/check.js';
import { Failure } from '../failure.js';
import { hasHandler, type Project } from '../project/project.js';
import { readFile } from '../read-file.js';
import { writeArchive, type ArchiveEntry } from './archive.js';

export const BUNDLE_FILE = 'bundle.tar.zst';
export const SOURCE_MAP_ENTRY = 'artifacts/source-map/main.js.map';

export interface PackedBundle {
  archive: Uint8Array;
  /** `sha256:<hex>` of the archive: the content hash that names the bundle everywhere. */
  contentHash: string;
  entries: { name: string; bytes: number }[];
  findings: ComponentFinding[];
}

export function contentHash(archive: Uint8Array): string {
  return `sha256:${createHash('sha256').update(archive).digest('hex')}`;
}

/** Collects what belongs into the bundle of a built project and packs it, the same way every time. */
export async function packProject(project: Project): Promise<PackedBundle> {
  const entries: ArchiveEntry[] = [
    { name: 'manifest.json', content: Buffer.from(project.manifestText) },
  ];
  const findings: ComponentFinding[] = [];
  if (existsSync(project.component)) {
    const component = await readFile(project.component);
    const kind = wasmKind(component);
    if (kind === 'not-wasm') {
      throw new Failure('pack.not_wasm', 'dist/main.wasm is not a WebAssembly file', {
        hint: 'run: alga build',
      });
    }
    if (kind === 'component') findings.push(...checkComponent(component, project.manifest));
    entries.push({ name: 'dist/main.wasm', content: component });
    if (existsSync(project.sourceMap)) {
      entries.push({ name: SOURCE_MAP_ENTRY, content: await readFile(project.sourceMap) });
    }
  } else if (hasHandler(project.manifest)) {
    throw new Failure(
      'pack.not_built',
      'manifest.json declares endpoints, but dist/main.wasm does not exist',
      { hint: 'run: alga build' },
    );
  }
  const ui = await uiFiles(project);
  entries.push(...ui);
  const page = project.manifest.ui?.entry;
  if (page !== undefined && !entries.some(({ name }) => name === page)) {
    throw new Failure(
      'pack.ui_entry_missing',
      `manifest.json names the page ${page}, which is not in the bundle`,
      {
        hint: 'create the file under ui/ (or dist/ui/ when a tool builds it), or correct ui.entry',
      },
    );
  }
  if (page === undefined && !existsSync(project.component)) {
    throw new Failure(
      'pack.nothing',
      'there is nothing to run or show: neither dist/main.wasm nor a page (ui.entry)',
      { hint: 'run: alga build' },
    );
  }
  const sbom = project.manifest.sbom;
  if (sbom !== undefined) {
    entries.push({ name: sbom, content: await readFile(join(project.root, sbom)) });
  }
  const refused = findings.find(({ severity }) => severity === 'error');
  if (refused !== undefined)
    throw new Failure(refused.code, refused.message, { hint: refused.hint });
  const archive = await writeArchive(entries);
  return {
    archive,
    contentHash: contentHash(archive),
    entries: entries.map(({ name, content }) => ({ name, bytes: content.length })),
    findings,
  };
}

/** `dist/ui` when a tool built the pages, else `ui`; stored under `ui/`. Links are refused. */
async function uiFiles(project: Project): Promise<ArchiveEntry[]> {
  const root = ['dist/ui', 'ui'].map((name) => join(project.root, name)).find((d) => existsSync(d));
  if (root === undefined) return [];
  const names = await readdir(root, { recursive: true });
  const entries: ArchiveEntry[] = [];
  for (const name of names.sort()) {
    const file = join(root, name);
    if (name.split(sep).some((part) => part.startsWith('.') || part === 'node_modules')) continue;
    const stat = await lstat(file);
    if (stat.isSymbolicLink()) {
      throw new Failure(
        'pack.link',
        `${relative(project.root, file)} is a link; bundles hold files only`,
        {
          hint: 'replace the link by the file it points to',
        },
      );
    }
    if (!stat.isFile()) continue;
    entries.push({ name: `ui/${name.split(sep).join('/')}`, content: await readFile(file) });
  }
  return entries;
}
