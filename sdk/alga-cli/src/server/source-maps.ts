import { SourceMap } from '../source-map.js';
import type { ApiClient } from './client.js';

/**
 * Source maps of published versions, from the registry, each fetched once. The registry shows them
 * to the extension's publisher and to operators. The map of the working folder is never taken in
 * their place: it may be of another build, and a wrong line is worse than none.
 */
export class SourceMaps {
  readonly #client: ApiClient;
  readonly #known = new Map<string, Promise<SourceMap | undefined>>();

  constructor(client: ApiClient) {
    this.#client = client;
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
      return response.ok ? new SourceMap(await response.text()) : undefined;
    } catch {
      // A stack that cannot be mapped is shown as it is; that is no reason to fail.
      return undefined;
    }
  }
}
