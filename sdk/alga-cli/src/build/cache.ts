import { readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { makeFolder } from '../make-folder.js';
import { writeFile } from '../write-file.js';

/** Components kept; one is about 12 MB. */
const MOST = 40;

/**
 * Components by the hash of everything they are made of, in the folder that ALGA_BUILD_CACHE names;
 * without it nothing is kept. For machines that build the same sources again and again, such as CI.
 */
export class ComponentCache {
  readonly #folder: string | undefined;

  constructor(folder: string | undefined = process.env['ALGA_BUILD_CACHE']) {
    this.#folder = folder === '' ? undefined : folder;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    if (this.#folder === undefined) return undefined;
    const file = join(this.#folder, `${key}.wasm`);
    try {
      const component = await readFile(file);
      const now = new Date();
      await utimes(file, now, now);
      return component;
    } catch {
      return undefined;
    }
  }

  /** Keeps a component and forgets those that were not used for the longest time. */
  async put(key: string, component: Uint8Array): Promise<void> {
    if (this.#folder === undefined) return;
    try {
      await this.#keep(this.#folder, key, component);
    } catch {
      // A cache that has no room or no rights keeps nothing; the build is as good without.
    }
  }

  async #keep(folder: string, key: string, component: Uint8Array): Promise<void> {
    await makeFolder(resolve(folder));
    const file = join(folder, `${key}.wasm`);
    const partial = `${file}.${process.pid}.partial`;
    await writeFile(partial, component);
    await rename(partial, file);
    const names = (await readdir(folder)).filter((name) => name.endsWith('.wasm'));
    const used = await Promise.all(
      names.map(async (name) => ({
        name,
        at: (await stat(join(folder, name))).mtimeMs,
      })),
    );
    used.sort((a, b) => b.at - a.at);
    for (const { name } of used.slice(MOST)) await rm(join(folder, name), { force: true });
  }
}
