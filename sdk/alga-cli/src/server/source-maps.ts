import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { SourceMap } from '../source-map.js';
import type { ApiClient } from './client.js';

/**
 * Source maps of published versions, from the registry, each fetched once. Where the registry has
 * none (or the account may not see it), the map of the project in the working folder serves, when
 * it was made for the extension in question.
 */
export class SourceMaps {
  readonly #client: ApiClient;
  readonly #project: string;
  readonly #known = new Map<string, Promise<SourceMap | undefined>>();

  constructor(client: ApiClient, project: string) {
    this.#client = client;
    this.#project = project;
  }

  /** @param extension id or slug; @param version version number or id */
  get(extension: string, version: string): Promise<SourceMap | undefined> {
    const key = `${extension}\n${version}`;
    const known = this.#known.get(key) ?? this.#load(extension, version);
    this.#known.set(key, known);
    return known;
  }

  async #load(extension: string, version: string): Promise<SourceMap | undefined> {
    const path = `/api/v1/extensions/${encodeURIComponent(extension)}/versions/${encodeURIComponent(version)}/source-map`;
    try {
      const response = await this.#client.send(path);
      if (response.ok) return new SourceMap(await response.text());
    } catch {
      // A stack that cannot be mapped is shown as it is; that is no reason to fail.
    }
    try {
      return new SourceMap(await readFile(join(this.#project, 'dist', 'main.js.map'), 'utf8'));
    } catch {
      return undefined;
    }
  }
}
